"""Counts what runs come to, after the transaction that made it so was committed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.ports import Telemetry
from gitopsd.store_ports import Runs, Store, Transaction

T = TypeVar("T")


class MeasuringStore:
    """A store that counts the runs which a committed transaction ended.

    Args:
        store: The real one.
        telemetry: Where it is counted.
    """

    def __init__(self, store: Store, telemetry: Telemetry) -> None:
        self._store = store
        self._telemetry = telemetry

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.transact`. Counting is safe to lose, never repeated."""
        ended: list[tuple[Run, Release | None]] = []

        def noting(tx: Transaction) -> T:
            ended.clear()
            return work(cast("Transaction", _NotingTransaction(tx, ended)))

        answer = await self._store.transact(noting)
        for run, release in ended:
            self._count(run, release)
        return answer

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """See `gitopsd.store_ports.Store.read`."""
        return await self._store.read(work)

    async def close(self) -> None:
        """Close the real one."""
        await self._store.close()

    def _count(self, run: Run, release: Release | None) -> None:
        place = {"application": str(run.stage.application), "stage": str(run.stage.stage)}
        self._telemetry.count(
            "gitopsd_run_total", kind=run.kind.value, phase=run.phase.value, **place
        )
        restores = run.phase is Phase.FAILED and run.mutated and run.restore_target is not None
        if run.kind is RunKind.ROLLOUT and restores and run.failure is not None:
            self._telemetry.count("gitopsd_rollbacks_total", reason=run.failure.reason, **place)
        if run.kind is not RunKind.ROLLOUT or run.phase is not Phase.SUCCEEDED:
            return
        if release is not None and release.created_at is not None and run.ended_at is not None:
            seconds = (run.ended_at - release.created_at).total_seconds()
            self._telemetry.observe("gitopsd_push_to_live_seconds", seconds, **place)


class _NotingTransaction:
    """A transaction whose saved runs are noted; everything else is the real one's."""

    def __init__(self, inner: Transaction, ended: list[tuple[Run, Release | None]]) -> None:
        self._inner = inner
        self._runs = _NotingRuns(inner, ended)

    @property
    def runs(self) -> Runs:
        """Runs that note what ends."""
        return cast("Runs", self._runs)

    def __getattr__(self, name: str) -> object:
        return getattr(self._inner, name)


class _NotingRuns:
    def __init__(self, tx: Transaction, ended: list[tuple[Run, Release | None]]) -> None:
        self._tx = tx
        self._ended = ended

    def save(self, run: Run, *, expected_version: int) -> None:
        """Store a run, and note it when it has ended."""
        self._tx.runs.save(run, expected_version=expected_version)
        if run.phase.terminal:
            self._ended.append((run, self._tx.releases.get(run.release)))

    def __getattr__(self, name: str) -> object:
        return getattr(self._tx.runs, name)
