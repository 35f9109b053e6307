"""What is said of a stage: what it runs, what stands in the way of what is newer, and what then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitopsd.domain.config import StageMode, StageSpec
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import Offer, ReleaseId
from gitopsd.domain.runs import RunKind
from gitopsd.domain.stages import Condition, Freeze, Stage
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.pipeline.explained_run import explain_run, judge_run
from gitopsd.pipeline.explanation import Explanation, Foresight, Ignored, State, Wait
from gitopsd.pipeline.explanation_text import say_moment
from gitopsd.pipeline.implicit_gates import RESTORED_CHOICES
from gitopsd.pipeline.run_phrases import RunFacts
from gitopsd.pipeline.selection import Selection
from gitopsd.pipeline.stage_queue import Place, QueueEntry

FRESH_LOOK = timedelta(seconds=60)
"""``Live`` is said from a look at most this old."""

OLD_LOOK = timedelta(minutes=10)
"""Trouble that an older look saw says nothing of now: nobody looks where nobody asks."""


@dataclass(frozen=True, slots=True)
class StageFacts:
    """What is known of a stage.

    Attributes:
        now: When it was read.
        stage: The stage as stored.
        spec: The stage as configured now; None when it left the configuration.
        ref: Ref that its releases come from.
        names: Release -> how people call it.
        front: The run that may write; None when there is none.
        next: The Rollout between Pending and Gate; None when there is none.
        running: Release that the stage runs verified; None when nothing is.
        verified_at: Since when.
        newest: Newest offer of its line; None when there was none.
        newest_run: Last Rollout of that release here; None when there was none.
        quarantine: Quarantine in force that the newest release falls under.
        missing: Stages before this one in which the newest release is not verified.
        unwanted: Why the newest release does not come by itself; empty when it does.
        queue: What stands in line for it.
        selection: What the stage would take next, and what it may not take.
        freezes: Freezes in force whose scope covers it.
        besides: What keeps news of its application from coming: Git, registries, its file.
        ignored: What happened and changed nothing, newest first.
        foresight: What its gates would say at the time that was asked for, where no run stands
            at them.
    """

    now: datetime
    stage: Stage
    spec: StageSpec | None
    ref: str = ""
    names: Mapping[ReleaseId, str] = field(default_factory=dict)
    front: RunFacts | None = None
    next: RunFacts | None = None
    running: ReleaseId | None = None
    verified_at: datetime | None = None
    newest: Offer | None = None
    newest_run: RunFacts | None = None
    quarantine: Quarantine | None = None
    missing: tuple[str, ...] = ()
    unwanted: str = ""
    queue: tuple[QueueEntry, ...] = ()
    selection: Selection | None = None
    freezes: tuple[Freeze, ...] = ()
    besides: tuple[str, ...] = ()
    ignored: tuple[Ignored, ...] = ()
    foresight: Foresight | None = None

    @property
    def busy(self) -> RunFacts | None:
        """The run that is under way: the one that may write, or else the one that waits."""
        return self.front or self.next


def explain_stage(facts: StageFacts) -> Explanation:
    """Explain a stage."""
    state = _judge(facts)
    run = facts.busy
    told = explain_run(run) if run is not None else None
    queued = explain_run(facts.next) if facts.front is not None and facts.next is not None else None
    waits = (*(told.waiting_for if told else ()), *(queued.waiting_for if queued else ()))
    own = _Own(facts)
    because = (
        *own.conditions(state),
        *(told.because if told else ()),
        *(queued.because if queued else ()),
        *(own.idle(state) if told is None else ()),
        *own.runs(),
        *facts.besides,
    )
    foresight = next((one.foresight for one in (facts.next, facts.front) if one), None)
    return Explanation(
        subject=str(facts.stage.key),
        at=facts.now,
        state=state.value,
        since=own.since(state) or (told.since if told else None),
        because=because,
        ignored=(*_skipped(facts), *facts.ignored),
        waiting_for=(*waits, *own.waits(waits, idle=told is None)),
        next=told.next if told is not None else own.following(state),
        run=run.run.id if run is not None else None,
        foresight=foresight or facts.foresight,
    )


def _judge(facts: StageFacts) -> State:
    stage, front = facts.stage, facts.front
    if facts.spec is None or stage.retired_at is not None:
        return State.RETIRED
    if stage.stall is not None:
        return State.STALLED
    if front is not None:
        return State.ROLLING_BACK if front.run.kind is RunKind.ROLLBACK else judge_run(front)
    for found, state in (
        (facts.freezes, State.FROZEN),
        (stage.suspended, State.SUSPENDED),
        (stage.hold, State.HELD),
    ):
        if found:
            return state
    if facts.next is not None:
        return judge_run(facts.next)
    return _judge_idle(facts)


def _judge_idle(facts: StageFacts) -> State:
    if facts.newest is None:
        return State.EMPTY
    if _is_behind(facts):
        if facts.quarantine is not None:
            return State.QUARANTINED
        begins = facts.selection is not None and facts.selection.release is not None
        if facts.missing or facts.unwanted or begins or facts.newest_run is None:
            return State.WAITING
        return judge_run(facts.newest_run)
    seen = facts.stage.observation
    if seen is None or facts.now - seen.at > OLD_LOOK:
        return State.VERIFIED
    if seen.synced is False:
        return State.OUT_OF_SYNC
    if seen.health is Health.HEALTHY:
        return State.LIVE if facts.now - seen.at <= FRESH_LOOK else State.VERIFIED
    return State.UNKNOWN if seen.health is Health.UNKNOWN else State.DEGRADED


def _is_behind(facts: StageFacts) -> bool:
    """Whether the stage does not run what is newest, nor anything that stands for it."""
    if facts.newest is None or facts.running == facts.newest.release:
        return False
    selection = facts.selection
    passed = selection is not None and bool(selection.skipped)
    waits = selection is not None and selection.not_before is not None
    return passed or waits or facts.running is None


def _skipped(facts: StageFacts) -> tuple[Ignored, ...]:
    """List what was offered and may not come here, newest first."""
    skipped = facts.selection.skipped if facts.selection is not None else ()
    told = facts.newest.release if facts.newest is not None and _is_told(facts) else None
    return tuple(
        Ignored(f"offer of {_name(facts, one)}", why) for one, why in skipped if one != told
    )


def _is_told(facts: StageFacts) -> bool:
    """Whether it is said of the newest release itself why it may not come."""
    return facts.busy is None and (facts.quarantine is not None or bool(facts.missing))


@dataclass(frozen=True, slots=True)
class _Own:
    """What is said of the stage itself, beside its runs."""

    facts: StageFacts

    def since(self, state: State) -> datetime | None:
        """Say since when it stands so, where the stage itself knows."""
        stage = self.facts.stage
        held: Mapping[State, Condition | None] = {
            State.SUSPENDED: stage.suspended,
            State.HELD: stage.hold,
        }
        condition = held.get(state)
        if condition is not None:
            return condition.at
        if state is State.FROZEN and self.facts.freezes:
            return min(freeze.at for freeze in self.facts.freezes)
        if state is State.QUARANTINED and self.facts.quarantine is not None:
            return self.facts.quarantine.at
        if state is State.STALLED and stage.stall is not None:
            return stage.stall.at
        if state is State.RETIRED:
            return stage.retired_at
        if state in (State.LIVE, State.VERIFIED):
            return self.facts.verified_at
        if state is State.WAITING and self.facts.newest is not None:
            return self.facts.newest.at
        if state in _AS_ITS_RUN and self.facts.newest_run is not None and self.facts.busy is None:
            return self.facts.newest_run.run.ended_at
        if self.facts.busy is None and state in _BY_LOOKS and stage.observation is not None:
            return stage.observation.at
        return None

    def conditions(self, state: State) -> tuple[str, ...]:
        """Say what people or gitopsd set on the stage, the gravest first."""
        stage, now, found = self.facts.stage, self.facts.now, []
        if state is State.RETIRED:
            found.append(f"{stage.key} is not configured any more; what it runs keeps running")
        if stage.stall is not None:
            call = (
                "nothing newer passes its gates"
                if stage.stall.reason.closes_gates
                else ("newer releases still come")
            )
            found.append(
                f"a person is called ({stage.stall.reason.value}): {stage.stall.message}; {call}"
            )
        found += [
            f"{freeze.by} froze {freeze.scope} at {say_moment(freeze.at, now)}{_why(freeze.reason)}"
            for freeze in self.facts.freezes
        ]
        suspended, hold = stage.suspended, stage.hold
        if suspended is not None:
            when = say_moment(suspended.at, now)
            found.append(f"{suspended.by} suspended {stage.key} at {when}{_why(suspended.reason)}")
        if hold is not None:
            kept = f" on {_name(self.facts, stage.applied.release)}" if stage.applied else ""
            when = say_moment(hold.at, now)
            found.append(f"{hold.by} holds {stage.key}{kept} since {when}{_why(hold.reason)}")
        return tuple(found)

    def idle(self, state: State) -> tuple[str, ...]:
        """Say why nothing is under way."""
        facts, newest = self.facts, self.facts.newest
        if newest is None:
            return (f"nothing was offered on {facts.ref} yet",)
        name = _name(facts, newest.release)
        offered = f"{name} is the newest, offered at {say_moment(newest.at, facts.now)}"
        if facts.quarantine is not None:
            return (f"{offered}; it is quarantined here: {facts.quarantine.reason}",)
        if facts.missing:
            return (f"{offered}; it is not verified in {', '.join(facts.missing)}",)
        if state is State.WAITING and facts.unwanted:
            return (f"{offered}; {facts.unwanted}",)
        if state in _AS_ITS_RUN and facts.newest_run is not None:
            return (offered, *explain_run(facts.newest_run).because)
        return (offered,) if state is State.WAITING else ()

    def runs(self) -> tuple[str, ...]:
        """Say what the stage runs, and how it was seen last."""
        facts, seen = self.facts, self.facts.stage.observation
        if facts.running is None:
            applied = facts.stage.applied
            if applied is None:
                return ("it runs nothing: nothing was applied yet",)
            return (f"what it has, {_name(facts, applied.release)}, is not verified",)
        since = f" since {say_moment(facts.verified_at, facts.now)}" if facts.verified_at else ""
        looked = ""
        if seen is not None:
            when = say_moment(seen.at, facts.now)
            sync = _SYNC[seen.synced]
            looked = f"; seen {seen.health.value}, {sync} at {when}{_why(seen.message)}"
        return (f"it runs {_name(facts, facts.running)}, verified{since}{looked}",)

    def waits(self, told: tuple[Wait, ...], *, idle: bool) -> tuple[Wait, ...]:
        """Say what the stage waits for, beside what its runs say."""
        facts, stage, found = self.facts, self.facts.stage, []
        key = stage.key
        resume = f"gitopsd resume {key.application} {key.stage}"
        if stage.stall is not None:
            found.append(Wait(f"stall: {stage.stall.reason.value}", _end_stall(facts, resume)))
        found += [
            Wait(f"freeze: {one.scope}", f"gitopsd thaw {one.id}", one.until)
            for one in facts.freezes
        ]
        if stage.suspended is not None:
            found.append(Wait(f"suspend: by {stage.suspended.by}", resume))
        if stage.hold is not None:
            found.append(Wait(f"hold: by {stage.hold.by}", resume))
        if facts.spec is not None and facts.spec.mode is StageMode.OBSERVE:
            found.append(Wait("observe", "set mode: apply in the application file"))
        found += self._idle_waits() if idle else self._queued()
        said = {wait.what.split(":")[0] for wait in told}
        return tuple(wait for wait in found if wait.what.split(":")[0] not in said)

    def _queued(self) -> list[Wait]:
        """Say what follows what is under way, each with its position."""
        waiting = [entry for entry in self.facts.queue if entry.place is Place.WAITING]
        return [
            Wait(f"position {entry.position}: {_name(self.facts, entry.release)}", entry.reason)
            for entry in waiting
        ]

    def _idle_waits(self) -> list[Wait]:
        facts, key = self.facts, self.facts.stage.key
        if facts.newest is None or not _is_behind(facts):
            return []
        if facts.quarantine is not None:
            lift = f"push a fix, or: gitopsd quarantine lift {facts.quarantine.id}"
            return [Wait(f"other bytes than {_name(facts, facts.newest.release)}", lift)]
        if facts.missing:
            return [
                Wait(f"verification in {name}", f"gitopsd explain {key.application} {name}")
                for name in facts.missing
            ]
        if facts.unwanted:
            return [Wait(_name(facts, facts.newest.release), facts.unwanted)]
        return list(explain_run(facts.newest_run).waiting_for) if facts.newest_run else []

    def following(self, state: State) -> str:
        """Say what happens next where no run is under way."""
        facts = self.facts
        if state is State.RETIRED:
            return "nothing: configure it again to bring something newer"
        key, stall = facts.stage.key, facts.stage.stall
        if state in _AS_ITS_RUN and facts.newest_run is not None:
            return explain_run(facts.newest_run).next
        if state is State.STALLED and stall is not None and not stall.reason.closes_gates:
            return f"{_next_offer(facts)}, and ends the call when it is verified"
        if state is State.DEGRADED:
            return f"push a fix, or: gitopsd rollback {key.application} {key.stage}"
        if state is State.OUT_OF_SYNC:
            return f"to apply it again: gitopsd sync {key.application} {key.stage}"
        if state is State.WAITING:
            if facts.unwanted and not facts.missing:
                return "nothing, until somebody does that or something newer is offered"
            return "it begins by itself then" if facts.missing else "it begins by itself, at once"
        if state in (State.LIVE, State.VERIFIED, State.UNKNOWN, State.EMPTY, State.QUARANTINED):
            return _next_offer(facts)
        return "what is newest comes by itself then"


def _next_offer(facts: StageFacts) -> str:
    return f"the next release that {facts.ref} offers comes by itself"


_BY_LOOKS = frozenset({State.DEGRADED, State.OUT_OF_SYNC, State.UNKNOWN})
_AS_ITS_RUN = frozenset(
    {
        State.FAILED,
        State.ERRORED,
        State.SUPERSEDED,
        State.REJECTED,
        State.EXPIRED,
        State.OVERDUE,
        State.ABORTED,
        State.SUCCEEDED,
        State.UNCHANGED,
    }
)
"""States of an idle stage that it has from the last run of what is newest."""

_SYNC = {True: "Synced", False: "OutOfSync", None: "sync unknown"}


def _end_stall(facts: StageFacts, resume: str) -> str:
    key, stall = facts.stage.key, facts.stage.stall
    if stall is not None and stall.reason is StallReason.RESTORED_DATABASE:
        return RESTORED_CHOICES.format(key.application, key.stage)
    if stall is not None and stall.reason is StallReason.INVENTORY:
        return f"gitopsd adopt {key.application} {key.stage}"
    if stall is not None and stall.reason.closes_gates:
        return f"see to it, then: {resume}"
    back = f"gitopsd rollback {key.application} {key.stage}"
    return f"push a fix, or choose what it is to have: {back}; done by hand: {resume}"


def _why(reason: str) -> str:
    return f": {reason}" if reason else ""


def _name(facts: StageFacts, release: ReleaseId) -> str:
    return facts.names.get(release, str(release))
