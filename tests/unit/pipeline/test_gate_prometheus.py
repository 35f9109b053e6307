"""``prometheus:``: what a figure opens, and what it means that there is none."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.asked_gates import Finding, Otherwise, ProbeAnswer, PrometheusGate
from gitopsd.domain.gates import Closed, GateAnswer, Open, Refused
from gitopsd.domain.manifests import Digest
from gitopsd.domain.metrics import Comparison, Condition
from gitopsd.pipeline.asking import record_answer
from gitopsd.pipeline.gates import evaluate_gates
from tests.support.gate_facts import FACTS, NOON, OPENER, RUN

GATE = PrometheusGate("sum(rate(errors_total[5m]))", Condition(Comparison.LESS, 0.05))
REFUSING = replace(GATE, on_failure=Otherwise.REFUSE, on_inconclusive=Otherwise.REFUSE)
OPENED_BY = OPENER.format("a figure < 0.05", "30s")

GOOD = ProbeAnswer(Finding.MET, "0.031 is < 0.05", "0.031")
BAD = ProbeAnswer(Finding.FAILED, "0.0731 is not < 0.05", "0.0731")
EMPTY = ProbeAnswer(Finding.INCONCLUSIVE, "the query finds nothing")


def evaluate(
    answer: ProbeAnswer | None,
    gate: PrometheusGate = GATE,
    *,
    asked: PrometheusGate | None = None,
    age: timedelta = timedelta(0),
    plan: Digest | None = RUN.plan,
) -> GateAnswer:
    """What the gate answers after that was measured."""
    facts = replace(FACTS, now=NOON + age, spec=replace(FACTS.spec, gates=(gate,)))
    if answer is not None:
        run = replace(RUN, plan=plan)
        seen = record_answer(asked or gate, run, answer, NOON, NOON, None)
        facts = replace(facts, observations={seen.question: seen})
    (state,) = [one for one in evaluate_gates(facts) if not one.implicit]
    assert state.name == "prometheus"
    return state.answer


def test_a_good_figure_opens_it() -> None:
    """With the figure as the reason."""
    assert evaluate(GOOD) == Open("0.031 is < 0.05")


def test_a_bad_figure_keeps_it_closed() -> None:
    """It is measured again, and may be better then."""
    assert evaluate(BAD) == Closed("0.0731 is not < 0.05", OPENED_BY)


def test_a_bad_figure_refuses_if_so_configured() -> None:
    """Then the run ends."""
    assert evaluate(BAD, REFUSING) == Refused("0.0731 is not < 0.05")


@pytest.mark.parametrize(
    "sentence",
    [
        "the query finds nothing",
        "the query finds 3 series instead of one: join them, with sum() say",
        "nan at 12:00:00 UTC is no figure",
        "inf at 12:00:00 UTC is no figure",
        "the newest sample is 60m old: of 2026-01-05 11:00:00 UTC",
        "the metric server answered bad_data: parse error",
        "prometheus.example: no complete answer within 10 s",
    ],
)
def test_what_tells_nothing_keeps_it_closed(sentence: str) -> None:
    """By default nothing is neither good nor bad; the policy may call it the end."""
    lost = ProbeAnswer(Finding.INCONCLUSIVE, sentence)
    assert evaluate(lost) == Closed(sentence, OPENED_BY)
    assert evaluate(lost, REFUSING) == Refused(sentence)


def test_each_policy_is_for_its_own_case() -> None:
    """Refusing bad figures does not refuse unknown ones, and the other way round."""
    bad = replace(GATE, on_failure=Otherwise.REFUSE)
    unknown = replace(GATE, on_inconclusive=Otherwise.REFUSE)
    assert isinstance(evaluate(EMPTY, bad), Closed)
    assert isinstance(evaluate(BAD, unknown), Closed)


def test_before_it_was_measured_it_is_closed() -> None:
    """Also where everything unknown refuses: nobody has asked yet."""
    assert evaluate(None, REFUSING) == Closed("not asked yet", OPENED_BY)


def test_a_figure_for_another_plan_does_not_count() -> None:
    """It is measured anew for what would be applied now."""
    answer = evaluate(BAD, REFUSING, plan=Digest("sha256:other"))
    assert answer == Closed("not asked yet for the present plan", OPENED_BY)


def test_another_query_or_bound_is_another_question() -> None:
    """A loosened bound is not opened by a figure that was judged by the old one."""
    looser = replace(GATE, condition=Condition(Comparison.LESS, 0.1))
    assert evaluate(GOOD, looser, asked=GATE) == Closed(
        "not asked yet", OPENER.format("a figure < 0.1", "30s")
    )


def test_an_old_figure_does_not_count() -> None:
    """Three intervals of its own, neither more nor fewer."""
    slow = replace(GATE, every=timedelta(minutes=5))
    assert evaluate(GOOD, slow, age=timedelta(minutes=15)) == Open("0.031 is < 0.05")
    answer = evaluate(GOOD, slow, age=timedelta(minutes=16))
    opener = OPENER.format("a figure < 0.05", "5m")
    assert answer == Closed("the last answer is 16m old: 0.031 is < 0.05", opener)
    old = evaluate(BAD, replace(REFUSING, every=timedelta(minutes=5)), age=timedelta(minutes=16))
    assert isinstance(old, Closed)
