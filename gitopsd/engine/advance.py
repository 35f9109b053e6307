"""Moves a run on by one event, inside one transaction.

The only caller of the machine. Stores the new state, appends the event to the run's log, does the
commands that belong into the transaction, and puts those that leave it into the outbox.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from enum import Enum

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Json
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.work import RunEvent, WorkItem, WorkKind
from gitopsd.engine.effects import apply_effects
from gitopsd.engine.ignoring import keep_ignored
from gitopsd.engine.showing import refresh_reports
from gitopsd.engine.slots import update_slots
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.commands import ExecuteStep
from gitopsd.pipeline.events import Event
from gitopsd.pipeline.machine import Transition, decide
from gitopsd.store_ports import Transaction


@dataclass(frozen=True, slots=True)
class Advanced:
    """What one event did.

    Attributes:
        run: The run after it.
        ignored: Why nothing changed; empty when something did.
        reconsider: Stages whose selection must run again now.
        started: Runs that were created by it and wait for admission.
    """

    run: Run
    ignored: str = ""
    reconsider: tuple[StageKey, ...] = ()
    started: tuple[RunId, ...] = ()


def advance(tx: Transaction, run_id: RunId, event: Event, config: Configuration) -> Advanced:
    """Apply one event to one run and store everything that follows from it.

    Safe to repeat: an event that names a command which is not outstanding changes nothing.

    Raises:
        ConflictError: Another transaction changed the run or its stage; try again.
        KeyError: There is no such run.
    """
    run = tx.runs.get(run_id)
    if run is None:
        raise KeyError(run_id)
    transition = decide(run, event)
    if transition.ignored:
        keep_ignored(tx, run, event, transition.ignored)
        return Advanced(run, ignored=transition.ignored)
    _store(tx, run, transition, event)
    after = transition.run
    pulled = update_slots(tx, run, after)
    done = apply_effects(tx, after, transition.commands, config)
    refresh_reports(tx, after, config)
    return Advanced(
        after,
        reconsider=tuple(dict.fromkeys((*pulled, *done.reconsider))),
        started=done.started,
    )


def _store(tx: Transaction, before: Run, transition: Transition, event: Event) -> None:
    after = transition.run
    tx.runs.save(after, expected_version=before.version)
    tx.runs.append_event(
        RunEvent(
            run=after.id,
            sequence=0,
            at=event.at,
            name=type(event).__name__,
            step=before.step,
            phase=after.phase.value,
            message=_sentence(before, after, event),
            details=_details(event),
        )
    )
    if before.command is not None and before.command != after.command:
        tx.work.remove(before.command)
    ends_soon = after.aborting or after.redirect is not None or after.superseded_by is not None
    if after.live and after.command is not None and ends_soon and after.command == before.command:
        tx.work.hasten(after.command, tx.now)
    for command in transition.commands:
        if isinstance(command, ExecuteStep):
            tx.work.add(
                WorkItem(
                    key=command.id,
                    kind=WorkKind.EXECUTE_STEP,
                    subject=command.run,
                    payload={"step": command.step.value, "attempt": command.attempt},
                    due_at=tx.now + command.delay,
                )
            )


def _sentence(before: Run, after: Run, event: Event) -> str:
    if after.failure is not None and after.failure != before.failure:
        return redact_text(after.failure.message)
    message = getattr(event, "message", "")
    return redact_text(str(message)) if message else ""


def _details(event: Event) -> dict[str, Json]:
    return {
        item.name: _plain(getattr(event, item.name))
        for item in fields(event)
        if item.name not in ("at", "timeouts", "cursor", "message")
    }


def _plain(value: object) -> Json:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return value.isoformat()
    return redact_text(str(value))
