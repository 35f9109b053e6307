"""Freezes: whom they hold, where they are asked again, and deadlines that stand still."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha
from gitopsd.domain.stages import Condition, Freeze, Stage
from gitopsd.domain.windows import Overrun, WeeklyWindow, WindowGate
from gitopsd.pipeline.apply_hold import (
    PREPARED,
    evaluate_before_apply,
    has_clock_stopped,
    is_frozen,
    is_held_before_apply,
)
from gitopsd.pipeline.events import (
    AbortRequested,
    ApprovalComplete,
    ClockStarted,
    ClockStopped,
    DeadlineReached,
    StepPending,
    StepSucceeded,
)
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import all_open, evaluate_gates
from gitopsd.pipeline.machine import decide
from tests.support.runs import COMMAND, KEY, NOON, run_at

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AT_GATE = run_at(RunKind.ROLLOUT, Step.GATE)
PREPARING = run_at(RunKind.ROLLOUT, Step.PREPARE)
HELD = decide(
    decide(PREPARING, StepPending(NOON, COMMAND, MINUTE, cursor=PREPARED, message="frozen")).run,
    ClockStopped(NOON),
).run
FREEZE = Freeze("f-1", "*", "alex", "an incident", NOON - HOUR)
CLOSED = WindowGate((WeeklyWindow("Mon", (0,), 0, 1440),))  # noon is on a Saturday


def facts(
    *freezes: Freeze, run_step: Step = Step.PREPARE, gates: tuple[WindowGate, ...] = ()
) -> GateFacts:
    """Facts of production's run."""
    run = run_at(RunKind.ROLLOUT, run_step)
    return GateFacts(
        now=NOON,
        run=run,
        release=Release(run.release, KEY.application, Commit(CommitSha("a" * 40))),
        offer=None,
        stage=Stage(KEY, suspended=Condition("maria", "lunch", NOON)),
        spec=StageSpec(KEY.stage, "one", "overlays/production", "shop", gates=gates),
        freezes=freezes,
    )


def closed_before_apply(given: GateFacts) -> list[str]:
    """Which gates hold a run before Apply."""
    states = evaluate_before_apply(given)
    return [state.name for state in states if not isinstance(state.answer, Open)]


def test_a_freeze_holds_what_was_let_in_and_has_not_applied() -> None:
    """No other gate is asked again: a suspended stage finishes what it began."""
    assert closed_before_apply(facts(FREEZE)) == ["freeze"]
    assert closed_before_apply(facts()) == []
    assert not all_open(evaluate_gates(facts()))


@pytest.mark.parametrize(
    "freeze",
    [
        replace(FREEZE, thawed_at=NOON - MINUTE),
        replace(FREEZE, until=NOON),
        replace(FREEZE, until=NOON - MINUTE),
    ],
)
def test_a_freeze_that_is_over_holds_nobody(freeze: Freeze) -> None:
    """Ended by a person, or by the time that was stored with it."""
    assert closed_before_apply(facts(freeze)) == []


def test_of_two_freezes_the_later_end_counts() -> None:
    """And one without an end has none; each is named with what ends it."""
    short, long = (
        replace(FREEZE, until=NOON + HOUR),
        replace(FREEZE, id="f-2", until=NOON + 2 * HOUR),
    )
    (state,) = [one for one in evaluate_before_apply(facts(short, long)) if one.name == "freeze"]
    assert isinstance(state.answer, Closed)
    assert state.answer.until == NOON + 2 * HOUR
    assert state.answer.opener == "gitopsd thaw f-1 and gitopsd thaw f-2"
    (endless,) = [
        one for one in evaluate_before_apply(facts(short, FREEZE)) if one.name == "freeze"
    ]
    assert isinstance(endless.answer, Closed)
    assert endless.answer.until is None


def test_a_window_that_closed_holds_only_where_it_says_so() -> None:
    """What has begun to write finishes, unless ``overrun: wait`` is written."""
    waits = replace(CLOSED, overrun=Overrun.WAIT)
    assert closed_before_apply(facts(gates=(CLOSED,))) == []
    assert closed_before_apply(facts(gates=(CLOSED, waits))) == ["window-2"]


def test_gates_that_were_passed_say_so() -> None:
    """What people see of a held run is what holds it."""
    said = {state.name: state.answer for state in evaluate_before_apply(facts(FREEZE))}
    assert said["suspend"] == Open("it was let in before")


def test_frozen_is_said_of_the_implicit_gate_alone() -> None:
    """Whatever else is closed, and however a configured gate may be called."""
    closed, opened = Closed("why", "how"), Open()
    assert is_frozen([GateState("freeze", implicit=True, answer=closed)])
    assert not is_frozen([GateState("freeze", implicit=True, answer=opened)])
    assert not is_frozen([GateState("freeze", implicit=False, answer=closed)])
    assert not is_frozen([GateState("hold", implicit=True, answer=closed)])


