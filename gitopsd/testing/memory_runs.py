"""In-memory runs with what is kept of them, and the outbox."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.releases import ApplicationName, Release, ReleaseId, StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.work import Evidence, HookRun, LiveState, Page, RunEvent, WorkItem, WorkKind
from gitopsd.errors import ConflictError
from gitopsd.testing.memory_tables import Counter, Journal, Table, page_of


class MemoryRuns:
    """Runs and what is kept with them.

    Args:
        journal: Learns how to undo.
        release_of: Finds a release by its id.
    """

    def __init__(self, journal: Journal, release_of: Callable[[ReleaseId], Release | None]) -> None:
        self._rows: Table[RunId, Run] = Table(journal)
        self._live: Table[RunId, None] = Table(journal)
        self._events: Table[RunId, tuple[RunEvent, ...]] = Table(journal)
        self._evidence: Table[tuple[object, ...], Evidence] = Table(journal)
        self._number = Counter(journal)
        self._hooks: Table[tuple[RunId, str], HookRun] = Table(journal)
        self._states: Table[RunId, LiveState] = Table(journal)
        self._observations: Table[tuple[RunId, str], GateObservation] = Table(journal)
        self._release_of = release_of

    def add(self, run: Run) -> None:
        """Store a new run at version 0.

        Raises:
            ConflictError: It is there already.
        """
        self._rows.insert(run.id, replace(run, version=0))
        self._mark(run)

    def get(self, run: RunId) -> Run | None:
        """Read one."""
        return self._rows.get(run)

    def save(self, run: Run, *, expected_version: int) -> None:
        """Store ``run`` if the stored one is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """
        old = self._rows.get(run.id)
        if old is None or old.version != expected_version:
            raise ConflictError(
                f"Run {run.id} is no longer at version {expected_version}; read it again."
            )
        self._rows.put(run.id, run)
        self._mark(run)

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete runs with all that is kept with them."""
        for run in runs:
            self._rows.remove(run)
            self._live.remove(run)
            self._events.remove(run)
            self._states.remove(run)
            self.forget_observations(run)
        for key, evidence in self._evidence.items():
            if evidence.run in runs:
                self._evidence.remove(key)
        for name, hook in self._hooks.items():
            if hook.run in runs:
                self._hooks.remove(name)

    def live(self) -> Sequence[Run]:
        """Read all runs that are Pending or Running, oldest first."""
        ids = {run for run, _ in self._live.items()}
        return [row for row in self._rows if row.id in ids] if ids else []

    def page(
        self,
        page: Page,
        *,
        application: ApplicationName | None = None,
        stage: StageKey | None = None,
        release: ReleaseId | None = None,
    ) -> Sequence[Run]:
        """List, newest first."""
        rows = (
            row
            for row in reversed(self._rows)
            if application in (None, row.stage.application)
            and stage in (None, row.stage)
            and release in (None, row.release)
        )
        return page_of(rows, page, lambda row: row.id)

    def last_rollouts(self, stage: StageKey) -> Mapping[ReleaseId, Run]:
        """Read each release's last Rollout in a stage."""
        rows = (row for row in self._rows if row.stage == stage and row.kind is RunKind.ROLLOUT)
        return {row.release: row for row in rows}

    def rollbacks_since(self, stage: StageKey, since: datetime) -> int:
        """Count automatic Rollbacks of a stage created since then."""
        return sum(
            row.stage == stage
            and row.kind is RunKind.ROLLBACK
            and not row.requested_by
            and row.created_at is not None
            and row.created_at >= since
            for row in self._rows
        )

    def failed_with_commit(self, commit: CommitSha, stage_name: str) -> int:
        """Count Rollouts of a commit that ended Failed in stages of this name."""
        failed = (
            row
            for row in self._rows
            if row.phase is Phase.FAILED
            and row.kind is RunKind.ROLLOUT
            and row.stage.stage == stage_name
        )
        releases = (self._release_of(row.release) for row in failed)
        return sum(release is not None and release.commit.sha == commit for release in releases)

    def append_event(self, event: RunEvent) -> RunEvent:
        """Append to a run's log; the sequence number is given here."""
        log = self._events.get(event.run) or ()
        stored = replace(event, sequence=len(log) + 1)
        self._events.put(event.run, (*log, stored))
        return stored

    def events(self, run: RunId) -> Sequence[RunEvent]:
        """Read a run's log, oldest first."""
        return list(self._events.get(run) or ())

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep evidence; replaces the same run, step, kind and non-empty key."""
        last = evidence.key or self._number.next()
        self._evidence.put((evidence.run, evidence.step, evidence.kind, last), evidence)

    def evidence(self, run: RunId) -> Sequence[Evidence]:
        """Read a run's evidence, oldest first."""
        return sorted((row for row in self._evidence if row.run == run), key=lambda row: row.at)

    def hook(self, run: RunId, name: str) -> HookRun | None:
        """Read what is known of a hook of a run."""
        return self._hooks.get((run, name))

    def save_hook(self, hook: HookRun) -> None:
        """Insert or replace it."""
        self._hooks.put((hook.run, hook.name), hook)

    def live_state(self, run: RunId) -> LiveState | None:
        """Read what a Rollback found in the cluster; None when that was not kept."""
        return self._states.get(run)

    def put_live_state(self, state: LiveState) -> None:
        """Keep what a Rollback found in the cluster; what is kept already stays."""
        if self._states.get(state.run) is None:
            self._states.put(state.run, state)

    def put_observation(self, observation: GateObservation) -> None:
        """Keep the newest answer to a gate's question; replaces the one before."""
        self._observations.put((observation.run, observation.question), observation)

    def observations(self, run: RunId) -> Sequence[GateObservation]:
        """Read the newest answers to the questions of a run's gates, by question."""
        found = (row for row in self._observations if row.run == run)
        return sorted(found, key=lambda row: row.question)

    def forget_observations(self, run: RunId) -> None:
        """Drop the answers to the questions of a run's gates."""
        for key, row in self._observations.items():
            if row.run == run:
                self._observations.remove(key)

    def _mark(self, run: Run) -> None:
        if run.live:
            self._live.put(run.id, None)
        else:
            self._live.remove(run.id)


