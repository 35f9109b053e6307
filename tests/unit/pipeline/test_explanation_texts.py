"""What people read when they ask why, held still: one fixture for each thing there is to say."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import get_args

import pytest

from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.sources import RefState
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.explained_application import ApplicationFacts, list_troubles
from gitopsd.pipeline.explanation import State
from gitopsd.pipeline.explanation_text import say_moment, say_span, write_explanation
from gitopsd.pipeline.implicit_gates import IMPLICIT_GATES
from tests.support.explained import MAIN, REPO, TEXTS
from tests.support.gate_facts import KEY, NOON

FOLDER = Path(__file__).parents[2] / "fixtures" / "explanations"
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


@pytest.mark.parametrize("name", TEXTS)
def test_it_is_said_as_the_fixture_says(name: str) -> None:
    """The text is that of the fixture, to the letter."""
    lines = write_explanation(TEXTS[name]())
    assert lines == tuple((FOLDER / f"{name}.txt").read_text().splitlines())


def test_every_fixture_is_of_something() -> None:
    """No text stays behind when nothing says it any more."""
    assert {path.stem for path in FOLDER.iterdir()} == set(TEXTS)


def test_every_gate_and_every_call_of_a_person_has_its_text() -> None:
    """Configured or implicit: what is added without one is noticed here."""
    configured = {kind.__name__.removesuffix("Gate").lower() for kind in get_args(GateSpec)}
    implicit = {name for name, _ in IMPLICIT_GATES}
    gates = {f"held-{name}" for name in configured | implicit}
    stalls = {f"stalled-{reason.value}" for reason in StallReason}
    assert (gates | stalls) - set(TEXTS) == set()


@pytest.mark.parametrize("name", TEXTS)
def test_every_explanation_is_whole(name: str) -> None:
    """A word that is known, a cause, what comes next; every item one line that says something."""
    told = TEXTS[name]()
    assert told.state in {state.value for state in (*State, *CommitState)}
    assert told.because
    for sentence in (*told.because, told.next, *(wait.who for wait in told.waiting_for)):
        assert sentence.strip() == sentence != ""
        assert "\n" not in sentence
        assert "None" not in sentence


def test_each_moment_says_how_far_it_is() -> None:
    """Now, past and to come; a span is told in its two largest units."""
    assert say_moment(NOON, NOON) == "2030-06-01 12:00 UTC (now)"
    assert say_moment(NOON - timedelta(seconds=61), NOON) == "2030-06-01 11:58 UTC (1m 1s ago)"
    assert say_moment(NOON + timedelta(hours=50), NOON) == "2030-06-03 14:00 UTC (in 2d 2h)"


@pytest.mark.parametrize(
    "span,said",
    [
        (timedelta(milliseconds=900), ""),
        (timedelta(seconds=59), "59s"),
        (timedelta(minutes=3), "3m"),
        (timedelta(hours=20, minutes=40, seconds=30), "20h 40m"),
        (timedelta(days=3, minutes=5), "3d"),
        (timedelta(days=400), "400d"),
    ],
)
def test_spans_are_short(span: timedelta, said: str) -> None:
    """Two units at most, none of them zero."""
    assert say_span(span) == said


def test_the_text_follows_from_the_value_alone() -> None:
    """Read an hour later, the same value says another distance of the same moments."""
    told = TEXTS["held-window"]()
    later = replace(told, at=told.at + timedelta(hours=1))
    before, after = ("\n".join(write_explanation(one)) for one in (told, later))
    assert before != after
    assert _MOMENT.findall(before) == _MOMENT.findall(after)


def test_a_stage_tells_what_keeps_news_from_its_application() -> None:
    """Its file, Git, a registry, a build that is not whole; nothing where nothing does."""
    lost = RefState(REPO, MAIN, looked_at=NOON, problem="no answer")
    facts = ApplicationFacts(
        NOON,
        KEY.application,
        REPO,
        (lost, RefState(REPO, MAIN)),
        problems=("a",),
        image_problems=("b",),
        waiting=("c",),
    )
    assert list_troubles(facts) == (
        "its file as it is now is not used: a",
        "refs/heads/main could not be read, looked at 2030-06-01 12:00 UTC (now): no answer",
        "b",
        "c",
    )
    assert list_troubles(ApplicationFacts(NOON, KEY.application, REPO)) == ()
