"""What holds for every state and event, however a run came to be as it is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from functools import cache
from itertools import product

import pytest

from gitopsd.domain.runs import Failure, LastLook, Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import ExecuteStep, RecordVerified, StartRollback, StoreQuarantine
from gitopsd.pipeline.endings import Transition
from gitopsd.pipeline.events import (
    ClockStarted,
    DeadlineReached,
    Event,
    RollbackRequested,
    StepFailed,
)
from gitopsd.pipeline.machine import decide
from gitopsd.pipeline.table import Position
from tests.support.runs import BYTES, NEWER, NOON, OTHER_TARGET, PLACES, STEPS, TARGET, run_at
from tests.unit.pipeline.test_transition_table import EVENTS

ENDED = tuple((kind, phase) for kind in RunKind for phase in Phase if phase.terminal)
EVERYWHERE: tuple[tuple[RunKind, Position], ...] = (*PLACES, *ENDED)


def variants(kind: RunKind, at: Position) -> Iterator[Run]:
    """A run in one place with everything that can be true of it there."""
    plain = run_at(kind, at)
    targets = [(TARGET, None), (None, StallReason.MANUAL), (None, None)]
    targets.append((replace(TARGET, rendered=BYTES), None))
    marks: list[dict[str, object]] = [{}]
    if plain.live and plain.mutated:
        failure = Failure("Requested", "aborted by maria", plain.step)
        marks.append({"superseded_by": NEWER})
        marks.append({"redirect": OTHER_TARGET, "ended_by": "maria", "failure": failure})
        if kind is not RunKind.ROLLBACK:
            marks.append({"aborting": True, "failure": failure})
            marks.append({"aborting": True, "aborting_restore": True, "failure": failure})
    if plain.phase is Phase.RUNNING:
        marks.append({"lockouts": 2, "locked_out_until": NOON})
        marks.append({"lockouts": 2, "locked_out_until": NOON, "superseded_by": NEWER})
        marks.append({"lockouts": 1, "locked_out_until": None})
    if at is Step.GATE:
        marks.append({"approved": True})
    if kind is RunKind.ROLLOUT and at in (Step.GATE, Step.PREPARE):
        marks.append({"clock_stopped_at": NOON})
    for look, mark, (target, reason) in product(LastLook, marks, targets):
        restorable = {} if kind is RunKind.ROLLBACK else {"restore_target": target}
        yield replace(plain, last_look=look, no_restore=reason, **restorable, **mark)  # type: ignore[arg-type] # fields of Run by name


@cache
def pairs(kind: RunKind, at: Position) -> tuple[tuple[Run, Event, Transition], ...]:
    """Every such run with every event, and what comes of it; decided once for all tests."""
    return tuple(
        (run, event, decide(run, event))
        for run, event in product(variants(kind, at), EVENTS.values())
    )


@pytest.mark.parametrize("kind,at", EVERYWHERE)
def test_deciding_is_total(kind: RunKind, at: Position) -> None:
    """Each pair has an answer: a change with its commands, or the same run with a reason."""
    for run, _, transition in pairs(kind, at):
        if transition.ignored:
            assert transition.run is run
            assert transition.commands == ()
        else:
            assert run.live
            assert transition.run.version == run.version + 1


@pytest.mark.parametrize("kind,at", PLACES)
def test_steps_come_in_order(kind: RunKind, at: Position) -> None:
    """A run stays, goes one step on, ends, or goes back to Validate for a changed applied set."""
    order = (None, *STEPS[kind])
    for run, _, transition in pairs(kind, at):
        after = transition.run
        if after.step is run.step or not after.live:
            assert after.step is run.step
            continue
        one_on = order[order.index(run.step) + 1]
        back = run.step in (Step.DIFF, Step.GATE) and after.step is Step.VALIDATE
        assert after.step is one_on or back


@pytest.mark.parametrize("kind,at", PLACES)
def test_at_most_one_command_is_outstanding(kind: RunKind, at: Position) -> None:
    """A run that runs knows exactly the command it gave last; one that ended knows none."""
    for run, _, transition in pairs(kind, at):
        given = [item for item in transition.commands if isinstance(item, ExecuteStep)]
        assert len(given) <= 1
        if given:
            assert transition.run.command == given[0].id
            assert transition.run.step is given[0].step
            assert transition.run.attempt == given[0].attempt
            assert given[0].id != run.command
        elif transition.run.live:
            assert transition.run.command == run.command
        else:
            assert transition.run.command is None


@pytest.mark.parametrize("kind,at", PLACES)
def test_every_live_state_but_pending_ends_by_its_deadline(kind: RunKind, at: Position) -> None:
    """There is always a deadline, and it ends the run whatever else is marked.

    While a freeze has the run wait it stands still; then it ends the run all the same.
    """
    for _, event, transition in pairs(kind, at):
        after = transition.run
        if after.phase is not Phase.RUNNING:
            continue
        assert after.step_deadline is not None
        if after.clock_stopped_at is not None:
            assert decide(after, DeadlineReached(after.step_deadline)).ignored
            after = decide(after, ClockStarted(event.at + timedelta(hours=1))).run
        assert after.step_deadline is not None
        assert decide(after, DeadlineReached(after.step_deadline)).run.phase.terminal


@pytest.mark.parametrize("kind,at", PLACES)
def test_only_a_failed_rollout_quarantines(kind: RunKind, at: Position) -> None:
    """And every Rollout that ends Failed does, once."""
    for run, _, transition in pairs(kind, at):
        count = sum(isinstance(item, StoreQuarantine) for item in transition.commands)
        failed = transition.run.phase is Phase.FAILED and run.kind is RunKind.ROLLOUT
        assert count == (1 if failed else 0)


@pytest.mark.parametrize("kind,at", PLACES)
def test_a_rollback_follows_only_a_write_and_never_brings_the_failed_bytes(
    kind: RunKind, at: Position
) -> None:
    """A Rollback starts none but its own next attempt, or the one it was redirected to."""
    for run, event, transition in pairs(kind, at):
        started = [item for item in transition.commands if isinstance(item, StartRollback)]
        assert len(started) <= 1
        redirected = run.redirect is not None or isinstance(event, RollbackRequested)
        for command in started:
            if kind is RunKind.ROLLBACK:
                errored = transition.run.phase is Phase.ERRORED and command.target == TARGET
                assert redirected or (command.again and errored)
                continue
            assert run.mutated
            assert command.target.rendered != run.rendered
            wanted = redirected or run.aborting_restore
            asked = transition.run.phase is Phase.ABORTED and wanted
            verdict = transition.run.phase is Phase.FAILED and kind is RunKind.ROLLOUT
            assert asked or verdict


@pytest.mark.parametrize("kind,at", PLACES)
def test_nothing_is_verified_but_by_success(kind: RunKind, at: Position) -> None:
    """Certify's success, or a plan that changes nothing of what is verified, and no Sync."""
    for run, _, transition in pairs(kind, at):
        recorded = any(isinstance(item, RecordVerified) for item in transition.commands)
        succeeded = transition.run.phase is Phase.SUCCEEDED and kind is not RunKind.SYNC
        assert recorded is succeeded
        assert not recorded or run.step in (Step.CERTIFY, Step.DIFF)