class MemoryWork:
    """The outbox.

    Args:
        journal: Learns how to undo.
        now: Tells the time of the transaction.
    """

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self._rows: Table[str, WorkItem] = Table(journal)
        self._now = now

    def add(self, item: WorkItem) -> None:
        """Insert; an existing key keeps its row, with the earlier due time and generation + 1."""
        old = self._rows.get(item.key)
        if old is not None:
            due_at = min(old.due_at, item.due_at)
            item = replace(old, due_at=due_at, generation=old.generation + 1)
        self._rows.put(item.key, item)

    def add_all(self, items: Sequence[WorkItem]) -> None:
        """Insert many at once, each as `add` does."""
        for item in items:
            self.add(item)

    def claim(self, owner: str, limit: int, duration: timedelta) -> Sequence[WorkItem]:
        """Claim due items nobody works on (attempts + 1), oldest due time first."""
        now = self._now()
        due = sorted(
            (row for row in self._rows if row.due_at <= now and self._free(row)),
            key=lambda row: row.due_at,
        )
        return [self._take(row, owner, duration) for row in due[:limit]]

    def claim_one(self, key: str, owner: str, duration: timedelta) -> WorkItem | None:
        """Claim one item by its key; None when it is not due, or somebody works on it."""
        row = self._rows.get(key)
        if row is None or row.due_at > self._now() or not self._free(row):
            return None
        return self._take(row, owner, duration)

    def _take(self, row: WorkItem, owner: str, duration: timedelta) -> WorkItem:
        until = self._now() + duration
        taken = replace(row, owner=owner, claimed_until=until, attempts=row.attempts + 1)
        self._rows.put(row.key, taken)
        return taken

    def finish(self, item: WorkItem) -> None:
        """Remove a claimed item; if its generation grew since, make it due now, as new."""
        row = self._claimed(item)
        if row is None:
            return
        if row.generation == item.generation:
            self._rows.remove(item.key)
        else:
            self._give_back(replace(row, attempts=0), self._now())

    def finish_all(self, items: Sequence[WorkItem]) -> None:
        """Finish many at once, each as `finish` does."""
        for item in items:
            self.finish(item)

    def postpone(self, item: WorkItem, due_at: datetime) -> None:
        """Give a claimed item back, due later; if its generation grew since, due now."""
        row = self._claimed(item)
        if row is not None:
            self._give_back(row, due_at if row.generation == item.generation else self._now())

    def hasten(self, key: str, at: datetime) -> None:
        """Make an unclaimed item due at ``at`` if that is earlier."""
        row = self._rows.get(key)
        if row is not None and self._free(row) and at < row.due_at:
            self._rows.put(key, replace(row, due_at=at))

    def get(self, key: str) -> WorkItem | None:
        """Read one."""
        return self._rows.get(key)

    def remove(self, key: str) -> None:
        """Drop an item."""
        self._rows.remove(key)

    def next_due(self) -> datetime | None:
        """Tell when the next unclaimed item is due."""
        return min((row.due_at for row in self._rows if self._free(row)), default=None)

    def release_claims(self, owner: str | None = None) -> int:
        """Give back the claims of one owner, or of all."""
        rows = [row for row in self._rows if row.owner and owner in (None, row.owner)]
        for row in rows:
            self._give_back(row, row.due_at)
        return len(rows)

    def backlog(self) -> Mapping[WorkKind, int]:
        """Count items by kind."""
        return dict(Tally(row.kind for row in self._rows))

    def _free(self, row: WorkItem) -> bool:
        return row.claimed_until is None or row.claimed_until <= self._now()

    def _claimed(self, item: WorkItem) -> WorkItem | None:
        """Find the row if it is still under the claim that ``item`` came with."""
        row = self._rows.get(item.key)
        if row is None or (row.owner, row.attempts) != (item.owner, item.attempts):
            return None
        return row

    def _give_back(self, row: WorkItem, due_at: datetime) -> None:
        self._rows.put(row.key, replace(row, owner="", claimed_until=None, due_at=due_at))