def test_a_shut_window_stops_the_clock_once_no_vote_is_missing() -> None:
    """Until then people have to hurry all the same; other closed gates stop nothing."""
    shut = GateState("window-2", implicit=False, answer=Closed("why", "how"))
    open_window = replace(shut, answer=Open())
    soak = replace(shut, name="soak")
    approved = replace(AT_GATE, approved=True)
    assert has_clock_stopped(approved, [open_window, shut])
    assert not has_clock_stopped(AT_GATE, [shut])
    assert not has_clock_stopped(approved, [open_window, soak])
    assert not has_clock_stopped(approved, [replace(shut, implicit=True)])
    frozen = GateState("freeze", implicit=True, answer=Closed("why", "how"))
    assert has_clock_stopped(AT_GATE, [soak, frozen])


@pytest.mark.parametrize(
    "kind,step,cursor,held",
    [
        (RunKind.ROLLOUT, Step.PREPARE, PREPARED, True),
        (RunKind.ROLLOUT, Step.PREPARE, "", False),
        (RunKind.ROLLOUT, Step.APPLY, PREPARED, False),
        (RunKind.ROLLBACK, Step.PREPARE, PREPARED, False),
    ],
)
def test_held_is_a_rollout_whose_prepare_is_done(
    kind: RunKind, step: Step, cursor: str, held: bool
) -> None:
    """One whose hooks still run is not, nor one that applies, nor a Rollback."""
    assert is_held_before_apply(replace(run_at(kind, step), cursor=cursor)) is held
    ended = replace(run_at(kind, step), cursor=cursor, phase=Phase.ABORTED)
    assert not is_held_before_apply(ended)


@pytest.mark.parametrize("run", [AT_GATE, PREPARING])
def test_a_deadline_stands_still_while_frozen(run: Run) -> None:
    """Long after it nothing ends; the time is given back when the freeze is over."""
    stopped = decide(run, ClockStopped(NOON)).run
    assert stopped.command == run.command
    late = decide(stopped, DeadlineReached(NOON + 1000 * HOUR))
    assert late.ignored.startswith("the deadline is not reached")
    started = decide(stopped, ClockStarted(NOON + 1000 * HOUR)).run
    assert started.clock_stopped_at is None
    assert started.step_deadline == NOON + 1000 * HOUR + MINUTE
    almost = decide(started, DeadlineReached(NOON + 1000 * HOUR + 59 * timedelta(seconds=1)))
    assert almost.ignored
    assert decide(started, DeadlineReached(NOON + 1000 * HOUR + MINUTE)).run.phase.terminal


def test_a_clock_stops_once_and_starts_once() -> None:
    """Whoever says it again changes nothing."""
    stopped = decide(AT_GATE, ClockStopped(NOON)).run
    again = decide(stopped, ClockStopped(NOON + HOUR))
    assert again.ignored == "its deadline stands still already"
    assert decide(AT_GATE, ClockStarted(NOON)).ignored == "its deadline counts already"


def test_approvals_that_come_while_frozen_give_the_gates_their_own_time() -> None:
    """From then on, and the rest of the freeze on top."""
    stopped = decide(AT_GATE, ClockStopped(NOON)).run
    approved = decide(stopped, ApprovalComplete(NOON + HOUR)).run
    started = decide(approved, ClockStarted(NOON + 2 * HOUR)).run
    assert started.step_deadline is not None
    assert started.step_deadline >= NOON + timedelta(days=7, hours=2)


def test_what_was_held_applies_with_a_deadline_of_its_own() -> None:
    """It has written since Prepare was commanded: a crash hides what hooks did."""
    assert HELD.command is not None
    assert HELD.mutated
    applying = decide(HELD, StepSucceeded(NOON + 1000 * HOUR, HELD.command)).run
    assert (applying.step, applying.clock_stopped_at, applying.cursor) == (Step.APPLY, None, "")
    assert applying.step_deadline == NOON + 1000 * HOUR + 10 * MINUTE


def test_what_was_held_and_is_aborted_ends_with_its_next_report() -> None:
    """Whether the freeze still stands or not."""
    marked = decide(HELD, AbortRequested(NOON + HOUR, "maria")).run
    assert marked.command is not None
    for report in (
        StepSucceeded(NOON + HOUR, marked.command),
        StepPending(NOON + HOUR, marked.command, MINUTE, cursor=PREPARED),
    ):
        after = decide(marked, report).run
        assert (after.phase, after.clock_stopped_at) == (Phase.ABORTED, None)
        assert after.failure is not None
        assert after.failure.reason == AbortReason.REQUESTED.value
