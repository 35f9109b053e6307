"""``checks:``: what the checks of a commit open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.asked_gates import ChecksGate, Finding, Otherwise, ProbeAnswer
from gitopsd.domain.gates import Closed, GateAnswer, Open, Refused
from gitopsd.pipeline.asking import record_answer
from gitopsd.pipeline.check_judging import (
    REVISION_LABEL,
    CommitCheck,
    judge_checks,
    select_commits,
)
from gitopsd.pipeline.gates import evaluate_gates
from tests.support.gate_facts import FACTS, NOON, OPENER, RUN

SHA, OTHER = "a" * 40, "b" * 40
ON, ON_OTHER = "on aaaaaaaaaaaa", "on bbbbbbbbbbbb"
URL = "https://github.com/acme/shop/runs/1"
GATE = ChecksGate(("ci/test", "ci/lint"))
OPENED_BY = OPENER.format("ci/test, ci/lint", "30s")


def checks(**states: str) -> tuple[CommitCheck, ...]:
    """The checks of a commit: ``test="failure"`` is ``ci/test``."""
    return tuple(CommitCheck(f"ci/{name}", state, URL) for name, state in states.items())


def judge(
    found: Sequence[CommitCheck],
    gate: ChecksGate = GATE,
    other: Sequence[CommitCheck] | None = None,
) -> ProbeAnswer:
    """What it means that the commit has these, and another one those."""
    commits = {SHA: found} if other is None else {SHA: found, OTHER: other}
    return judge_checks(gate.names, gate.accept, commits)


def evaluate(
    answer: ProbeAnswer, gate: ChecksGate = GATE, age: timedelta = timedelta(0)
) -> GateAnswer:
    """What the gate answers."""
    seen = record_answer(gate, RUN, answer, NOON, NOON, None)
    spec = replace(FACTS.spec, gates=(gate,))
    facts = replace(FACTS, now=NOON + age, spec=spec, observations={seen.question: seen})
    (state,) = [one for one in evaluate_gates(facts) if not one.implicit]
    assert state.name == "checks"
    return state.answer


def test_all_named_checks_must_be_good() -> None:
    """Others of the commit do not matter."""
    answer = judge(checks(test="success", lint="success", docs="failure"))
    assert answer == ProbeAnswer(Finding.MET, f"ci/test, ci/lint: success {ON}")
    assert evaluate(answer) == Open(f"ci/test, ci/lint: success {ON}")


@pytest.mark.parametrize(
    "state",
    ["failure", "error", "cancelled", "timed_out", "startup_failure", "stale"],
)
def test_one_that_failed_closes_it(state: str) -> None:
    """It may be run again; the sentence says where to look."""
    answer = judge(checks(test=state, lint="success"))
    sentence = f"ci/test is {state} {ON}: {URL}"
    assert answer == ProbeAnswer(Finding.FAILED, sentence)
    assert evaluate(answer) == Closed(sentence, OPENED_BY)


def test_one_that_failed_refuses_if_so_configured() -> None:
    """Then the run ends; what has not ended does not end it."""
    gate = replace(GATE, on_failure=Otherwise.REFUSE)
    assert evaluate(judge(checks(test="failure", lint="queued")), gate) == Refused(
        f"ci/test is failure {ON}: {URL}"
    )
    assert isinstance(evaluate(judge(checks(test="queued", lint="success")), gate), Closed)


@pytest.mark.parametrize(
    "state", ["queued", "in_progress", "pending", "waiting", "requested", "action_required"]
)
def test_one_that_has_not_ended_closes_it(state: str) -> None:
    """It is waited for."""
    answer = judge(checks(test="success", lint=state))
    assert answer == ProbeAnswer(Finding.UNMET, f"ci/lint is {state} {ON}")
    assert evaluate(answer) == Closed(f"ci/lint is {state} {ON}", OPENED_BY)


def test_one_that_never_appeared_is_said_to() -> None:
    """A name with a typing error would wait for ever otherwise, and nobody would know why."""
    assert judge(checks(test="success")) == ProbeAnswer(
        Finding.UNMET, f"ci/lint has not appeared {ON}"
    )
    assert judge(()).sentence == (f"ci/test has not appeared {ON}; ci/lint has not appeared {ON}")


@pytest.mark.parametrize("state", ["neutral", "skipped"])
def test_what_was_not_done_counts_as_configured(state: str) -> None:
    """By default a test that was skipped is none."""
    found = checks(test=state, lint="success")
    assert judge(found).finding is Finding.FAILED
    assert judge(found, replace(GATE, accept=(state,))).finding is Finding.MET


def test_a_new_word_opens_nothing() -> None:
    """Whatever it means, it is not success."""
    answer = judge(checks(test="marvellous", lint="success"))
    assert answer == ProbeAnswer(Finding.UNMET, f"ci/test is marvellous {ON}")


def test_several_of_one_name_are_all_needed() -> None:
    """Nobody can make a failing check good by a status of the same name."""
    found = (*checks(test="failure", lint="success"), CommitCheck("ci/test", "success"))
    assert judge(found).finding is Finding.FAILED


def test_names_are_compared_exactly() -> None:
    """Another case, or a longer name, is another check."""
    found = (CommitCheck("CI/test", "success"), CommitCheck("ci/test-2", "success"))
    assert judge((*found, *checks(lint="success"))).finding is Finding.UNMET


def test_each_commit_must_be_good() -> None:
    """A release whose images were built from two commits needs the checks of both."""
    good, bad = checks(test="success", lint="success"), checks(test="success")
    assert judge(good, other=good).sentence.endswith("aaaaaaaaaaaa and bbbbbbbbbbbb")
    assert judge(good, other=bad) == ProbeAnswer(
        Finding.UNMET, f"ci/lint has not appeared {ON_OTHER}"
    )


def test_what_failed_is_said_before_what_is_waited_for() -> None:
    """And no more than fits in a sentence; a check without an address is named all the same."""
    gate = replace(GATE, names=("ci/a", "ci/b", "ci/c", "ci/d", "ci/e"))
    bad = tuple(CommitCheck(f"ci/{name}", "failure") for name in "abcd")
    assert judge(bad, gate).sentence == (
        f"ci/a is failure {ON}; ci/b is failure {ON}; ci/c is failure {ON}; and 1 more"
    )


def test_an_old_answer_does_not_count() -> None:
    """A check may be run again, and fail then."""
    answer = judge(checks(test="success", lint="success"))
    late = evaluate(answer, age=timedelta(minutes=3))
    assert isinstance(late, Closed)
    assert late.reason == f"the last answer is 3m old: ci/test, ci/lint: success {ON}"


def test_the_commits_of_images_are_found() -> None:
    """Each once, in order."""
    assert select_commits({"api": SHA, "web": OTHER, "job": SHA}) == (SHA, OTHER)


@pytest.mark.parametrize(
    "revisions, sentence",
    [
        ({}, "the release has no images that `images:` follows"),
        ({"api": SHA, "web": ""}, f"web names no commit in its label {REVISION_LABEL}"),
        ({"web": "main"}, f"web names 'main', no commit, in its label {REVISION_LABEL}"),
        (
            {"web": f"{SHA}/../main"},
            f"web names '{SHA}', no commit, in its label {REVISION_LABEL}",
        ),
    ],
)
def test_an_image_that_does_not_say_opens_nothing(revisions: dict[str, str], sentence: str) -> None:
    """Also one that names a branch, which moves, or worse."""
    assert select_commits(revisions) == ProbeAnswer(Finding.UNMET, sentence)
