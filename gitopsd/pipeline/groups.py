"""How a release goes through a group of stages: wave by wave, until it failed too often.

Nothing is remembered: everything follows from the last Rollout of the release in each stage, and
from whether what that verified still stands. So a crash between two of them loses nothing, and a
failure that was mended, by another attempt that succeeded, counts no more.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.groups import GroupSpec, OnFailure
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import AbortReason, Phase, Run, RunId, Step

GATE = "group"
"""Name of the implicit gate."""


@dataclass(frozen=True, slots=True)
class MemberFacts:
    """How one stage of a group stands with one release.

    Attributes:
        stage: The stage.
        wave: Number of its wave, from 0.
        run: The release's last Rollout there; None when there was none.
        verified: Whether that verified it there, and nobody took it back since.
        failed_later: Whether it failed there after it had been verified.
        let_through: Whether a person let that run pass the gate of the group.
    """

    stage: StageKey
    wave: int = 0
    run: Run | None = None
    verified: bool = False
    failed_later: bool = False
    let_through: bool = False

    @property
    def failed(self) -> bool:
        """Whether the release has a verdict against it there."""
        ended = self.run is not None and self.run.phase is Phase.FAILED
        return ended or self.failed_later

    @property
    def settled(self) -> bool:
        """Whether it is known how the release does there."""
        return self.verified or self.failed


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """How a group stands with one release.

    Attributes:
        spec: The group.
        release: The release.
        members: Its stages, wave by wave.
    """

    spec: GroupSpec
    release: ReleaseId
    members: tuple[MemberFacts, ...]

    @property
    def failed(self) -> tuple[MemberFacts, ...]:
        """Stages that the release failed in."""
        return tuple(one for one in self.members if one.failed)

    @property
    def stopped(self) -> bool:
        """Whether it failed in more stages than the group allows."""
        return len(self.failed) > self.spec.max_failures

    def member(self, stage: StageKey) -> MemberFacts | None:
        """Find a stage of the group; None when it is none."""
        return next((one for one in self.members if one.stage == stage), None)


def say_stopped(group: GroupFacts) -> str:
    """Say in which stages a release failed, how often, and how often it may."""
    allowed = group.spec.max_failures or "none"
    where = _list(f"{one.stage.stage}{_why(one)}" for one in group.failed)
    share = f"{len(group.failed)} of {len(group.members)} stages"
    return (
        f"{group.release} failed in {where}: {share} of group {group.spec.name}, "
        f"which allows {allowed}"
    )


def name_plans(plans: Mapping[str, str]) -> str:
    """Name several plans that are agreed to together: other runs, or other plans, another name.

    Args:
        plans: Run -> its plan.
    """
    told = "\n".join(f"{run} {plan}" for run, plan in sorted(plans.items()))
    return f"plans-{hashlib.sha256(told.encode()).hexdigest()[:16]}"


def evaluate_group(group: GroupFacts, stage: StageKey, run: RunId) -> GateAnswer:
    """Answer whether a release may begin in one more stage of a group.

    Args:
        group: How the group stands with the release.
        stage: The stage that it would begin in.
        run: The run that would bring it.
    """
    own = group.member(stage)
    if own is None:
        return Closed(
            f"nothing is known of the stages of group {group.spec.name}",
            "wait until the application file is read",
        )
    if group.stopped:
        opener = f"push a fix, or for this stage alone: gitopsd skip {run} {GATE} --reason WHY"
        return Closed(say_stopped(group), opener)
    before = [one for one in group.members if one.wave < own.wave and not one.settled]
    if not before:
        return Open()
    waves = 1 + max(one.wave for one in group.members)
    waits = _list(f"{one.stage.stage} ({describe_member(one)})" for one in before)
    place = f"it is in wave {own.wave + 1} of {waves} of group {group.spec.name}"
    openers = dict.fromkeys(_opener(one, group.release) for one in before)
    return Closed(f"{place} and waits for {waits}", "; ".join(openers))


def is_taken_back(group: GroupFacts, stage: StageKey) -> bool:
    """Tell whether a group that stopped a release takes it back from one of its stages.

    Not from one where a person let it pass the group's gate, nor from one where it failed: that
    one restores by itself, or its stage says why it does not.
    """
    own = group.member(stage)
    if own is None or own.failed or own.let_through:
        return False
    return group.stopped and group.spec.on_failure is OnFailure.ROLLBACK_ALL


def came_out(run: Run) -> bool:
    """Tell whether a run brought something out that could be taken back, or was, half-way."""
    why = run.failure.reason if run.failure is not None else ""
    ended = run.phase is Phase.SUCCEEDED or why == AbortReason.GROUP_STOPPED.value
    return run.mutated and ended


def _why(member: MemberFacts) -> str:
    if member.failed_later:
        return " (after it was verified)"
    failure = member.run.failure if member.run is not None else None
    return f" ({failure.reason})" if failure is not None else ""


def describe_member(member: MemberFacts) -> str:
    """Say in a few words where a release's run in a stage is, or how it ended."""
    run = member.run
    if member.verified:
        return "verified"
    if member.failed_later:
        return "failed after it was verified"
    if run is None:
        return "not begun"
    if run.live:
        waits = run.step is Step.GATE
        return "at its Gate" if waits else f"in {run.step.value if run.step else run.phase.value}"
    if run.phase is Phase.SUCCEEDED:
        return "taken back"
    if run.phase is Phase.ERRORED:
        return "no verdict yet"
    why = f": {run.failure.reason}" if run.failure is not None else ""
    return f"{run.phase.value}{why}"


def _opener(member: MemberFacts, release: ReleaseId) -> str:
    key, run = member.stage, member.run
    if run is not None and run.phase is Phase.ABORTED:
        return f"gitopsd retry {run.id}"
    if run is not None and run.phase is Phase.SUCCEEDED:
        return f"gitopsd promote {key.application} {key.stage} {release}"
    return f"wait until {key.stage} is verified with it"


def _list(parts: Iterable[str]) -> str:
    *most, last = parts
    return f"{', '.join(most)} and {last}" if most else last
