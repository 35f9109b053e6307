"""How a release goes through a group of stages, and when it goes no further."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.groups import GroupSpec, OnFailure
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import AbortReason, Failure, Phase, Run, RunId, RunKind, Step
from gitopsd.pipeline.groups import (
    GroupFacts,
    MemberFacts,
    came_out,
    describe_member,
    evaluate_group,
    is_taken_back,
    name_plans,
    say_stopped,
)
from tests.support.runs import run_at

RELEASE = ReleaseId("r-7")
RUN = RunId("run-d")
CRASH = Failure("CrashLoopBackOff", "Deployment shop/api: back-off", Step.WAIT_HEALTHY)
SLOW = Failure("DeadlineExceeded", "its time is over", Step.WAIT_HEALTHY)


def key(name: str) -> StageKey:
    """A stage of the group."""
    return StageKey(ApplicationName("shop"), StageName(name))


def ended(name: str, phase: Phase = Phase.FAILED, failure: Failure | None = CRASH) -> Run:
    """A Rollout of the release that ended."""
    run = replace(run_at(RunKind.ROLLOUT, phase), id=RunId(f"run-{name}"), stage=key(name))
    return replace(run, failure=failure, mutated=True)


def live(name: str, step: Step) -> Run:
    """A Rollout of the release that is under way."""
    return replace(run_at(RunKind.ROLLOUT, step), id=RunId(f"run-{name}"), stage=key(name))


def verified(name: str, wave: int = 0) -> MemberFacts:
    """A stage where the release is Live."""
    run = ended(name, Phase.SUCCEEDED, None)
    return MemberFacts(key(name), wave, run, verified=True)


def failed(name: str, wave: int = 0, failure: Failure = CRASH) -> MemberFacts:
    """A stage where the release failed."""
    return MemberFacts(key(name), wave, ended(name, failure=failure))


def group(*members: MemberFacts, allows: int = 0, back: bool = False) -> GroupFacts:
    """How the group stands with the release."""
    policy = OnFailure.ROLLBACK_ALL if back else OnFailure.HOLD
    spec = GroupSpec("world", max_failures=allows, on_failure=policy)
    return GroupFacts(spec, RELEASE, members)


def answer(facts: GroupFacts, name: str) -> GateAnswer:
    """What the gate answers to the run of one stage."""
    return evaluate_group(facts, key(name), RUN)


def test_stages_of_the_first_wave_begin_together() -> None:
    """Nothing is before them."""
    facts = group(MemberFacts(key("a")), MemberFacts(key("b"), run=live("b", Step.APPLY)))
    assert answer(facts, "a") == Open()
    assert answer(facts, "b") == Open()


def test_a_later_wave_waits_until_each_stage_before_it_is_settled() -> None:
    """It says for whom, and where these are; a failure that is allowed settles, too."""
    begun = MemberFacts(key("b"), 0, live("b", Step.WAIT_HEALTHY))
    facts = group(verified("a"), begun, MemberFacts(key("c"), 1), MemberFacts(key("d"), 2))
    assert answer(facts, "c") == Closed(
        "it is in wave 2 of 3 of group world and waits for b (in WaitHealthy)",
        "wait until b is verified with it",
    )
    assert answer(facts, "d") == Closed(
        "it is in wave 3 of 3 of group world and waits for b (in WaitHealthy) and c (not begun)",
        "wait until b is verified with it; wait until c is verified with it",
    )
    known = group(verified("a"), failed("b"), MemberFacts(key("c"), 1), allows=1)
    assert answer(known, "c") == Open()


@pytest.mark.parametrize(
    "run,where,opener",
    [
        (live("a", Step.GATE), "at its Gate", "wait until a is verified with it"),
        (
            replace(live("a", Step.RENDER), step=None, phase=Phase.PENDING),
            "in Pending",
            "wait until a is verified with it",
        ),
        (
            ended("a", Phase.ERRORED),
            "no verdict yet",
            "wait until a is verified with it",
        ),
        (
            ended("a", Phase.ABORTED, Failure("Rejected", "ben rejected it")),
            "Aborted: Rejected",
            "gitopsd retry run-a",
        ),
        (ended("a", Phase.ABORTED, None), "Aborted", "gitopsd retry run-a"),
        (ended("a", Phase.SUCCEEDED, None), "taken back", "gitopsd promote shop a r-7"),
    ],
)
def test_what_is_waited_for_says_who_can_help(run: Run, where: str, opener: str) -> None:
    """Where a run is, or how it ended, and what would bring it on."""
    facts = group(MemberFacts(key("a"), 0, run), MemberFacts(key("b"), 1))
    said = f"it is in wave 2 of 2 of group world and waits for a ({where})"
    assert answer(facts, "b") == Closed(said, opener)


def test_too_many_failures_hold_what_has_not_begun() -> None:
    """The sentence names each stage with its cause, how many there are, and how many may be."""
    facts = group(
        verified("a"),
        failed("b", 1),
        failed("c", 2, SLOW),
        MemberFacts(key("d"), 3),
        allows=1,
    )
    assert answer(facts, "d") == Closed(
        "r-7 failed in b (CrashLoopBackOff) and c (DeadlineExceeded): 2 of 4 stages of group "
        "world, which allows 1",
        "push a fix, or for this stage alone: gitopsd skip run-d group --reason WHY",
    )


def test_a_failure_after_success_counts() -> None:
    """In the watch window, say; what a person took back does not."""
    later = MemberFacts(key("a"), run=ended("a", Phase.SUCCEEDED, None), failed_later=True)
    without_reason = MemberFacts(key("b"), run=ended("b", failure=None))
    facts = group(later, without_reason, MemberFacts(key("c")))
    assert say_stopped(facts) == (
        "r-7 failed in a (after it was verified) and b: 2 of 3 stages of group world, "
        "which allows none"
    )
    assert describe_member(later) == "failed after it was verified"
    assert describe_member(verified("a")) == "verified"
    taken = MemberFacts(key("a"), run=ended("a", Phase.SUCCEEDED, None))
    assert answer(group(taken, MemberFacts(key("c"))), "c") == Open()


def test_three_names_are_a_list() -> None:
    """Commas, and a word before the last."""
    facts = group(failed("a"), failed("b"), failed("c"))
    assert "a (CrashLoopBackOff), b (CrashLoopBackOff) and c" in say_stopped(facts)


def test_a_stage_that_the_group_does_not_know_waits() -> None:
    """A missing fact closes a gate, and nothing is taken back for it."""
    facts = group(failed("a"), back=True)
    assert answer(facts, "z") == Closed(
        "nothing is known of the stages of group world", "wait until the application file is read"
    )
    assert not is_taken_back(facts, key("z"))


def test_a_group_that_rolls_back_all_takes_back_what_went_live() -> None:
    """Not where it failed, not where a person let it pass, and only after too many failures."""
    facts = group(verified("a"), failed("b"), MemberFacts(key("c")), back=True)
    assert is_taken_back(facts, key("a"))
    assert is_taken_back(facts, key("c"))
    assert not is_taken_back(facts, key("b"))
    passed = replace(verified("a"), let_through=True)
    assert not is_taken_back(group(passed, failed("b"), back=True), key("a"))
    assert not is_taken_back(group(verified("a"), failed("b"), allows=1, back=True), key("a"))
    assert not is_taken_back(group(verified("a"), failed("b")), key("a"))


def test_only_what_was_written_can_be_taken_back() -> None:
    """A run that succeeded, or that its group aborted; not one that changed nothing."""
    assert came_out(ended("a", Phase.SUCCEEDED, None))
    stopped = Failure(AbortReason.GROUP_STOPPED.value, "aborted by gitopsd")
    assert came_out(ended("a", Phase.ABORTED, stopped))
    assert not came_out(ended("a", Phase.ABORTED, Failure("Requested", "aborted by ben")))
    assert not came_out(replace(ended("a", Phase.SUCCEEDED, None), mutated=False))
    assert not came_out(ended("a"))


# What must be true of every history: stages begin when the gate is open, and end as chance has it.

_WAVES = st.lists(st.integers(1, 3), min_size=1, max_size=4)
_LOTS = st.lists(st.sampled_from(["verified", "failed", "errored", "mended"]), max_size=40)


@given(_WAVES, st.integers(0, 3), _LOTS)
def test_whatever_happens_no_wave_begins_before_its_time(
    sizes: list[int], allows: int, lots: list[str]
) -> None:
    """Each stage begins after every earlier wave is settled, and none once too many failed."""
    waves = [wave for wave, size in enumerate(sizes) for _ in range(size)]
    names = [f"s{number}" for number in range(len(waves))]
    facts = group(
        *(MemberFacts(key(name), wave) for name, wave in zip(names, waves, strict=True)),
        allows=allows,
    )
    began: list[MemberFacts] = []
    for lot in [*lots, *("verified" for _ in names)]:
        for member in facts.members:
            opened = answer(facts, member.stage.stage) == Open()
            assert opened is not (facts.stopped or _is_early(facts, member))
            if opened and member.run is None:
                began.append(member)
                run = live(member.stage.stage, Step.APPLY)
                facts = _with(facts, replace(member, run=run))
        facts = _let_end(facts, lot)
    assert [one.wave for one in began] == sorted(one.wave for one in began)
    if not facts.stopped and all(lot in ("verified", "mended") for lot in lots):
        assert {one.stage for one in began} == {one.stage for one in facts.members}
    for earlier, later in pairwise(began):
        assert earlier.stage != later.stage


def _is_early(facts: GroupFacts, member: MemberFacts) -> bool:
    return any(one.wave < member.wave and not one.settled for one in facts.members)


def _let_end(facts: GroupFacts, lot: str) -> GroupFacts:
    """Let the first run that is under way end so, or a failed one be brought again."""
    if lot == "mended":
        found = next(iter(facts.failed), None)
        return facts if found is None else _with(facts, verified(found.stage.stage, found.wave))
    running = (one for one in facts.members if one.run is not None and not one.settled)
    member = next(running, None)
    if member is None:
        return facts
    name, wave = member.stage.stage, member.wave
    if lot == "errored":
        return _with(facts, replace(member, run=ended(name, Phase.ERRORED)))
    return _with(facts, failed(name, wave) if lot == "failed" else verified(name, wave))


def _with(facts: GroupFacts, member: MemberFacts) -> GroupFacts:
    members = (member if one.stage == member.stage else one for one in facts.members)
    return replace(facts, members=tuple(members))


def test_other_plans_have_another_name() -> None:
    """The name is of all runs with their plans; the order in which they are told is none."""
    named = name_plans({"run-a": "sha256:1", "run-b": "sha256:2"})
    assert named.startswith("plans-")
    assert named == name_plans({"run-b": "sha256:2", "run-a": "sha256:1"})
    others = (
        {"run-a": "sha256:1"},
        {"run-a": "sha256:2", "run-b": "sha256:1"},
        {"run-a": "sha256:1", "run-c": "sha256:2"},
        {"run-a": "sha256:1", "run-b": "sha256:2", "run-c": "sha256:3"},
    )
    assert named not in [name_plans(one) for one in others]
