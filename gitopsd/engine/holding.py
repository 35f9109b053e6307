"""Keeps a run that was let in from beginning to apply, while a freeze or a window has it wait."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.domain.config import Configuration
from gitopsd.domain.gates import Closed, GateState
from gitopsd.domain.runs import Run, RunKind, Step
from gitopsd.engine.facts import load_gate_facts
from gitopsd.engine.gate_evidence import put_gates
from gitopsd.engine.showing import refresh_reports
from gitopsd.pipeline.apply_hold import PREPARED, evaluate_before_apply
from gitopsd.pipeline.events import Event, StepPending, StepSucceeded
from gitopsd.pipeline.gates import all_open
from gitopsd.store_ports import Transaction

AGAIN = timedelta(seconds=60)
"""What holds a run is read again after this long; a thaw comes earlier."""


def hold_before_apply(tx: Transaction, run: Run, event: Event, config: Configuration) -> Event:
    """Let a Rollout wait whose Prepare is done, when it may not begin to apply.

    Called in the transaction that would command Apply. Safe to repeat: it is asked anew each time.

    Returns:
        The event itself, or that the step is not over.
    """
    if run.kind is not RunKind.ROLLOUT or run.step is not Step.PREPARE:
        return event
    if not isinstance(event, StepSucceeded):
        return event
    states = find_hold(tx, run, config)
    if not states:
        return event
    if put_gates(tx, run, states):
        refresh_reports(tx, run, config)
    closed = [(state.name, state.answer) for state in states if isinstance(state.answer, Closed)]
    said = "; ".join(f"{name}: {answer.reason} ({answer.opener})" for name, answer in closed)
    return StepPending(
        event.at, event.command, compute_wait(tx, states), cursor=PREPARED, message=said
    )


def find_hold(tx: Transaction, run: Run, config: Configuration) -> tuple[GateState, ...]:
    """Read what keeps a run from beginning to apply; empty when nothing does.

    A stage that left the configuration holds nothing: its front run finishes.
    """
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return ()
    facts = load_gate_facts(tx, run, application, spec, config)
    states = evaluate_before_apply(facts) if facts is not None else ()
    return () if all_open(states) else states


def compute_wait(tx: Transaction, states: tuple[GateState, ...]) -> timedelta:
    """Compute when to ask again: at the moment that is named, or soon."""
    times = [
        state.answer.until - tx.now
        for state in states
        if isinstance(state.answer, Closed) and state.answer.until is not None
    ]
    return min((*(time for time in times if time > timedelta(0)), AGAIN))