@pytest.mark.parametrize("kind,at", PLACES)
def test_a_run_has_written_exactly_from_prepare_or_apply_on(kind: RunKind, at: Position) -> None:
    """A crash hides whether a command was carried out, so commanding it counts.

    But for one that ends in Prepare because of what was found there before anything was written.
    """
    for run, event, transition in pairs(kind, at):
        after = transition.run
        in_front = after.step in STEPS[RunKind.ROLLBACK]
        unwritten = isinstance(event, StepFailed) and event.unwritten and run.step is Step.PREPARE
        none = unwritten and after.phase is Phase.FAILED and not transition.ignored
        assert after.mutated is (in_front and not none)


@pytest.mark.parametrize("kind,at", PLACES)
def test_trouble_of_the_infrastructure_is_never_a_verdict(kind: RunKind, at: Position) -> None:
    """However often nothing can be found out, the run does not end Failed."""
    for run in variants(kind, at):
        for trouble in ("errored", "locked out", "waits locked out"):
            blind = decide(run, EVENTS[trouble]).run
            if blind.phase is not Phase.RUNNING or blind.step_deadline is None:
                continue
            assert decide(blind, DeadlineReached(blind.step_deadline)).run.phase is not Phase.FAILED
        assert decide(run, EVENTS["errored for good"]).run.phase is not Phase.FAILED
