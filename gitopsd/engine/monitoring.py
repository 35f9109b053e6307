"""Checks what a stage runs verified again and again, for as long as it runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.config import MonitorSpec
from gitopsd.domain.runs import RunId, Step
from gitopsd.domain.work import WorkItem
from gitopsd.engine.attempting import Planned, attempt_checks, keep_monitored
from gitopsd.engine.checking import name_check
from gitopsd.engine.effects import add_monitor
from gitopsd.engine.looking import look_at
from gitopsd.engine.observation import fail_verified, load_applied
from gitopsd.engine.services import Services
from gitopsd.engine.slots import parse_stage_key
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_text
from gitopsd.store_ports import Transaction

TRIES = 3
"""Rounds in a row that have to fail: one that fails alone calls nobody."""

BETWEEN = timedelta(seconds=5)


async def monitor_run(services: Services, item: WorkItem) -> None:
    """Make one round over what a stage runs verified, and ask for the next one.

    A failure is told once, until it is over; within the watch window it restores what was verified
    before. The rounds end when nothing is verified or no monitor is configured any more, and begin
    again with the next success.

    Safe to repeat: checks only read, and the next round is asked for in the transaction that ends
    this one.
    """
    key = parse_stage_key(item.subject)
    context = await services.store.read(lambda tx: load_applied(tx, services, key))
    verified = str(context.stage.verified or "") if context is not None else ""
    monitor = context.spec.monitor if context is not None else None
    if context is None or monitor is None or not verified:
        await services.store.transact(lambda tx: tx.work.finish(item))
        return
    was_told = item.payload.get("told") == verified
    why = None if context.stage.front is not None else await _find_failure(context, monitor)
    fails = was_told if why is None else bool(why)
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        tx.work.finish(item)
        add_monitor(tx, key, monitor.every, verified if fails else "")
        run = tx.runs.get(RunId(verified.removeprefix("v-")))
        if why and not was_told and run is not None:
            fail_verified(tx, run, why, configuration)

    await retry_conflicts(services.store, work)
    if why and not was_told:
        await services.doorbell.ring()


async def _find_failure(context: StepContext, monitor: MonitorSpec) -> str | None:
    """Look and check until one round is good; says what failed, None when nothing could be seen."""
    found: str | None = None
    for number in range(TRIES):
        if number:
            await context.services.clock.sleep(BETWEEN)
        found = await _look_once(context, monitor)
        if not found:
            return found
    return found


async def _look_once(context: StepContext, monitor: MonitorSpec) -> str | None:
    """Say what fails now; empty when nothing does, None when that could not be seen."""
    try:
        sight = await look_at(context)
        attempts = await attempt_checks(
            context, [Planned(check) for check in monitor.verify], keep=False
        )
    except GitopsdError:
        return None
    if sight.failed:
        return sight.message
    for check, attempt in zip(monitor.verify, attempts, strict=True):
        if attempt.passed is False:
            await keep_monitored(replace(context, step=Step.CERTIFY), check, attempt)
            name = name_check(check, context.spec.namespace)
            return redact_text(f"{name} failed: {attempt.message}")
    return None if any(attempt.passed is None for attempt in attempts) else ""
