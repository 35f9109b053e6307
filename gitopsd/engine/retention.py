"""Deletes what is old and nothing needs, rarely and in small transactions.

What is to go is worked out on a snapshot and checked again where it is deleted, so that nobody who
writes waits for more than one small batch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial

from gitopsd.domain.releases import Line, ReleaseId, StageKey
from gitopsd.domain.runs import Run
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Page
from gitopsd.engine.facts import OFFERS_CONSIDERED
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.pipeline.retention import (
    KEPT_VERIFIED,
    Expired,
    RetentionFacts,
    StageNeeds,
    compute_expired,
    may_drop_sets,
    needed_runs,
    needed_sets,
)
from gitopsd.store_ports import Transaction

ROWS = 200
"""Rows of the plain records that one transaction deletes at most."""

PAUSE = timedelta(milliseconds=50)
"""Rest between two transactions: the others' turn."""


async def run_retention(services: Services) -> int:
    """Delete what ended longer ago than `Pace.retention` and nothing needs; returns how many rows.

    Safe to repeat: what is gone is not found again. Any number of replicas may do it at once.
    """
    now = await services.store.read(lambda tx: tx.now)
    before = now - services.pace.retention
    gone = await _drop_all(services, lambda tx: tx.deliveries.drop(before, ROWS))
    gone += await _drop_all(services, lambda tx: tx.records.drop(before, ROWS))
    gone += await _drop_all(services, lambda tx: tx.handles.drop(before, ROWS))
    gone += await _drop_all(services, lambda tx: tx.pushes.drop(before, ROWS))
    for stage in await services.store.read(lambda tx: tuple(tx.stages.page())):
        gone += await _drop_runs(services, stage.key, before)
    return gone


async def _drop_all(services: Services, drop: Callable[[Transaction], int]) -> int:
    total = 0
    while gone := await services.store.transact(drop):
        total += gone
        await services.clock.sleep(PAUSE)
    return total


async def _drop_runs(services: Services, key: StageKey, before: datetime) -> int:
    batches = await services.store.read(lambda tx: _find_expired(tx, key, before))
    total = 0
    for batch in batches:
        total += await retry_conflicts(services.store, partial(_drop, key=key, batch=batch))
        await services.clock.sleep(PAUSE)
    return total


def _find_expired(tx: Transaction, key: StageKey, before: datetime) -> tuple[Expired, ...]:
    stage = tx.stages.get(key)
    if stage is None:
        return ()
    return compute_expired(
        RetentionFacts(
            before=before,
            needs=_load_needs(tx, stage),
            runs=_all_runs(tx, key),
            last_rollouts={name: run.id for name, run in tx.runs.last_rollouts(key).items()},
            offered=_offered(tx, key),
        )
    )


def _load_needs(tx: Transaction, stage: Stage) -> StageNeeds:
    return StageNeeds(
        stage=stage,
        live=tuple(run for run in tx.runs.live() if run.stage == stage.key),
        verifications=tuple(tx.verifications.page(stage.key, KEPT_VERIFIED)),
        quarantines=tuple(tx.quarantines.in_force(stage.key)),
    )


def _all_runs(tx: Transaction, key: StageKey) -> tuple[Run, ...]:
    """Read every run of a stage, oldest first."""
    found: list[Run] = []
    page = Page(ROWS)
    while rows := tx.runs.page(page, stage=key):
        found += rows
        page = replace(page, before=rows[-1].id)
    return tuple(reversed(found))


def _offered(tx: Transaction, key: StageKey) -> frozenset[ReleaseId]:
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    if application is None or spec is None:
        return frozenset()
    line = Line(key.application, application.ref_of(spec))
    return frozenset(offer.release for offer in tx.releases.offers(line, OFFERS_CONSIDERED))


def _drop(tx: Transaction, key: StageKey, batch: Expired) -> int:
    """Delete one batch, but for what became needed since it was worked out."""
    stage = tx.stages.get(key)
    if stage is None:
        return 0
    needs = _load_needs(tx, stage)
    if not may_drop_sets(needs):
        return 0  # a set may be rendered anew at this moment; there is another sweep
    named = needed_runs(needs)
    runs = tuple(run for run in batch.runs if run not in named)
    needed = needed_sets(needs)
    tx.rendered.drop(tuple(one for one in batch.rendered if one not in needed))
    tx.votes.drop(runs)
    tx.skips.drop(runs)
    tx.agreements.drop(runs)
    tx.runs.drop(runs)
    return len(runs)
