"""One verdict about a whole set."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.manifests import (
    Health,
    JsonObject,
    ObjectHealth,
    ObjectKey,
    ObjectRef,
    PodEvidence,
)
from gitopsd.kube.rollouts import EvidenceTarget, RolloutState, RolloutVerdict
from gitopsd.kube.verdicts import (
    SetState,
    SetVerdict,
    judge,
    make_evidence,
    say_last_words,
)

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOON, LATER = NOW + timedelta(seconds=5), NOW + timedelta(seconds=9)


def ref(name: str) -> ObjectRef:
    """Refer to a Deployment."""
    return ObjectRef(ObjectKey("apps", "Deployment", "shop", name), "v1")


def health(
    value: Health,
    name: str = "a",
    message: str = "",
    *,
    definite: bool = False,
    advisory: bool = False,
) -> ObjectHealth:
    """Make the health of a Deployment."""
    return ObjectHealth(ref(name), value, message, definite, advisory=advisory)


def target(pod: str) -> EvidenceTarget:
    """Make a pod whose last words are worth keeping."""
    return EvidenceTarget("shop", pod, f"uid-{pod}", "api", previous=True)


def rollout(
    state: RolloutState,
    name: str = "a",
    rank: int = 1,
    until: datetime | None = None,
    pods: tuple[str, ...] = (),
) -> RolloutVerdict:
    """Make the verdict about a Deployment's rollout."""
    evidence = tuple(target(pod) for pod in pods)
    return RolloutVerdict(ref(name), state, f"R{rank}", f"{name}: {rank}", until, rank, evidence)


FAILED, PENDING, CLEAR = RolloutState.FAILED, RolloutState.PENDING, RolloutState.CLEAR


def test_a_set_of_healthy_and_suspended_objects_is_healthy() -> None:
    """Suspended is as Git wants it; an empty set has nothing to wait for."""
    fine = [health(Health.HEALTHY), health(Health.SUSPENDED, "b", "the rollout is paused")]
    assert judge(fine, [rollout(CLEAR)]) == SetVerdict(SetState.HEALTHY)
    assert judge([]) == SetVerdict(SetState.HEALTHY)


@pytest.mark.parametrize("value", [Health.DEGRADED, Health.UNKNOWN, Health.PROGRESSING])
def test_objects_that_inform_do_not_decide(value: Health) -> None:
    """Whatever they say."""
    advisory = health(value, message="x", definite=True, advisory=True)
    assert judge([advisory]) == SetVerdict(SetState.HEALTHY)


@pytest.mark.parametrize(
    "found, reason, message",
    [
        (health(Health.PROGRESSING, "a", "1 of 2"), "Progressing", "Deployment shop/a: 1 of 2"),
        (health(Health.MISSING, "a", "gone"), "Missing", "Deployment shop/a: gone"),
        (health(Health.DEGRADED, "a"), "Degraded", "Deployment shop/a: Degraded"),
        (
            health(Health.PROGRESSING, "a", "Provisioning: a disk"),
            "Provisioning",
            "Deployment shop/a: Provisioning: a disk",
        ),
        (
            health(Health.PROGRESSING, "a", "It: a disk"),
            "Progressing",
            "Deployment shop/a: It: a disk",
        ),
    ],
)
def test_a_set_that_is_on_its_way_says_why(found: ObjectHealth, reason: str, message: str) -> None:
    """With the object's kind and name; the reason is the one before the colon, if there is one."""
    verdict = judge([health(Health.HEALTHY, "z"), found])
    assert verdict == SetVerdict(SetState.PROGRESSING, reason, message)


def test_the_worst_object_is_told_then_the_first_by_name() -> None:
    """The same facts make the same sentence, in whatever order they come."""
    facts = [
        health(Health.PROGRESSING, "a"),
        health(Health.MISSING, "c"),
        health(Health.DEGRADED, "y"),
        health(Health.DEGRADED, "x"),
    ]
    for order in itertools.permutations(facts):
        assert judge(order).message == "Deployment shop/x: Degraded"
    assert judge(facts[:2]).message == "Deployment shop/c: Missing"


def test_a_definite_object_fails_the_set() -> None:
    """Even beside one that could not be seen; with what is suspicious as evidence."""
    facts = [
        health(Health.UNKNOWN, "b", "no answer"),
        health(Health.DEGRADED, "a", "BadSpec: no", definite=True),
        health(Health.DEGRADED, "A", "waiting"),
    ]
    verdict = judge(facts, [rollout(PENDING, pods=("p",))])
    assert verdict == SetVerdict(
        SetState.FAILED, "BadSpec", "Deployment shop/a: BadSpec: no", None, (target("p"),)
    )


