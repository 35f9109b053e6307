"""The machine's transitions as data: what can happen where, and what follows.

`machine.decide` does nothing without a row here; the diagram in ``docs/architecture.md`` is drawn
from these rows; tests hold every result against the row's ``to``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import chain, repeat
from typing import TypeAlias, get_args

from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.pipeline.events import (
    AbortRequested,
    AppliedChanged,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    DeadlineReached,
    Event,
    GateRefused,
    RollbackRequested,
    RunAdmitted,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)
from gitopsd.pipeline.lockouts import is_locked_out
from gitopsd.pipeline.steps import NEXT_STEPS, STEP_ORDER, first_step, next_step

Position: TypeAlias = Phase | Step
"""Where a live run stands: `Phase.PENDING`, or its step while Running."""


class Effect(Enum):
    """What a row does; one function of `machine` each."""

    ADMIT = "Admit"
    ADVANCE = "Advance"
    WAIT = "Wait"
    RETRY = "Retry"
    FAIL = "Fail"
    JUDGE = "Judge"
    REFUSE = "Refuse"
    EXPIRE = "Expire"
    EXTEND = "Extend"
    STOP_CLOCK = "StopClock"
    START_CLOCK = "StartClock"
    REVALIDATE = "Revalidate"
    REPLACE = "Replace"
    YIELD = "Yield"
    STOP = "Stop"
    CLOSE = "Close"
    NOTE = "Note"
    ABORT = "Abort"
    ABORT_LATER = "AbortLater"
    REDIRECT = "Redirect"
    REDIRECT_LATER = "RedirectLater"
    END_CLOSING = "EndClosing"


class Follow(Enum):
    """Where a row leads when that depends on where it starts."""

    SAME = "Same"
    FIRST = "First"
    FOLLOWING = "Following"


Target: TypeAlias = Phase | Step | Follow
"""Where a row can lead."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table.

    Attributes:
        kinds: Kinds of runs it is for.
        at: Where the run stands.
        event: What happens.
        effect: What the machine does.
        to: Where it can lead; more than one when the event's own facts decide.
        when: For each of ``to``, the condition in a few words for the diagram; may be shorter.
        closing: True for runs that only wait for the work in flight to report, then end.
    """

    kinds: frozenset[RunKind]
    at: frozenset[Position]
    event: type[Event]
    effect: Effect
    to: tuple[Target, ...]
    when: tuple[str, ...] = ()
    closing: bool = False


_ALL = frozenset(RunKind)
_ROLLOUT = frozenset({RunKind.ROLLOUT})
_ROLLBACK = frozenset({RunKind.ROLLBACK})
_SYNC = frozenset({RunKind.SYNC})

_PENDING = frozenset[Position]({Phase.PENDING})
_STEPS = frozenset[Position](Step)
_VALIDATE = frozenset[Position]({Step.VALIDATE})
_DIFF = frozenset[Position]({Step.DIFF})
_GATE = frozenset[Position]({Step.GATE})
_WAITING = frozenset[Position]({Phase.PENDING, *NEXT_STEPS})
_HOLDABLE = frozenset[Position]({Step.GATE, Step.PREPARE})
_BATCHES = frozenset[Position]({Step.PREPARE, Step.APPLY})
_WRITES = frozenset[Position]({Step.PREPARE, Step.APPLY, Step.PRUNE})
_HEALTH = frozenset[Position]({Step.WAIT_HEALTHY})
_LATE = frozenset[Position]({Step.VERIFY, Step.PRUNE, Step.CERTIFY})
_FRONT = _BATCHES | _HEALTH | _LATE

_STAY = (Follow.SAME,)
_ABORTED = (Phase.ABORTED,)

_OUTCOMES: tuple[Row, ...] = (
    Row(_ALL, _PENDING, RunAdmitted, Effect.ADMIT, (Follow.FIRST,)),
    Row(
        _ROLLOUT,
        _DIFF,
        StepSucceeded,
        Effect.ADVANCE,
        (Follow.FOLLOWING, Phase.SUCCEEDED),
        ("", "Unchanged"),
    ),
    Row(_ALL, _STEPS - _DIFF, StepSucceeded, Effect.ADVANCE, (Follow.FOLLOWING,)),
    Row(_ALL, _STEPS, StepPending, Effect.WAIT, _STAY),
    Row(_ALL, _STEPS, StepErrored, Effect.RETRY, (Follow.SAME, Phase.ERRORED), ("", "none left")),
    Row(_ALL, _STEPS - _GATE, StepFailed, Effect.FAIL, (Phase.FAILED,)),
    Row(
        _ALL,
        _STEPS - _GATE,
        DeadlineReached,
        Effect.JUDGE,
        (Phase.FAILED, Phase.ERRORED),
        ("last look not healthy", "no sight"),
    ),
    Row(_ROLLOUT, _GATE, StepFailed, Effect.REFUSE, _ABORTED, ("Rejected",)),
    Row(_ROLLOUT, _GATE, GateRefused, Effect.REFUSE, _ABORTED, ("Rejected",)),
    Row(_ROLLOUT, _GATE, DeadlineReached, Effect.EXPIRE, _ABORTED, ("Expired, Overdue",)),
    Row(_ROLLOUT, _GATE, ApprovalComplete, Effect.EXTEND, _STAY),
    Row(_ROLLOUT, _HOLDABLE, ClockStopped, Effect.STOP_CLOCK, _STAY),
    Row(_ROLLOUT, _HOLDABLE, ClockStarted, Effect.START_CLOCK, _STAY),
    Row(
        _ROLLOUT,
        _VALIDATE | _DIFF | _GATE,
        AppliedChanged,
        Effect.REVALIDATE,
        (Step.VALIDATE,),
    ),
)

_INTERRUPTIONS: tuple[Row, ...] = (
    Row(_ROLLOUT, _WAITING, Superseded, Effect.REPLACE, (Phase.ABORTED, Follow.SAME), ("no vote",)),
    Row(_ROLLOUT, _BATCHES, Superseded, Effect.CLOSE, _STAY),
    Row(
        _ROLLOUT, _HEALTH, Superseded, Effect.YIELD, (Phase.ABORTED, Follow.SAME), ("unprotected",)
    ),
    Row(_ROLLOUT, _LATE, Superseded, Effect.NOTE, _STAY),
    Row(_ROLLBACK, _FRONT, Superseded, Effect.CLOSE, _STAY),
    Row(_SYNC, _PENDING | _HEALTH, Superseded, Effect.STOP, _ABORTED),
    Row(_SYNC, _BATCHES, Superseded, Effect.CLOSE, _STAY),
    Row(_ROLLOUT, _WAITING, AbortRequested, Effect.ABORT, _ABORTED),
    Row(_SYNC, _PENDING, AbortRequested, Effect.ABORT, _ABORTED),
    Row(_ALL, _FRONT, AbortRequested, Effect.ABORT_LATER, _STAY),
    Row(
        _ROLLBACK,
        (_PENDING | _FRONT) - _WRITES,
        RollbackRequested,
        Effect.REDIRECT,
        _ABORTED,
        ("Redirected",),
    ),
    Row(_ROLLBACK, _WRITES, RollbackRequested, Effect.REDIRECT_LATER, _STAY),
    Row(_ROLLOUT | _SYNC, _FRONT, RollbackRequested, Effect.REDIRECT_LATER, _STAY),
)

_CLOSINGS: tuple[Row, ...] = tuple(
    Row(_ALL, _FRONT, event, Effect.END_CLOSING, _ABORTED, ("closing",), closing=True)
    for event in (StepSucceeded, StepPending, StepErrored, StepFailed, DeadlineReached)
)

ROWS: tuple[Row, ...] = _CLOSINGS + _OUTCOMES + _INTERRUPTIONS
"""Every transition there is. The first row that fits counts; what fits none is ignored."""


def position_of(run: Run) -> Position | None:
    """Tell where a run stands; None when it ended."""
    return run.step if run.phase is Phase.RUNNING else Phase.PENDING if run.live else None


def positions_of(kind: RunKind) -> tuple[Position, ...]:
    """List where a live run of this kind can stand, in order."""
    return (Phase.PENDING, *STEP_ORDER[kind])


def is_closing(run: Run) -> bool:
    """Tell whether a run ends as soon as its work in flight reports.

    A Rollout that was superseded from Verify on is not, unless it is locked out: it finishes what
    it has nearly proven. A Rollback is only ever superseded while it is locked out.
    """
    yields = run.step in _BATCHES or run.kind is RunKind.ROLLBACK or is_locked_out(run)
    taken_over = run.superseded_by is not None and yields
    return run.aborting or run.redirect is not None or taken_over


_INDEX: dict[tuple[RunKind, Position, type[object]], tuple[Row, ...]] = {
    (kind, at, event): tuple(
        row for row in ROWS if kind in row.kinds and at in row.at and issubclass(event, row.event)
    )
    for kind in RunKind
    for at in positions_of(kind)
    for event in get_args(Event)
}
"""The rows by kind, position and event, in their order."""


def find_row(run: Run, event: Event) -> Row | None:
    """Find the row for an event; None when the event changes nothing where the run stands."""
    at = position_of(run)
    if at is None:
        return None
    closing = is_closing(run)
    rows = _INDEX.get((run.kind, at, type(event)), ())
    return next((row for row in rows if closing or not row.closing), None)


def leads_to(row: Row, kind: RunKind, at: Position) -> tuple[tuple[Position, str], ...]:
    """List where a row can lead from a position, each with its condition."""
    return tuple(
        (_resolve(target, kind, at), when)
        for target, when in zip(row.to, chain(row.when, repeat("")), strict=False)
    )


def _resolve(target: Target, kind: RunKind, at: Position) -> Position:
    if not isinstance(target, Follow):
        return target
    if target is Follow.SAME:
        return at
    if isinstance(at, Phase):
        return first_step(kind)
    return next_step(kind, at) or Phase.SUCCEEDED
