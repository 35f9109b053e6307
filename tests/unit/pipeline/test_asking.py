"""Gates that ask outside: which question each asks, and when it is asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.asked_gates import (
    ChecksGate,
    ExternalGate,
    Finding,
    GateObservation,
    ProbeAnswer,
    PrometheusGate,
)
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.manifests import Digest
from gitopsd.domain.metrics import Comparison, Condition
from gitopsd.domain.runs import RunKind, Step
from gitopsd.pipeline.asking import (
    compute_next_asking,
    is_answered,
    kind_of_asked,
    longest_age,
    question_of,
    record_answer,
    select_asked,
)
from tests.support.runs import NOON, run_at

RUN = run_at(RunKind.ROLLOUT, Step.GATE)
GATE = ExternalGate("https://decide.example", "/secret")
SECOND = timedelta(seconds=1)


def answer(finding: Finding = Finding.MET, retry_after: timedelta | None = None) -> ProbeAnswer:
    """What somebody answered."""
    return ProbeAnswer(finding, "said so", "1", {"asked": "it"}, retry_after)


def observe(*findings: Finding, wait: timedelta | None = None) -> GateObservation:
    """What is stored after these answers, the last of them at noon."""
    found: GateObservation | None = None
    for finding in findings:
        found = record_answer(GATE, RUN, answer(finding, wait), NOON, NOON + SECOND, found)
    assert found is not None
    return found


def due(observation: GateObservation | None, every: timedelta = 30 * SECOND) -> datetime | None:
    """When the gate is asked again."""
    return compute_next_asking(replace(GATE, every=every), observation, RUN)


def test_each_kind_has_its_name_and_its_question() -> None:
    """What is written otherwise is another question, so old answers to it count for nothing."""
    metric = PrometheusGate("up", Condition(Comparison.AT_LEAST, 1))
    checks = ChecksGate(("ci/test",))
    assert [kind_of_asked(one) for one in (checks, GATE, metric)] == [
        "checks",
        "external",
        "prometheus",
    ]
    assert question_of(metric).startswith("prometheus:")
    assert question_of(metric) == question_of(replace(metric))
    assert question_of(metric) != question_of(replace(metric, query="down"))
    assert question_of(GATE) != question_of(replace(GATE, timeout=SECOND))


def test_only_gates_that_ask_are_asked_and_alike_ones_once() -> None:
    """Approvals and the like answer from what is stored."""
    found = select_asked((ApprovalGate(("group:a",)), GATE, ChecksGate(("ci",)), replace(GATE)))
    assert list(found.values()) == [GATE, ChecksGate(("ci",))]


def test_it_is_asked_at_once_for_each_plan() -> None:
    """An answer for another plan is none."""
    seen = observe(Finding.MET)
    other = replace(seen, plan=Digest("sha256:other"))
    assert due(None) is None
    assert due(other) is None
    assert is_answered(seen, RUN)
    assert not is_answered(other, RUN)
    assert not is_answered(None, RUN)


def test_it_is_asked_again_at_its_interval() -> None:
    """Whatever it said, as long as it said something."""
    for finding in (Finding.MET, Finding.UNMET, Finding.FAILED):
        assert due(observe(finding)) == NOON + 30 * SECOND


def test_trouble_makes_the_asking_rarer() -> None:
    """Each answer in a row that tells nothing doubles the pause, up to five minutes."""
    lost = [Finding.INCONCLUSIVE] * 40
    pauses = [due(observe(*lost[:count])) for count in (1, 2, 3, 4, 5, 6, 40)]
    seconds = (30, 60, 120, 240, 300, 300, 300)
    assert pauses == [NOON + count * SECOND for count in seconds]
    assert due(observe(*lost), 600 * SECOND) == NOON + 600 * SECOND


def test_an_answer_ends_the_trouble() -> None:
    """The next trouble counts from one again, as that of another plan does."""
    over = observe(Finding.INCONCLUSIVE, Finding.INCONCLUSIVE, Finding.UNMET)
    assert over.troubles == 0
    before = replace(observe(Finding.INCONCLUSIVE), plan=Digest("sha256:other"))
    lost = answer(Finding.INCONCLUSIVE)
    assert record_answer(GATE, RUN, lost, NOON, NOON, before).troubles == 1


def test_who_asks_to_be_left_alone_is() -> None:
    """The wish counts from the answer on, and never shortens the pause."""
    assert due(observe(Finding.INCONCLUSIVE, wait=90 * SECOND)) == NOON + 91 * SECOND
    assert due(observe(Finding.UNMET, wait=SECOND)) == NOON + 30 * SECOND


def test_what_was_answered_is_kept() -> None:
    """With who asked what, for which plan, and when."""
    assert observe(Finding.FAILED) == GateObservation(
        run=RUN.id,
        question=question_of(GATE),
        gate="external",
        plan=RUN.plan,
        asked_at=NOON,
        finding=Finding.FAILED,
        sentence="said so",
        figure="1",
        details={"asked": "it"},
    )


def test_an_answer_counts_for_three_intervals() -> None:
    """So that one asking may fail to come about."""
    assert longest_age(replace(GATE, every=timedelta(minutes=2))) == timedelta(minutes=6)