def test_a_failed_rollout_tells_more_than_an_object() -> None:
    """The container's own words; then the lower rank; then the name."""
    facts = [health(Health.DEGRADED, "a", "ProgressDeadlineExceeded: x", definite=True)]
    rollouts = [
        rollout(PENDING, "a", 0, SOON, ("n",)),
        rollout(FAILED, "b", 2, pods=("q",)),
        rollout(FAILED, "c", 1, pods=("r",)),
        rollout(FAILED, "a", 2, pods=("p",)),
        rollout(CLEAR, "d", 0),
    ]
    for order in itertools.permutations(rollouts):
        assert judge(facts, order) == SetVerdict(
            SetState.FAILED, "R1", "c: 1", None, (target("r"), target("p"), target("q"))
        )


def test_what_could_not_be_seen_is_no_verdict() -> None:
    """Neither failed nor on its way, whatever else was seen."""
    facts = [health(Health.PROGRESSING, "a"), health(Health.UNKNOWN, "b", "the server hung")]
    assert judge(facts, [rollout(PENDING, until=SOON, pods=("p",))]) == SetVerdict(
        SetState.UNKNOWN, "Unknown", "Deployment shop/b: the server hung", None, (target("p"),)
    )


def test_a_suspicion_is_told_with_the_earliest_end_of_its_grace() -> None:
    """That is when to look again."""
    rollouts = [
        rollout(PENDING, "a", 3, LATER, ("p",)),
        rollout(PENDING, "b", 2, None, ("q",)),
        rollout(PENDING, "c", 4, SOON),
    ]
    verdict = judge([health(Health.PROGRESSING)], rollouts)
    assert verdict == SetVerdict(
        SetState.PROGRESSING, "R2", "b: 2", SOON, (target("q"), target("p"))
    )


def test_a_suspicion_holds_back_a_healthy_set_only_while_it_may_become_a_failure() -> None:
    """One without an end would hold it back for ever."""
    healthy = [health(Health.HEALTHY)]
    assert judge(healthy, [rollout(PENDING)]) == SetVerdict(SetState.HEALTHY)
    graced = judge(healthy, [rollout(PENDING, until=SOON)])
    assert graced == SetVerdict(SetState.PROGRESSING, "R1", "a: 1", SOON)
    waiting = judge([health(Health.PROGRESSING)], [rollout(PENDING)])
    assert waiting == SetVerdict(SetState.PROGRESSING, "R1", "a: 1")


def test_evidence_is_bounded() -> None:
    """Ten pods are enough for a person."""
    rollouts = [
        rollout(FAILED, "a", pods=tuple(f"a{number}" for number in range(6))),
        rollout(FAILED, "b", pods=tuple(f"b{number}" for number in range(6))),
    ]
    verdict = judge([], rollouts)
    assert [found.pod for found in verdict.evidence] == [
        *(f"a{number}" for number in range(6)),
        *(f"b{number}" for number in range(4)),
    ]


def test_last_words_are_redacted_and_bounded() -> None:
    """The last 20 lines and the last 10 events about the pod."""
    asked = EvidenceTarget(
        "shop", "p", "u", "api", previous=True, reason="R", message="m", exit_code=3
    )
    lines = [f"line {number} password=x" for number in range(21)]
    events: list[JsonObject] = [
        {
            "involvedObject": {"uid": "u"},
            "reason": "E",
            "message": f"{number:02} token=x",
            "lastTimestamp": f"2026-05-01T12:00:{number:02}Z",
        }
        for number in range(11)
    ]
    foreign: JsonObject = {"involvedObject": {"uid": "v"}, "reason": "E", "message": "no"}
    assert make_evidence(asked, iter(lines), [foreign, *reversed(events)]) == PodEvidence(
        pod="p",
        container="api",
        reason="R",
        message="m",
        exit_code=3,
        log_lines=tuple(f"line {number} password=***" for number in range(1, 21)),
        events=tuple(f"E: {number:02} token=***" for number in range(1, 11)),
    )
    assert make_evidence(target("p"), [], []) == PodEvidence("p", "api")


def test_what_a_container_said_last_ends_the_sentence() -> None:
    """Its last line that says something, redacted; nothing twice, nothing made up."""
    lines = ["starting", "fatal: password=x is wrong", " "]
    assert say_last_words("api ended", lines) == (
        "api ended; its log ends: fatal: password=*** is wrong"
    )
    assert say_last_words("api ended: fatal: no", ["fatal: no"]) == "api ended: fatal: no"
    assert say_last_words("api ended", []) == "api ended"
