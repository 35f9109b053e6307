"""``external:``: what a service of the user's own says, and what it may not say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.asked_gates import ExternalGate, Finding, ProbeAnswer
from gitopsd.domain.gates import Closed, GateAnswer, Open, Refused
from gitopsd.domain.manifests import Digest, Json
from gitopsd.pipeline.asking import question_of, record_answer
from gitopsd.pipeline.external_judging import judge_decision
from gitopsd.pipeline.gate_kinds.asked import say_interval
from gitopsd.pipeline.gates import evaluate_gates
from tests.support.gate_facts import FACTS, NOON, OPENER, RUN

GATE = ExternalGate("https://decide.example/gitopsd", "/secret")


def evaluate(
    document: Json,
    *,
    age: timedelta = timedelta(0),
    plan: Digest | None = RUN.plan,
    gate: ExternalGate = GATE,
) -> GateAnswer:
    """What the gate answers after the service answered."""
    asked = replace(RUN, plan=plan)
    seen = record_answer(GATE, asked, judge_decision(document, "decide.example"), NOON, NOON, None)
    facts = replace(
        FACTS,
        now=NOON + age,
        spec=replace(FACTS.spec, gates=(gate,)),
        observations={seen.question: seen},
    )
    (state,) = [one for one in evaluate_gates(facts) if not one.implicit]
    assert state.name == "external"
    return state.answer


def said(decision: Json, reason: Json = "the index is built") -> dict[str, Json]:
    """What a service answers."""
    return {"decision": decision, "reason": reason}


def test_open_opens_it_with_the_reason() -> None:
    """The sentence names who said so."""
    assert evaluate(said("open")) == Open("decide.example says open: the index is built")


def test_closed_closes_it_and_says_who_opens_it() -> None:
    """It is asked again; a person may have it asked at once."""
    reason = "decide.example says closed: the index is built"
    opener = OPENER.format("decide.example", "30s")
    assert evaluate(said("closed")) == Closed(reason, opener)


def test_refused_ends_the_run() -> None:
    """The service's own decision, for good."""
    assert evaluate(said("refused")) == Refused("decide.example says refused: the index is built")


@pytest.mark.parametrize("document", [{"decision": "open"}, said("open", ""), said("open", "  ")])
def test_a_reason_may_be_left_out(document: Json) -> None:
    """Then there is none to tell."""
    assert evaluate(document) == Open("decide.example says open")


@pytest.mark.parametrize(
    "document, problem",
    [
        (None, "no JSON object"),
        (["open"], "no JSON object"),
        ("open", "no JSON object"),
        ({}, "the decision 'None', not open, closed or refused"),
        (said("OPEN"), "the decision 'OPEN', not open, closed or refused"),
        (said("open "), "the decision 'open ', not open, closed or refused"),
        (said(True), "the decision 'True', not open, closed or refused"),
        (said(["open"]), "the decision \"['open']\", not open, closed or refused"),
        (said("open", 5), "a reason that is no text"),
        (said("open", None), "a reason that is no text"),
        ({**said("open"), "until": "noon"}, "an unknown field 'until'"),
    ],
)
def test_anything_else_is_closed(document: Json, problem: str) -> None:
    """What is not exactly an answer opens nothing, and refuses nothing."""
    answer = evaluate(document)
    assert isinstance(answer, Closed)
    assert answer.reason == f"decide.example answered {problem}"


def test_before_it_was_asked_it_is_closed() -> None:
    """A missing fact closes its gate."""
    spec = replace(FACTS.spec, gates=(GATE,))
    (state,) = [one for one in evaluate_gates(replace(FACTS, spec=spec)) if not one.implicit]
    assert state.answer == Closed("not asked yet", OPENER.format("decide.example", "30s"))


def test_an_answer_for_another_plan_does_not_count() -> None:
    """What was decided about other changes says nothing of these."""
    answer = evaluate(said("open"), plan=Digest("sha256:other"))
    assert isinstance(answer, Closed)
    assert answer.reason == "not asked yet for the present plan"


def test_an_answer_to_another_question_does_not_count() -> None:
    """A changed address is asked anew before it opens anything."""
    answer = evaluate(said("open"), gate=replace(GATE, url="https://other.example"))
    assert isinstance(answer, Closed)
    assert answer.reason == "not asked yet"


def test_an_old_answer_does_not_count() -> None:
    """Three intervals at most; the sentence says how old it is, and what it was."""
    assert evaluate(said("open"), age=timedelta(seconds=90)) == Open(
        "decide.example says open: the index is built"
    )
    answer = evaluate(said("open"), age=timedelta(seconds=91))
    assert isinstance(answer, Closed)
    reason = "the last answer is 91s old: decide.example says open: the index is built"
    assert answer.reason == reason


def test_trouble_is_closed() -> None:
    """Nobody answering is no decision."""
    lost = ProbeAnswer(Finding.INCONCLUSIVE, "decide.example: no complete answer within 10 s")
    seen = record_answer(GATE, RUN, lost, NOON, NOON, None)
    facts = replace(FACTS, observations={question_of(GATE): seen})
    states = evaluate_gates(replace(facts, spec=replace(FACTS.spec, gates=(GATE,))))
    assert isinstance(states[0].answer, Closed)
    assert states[0].answer.reason == "decide.example: no complete answer within 10 s"


@pytest.mark.parametrize(
    "seconds, text",
    [(0, "0s"), (119, "119s"), (120, "2m"), (7199, "119m"), (7200, "2h"), (200_000, "55h")],
)
def test_ages_are_said_in_one_unit(seconds: int, text: str) -> None:
    """Rounded down, so that the sentence does not change at each look."""
    assert say_interval(timedelta(seconds=seconds)) == text
