"""Runs and what is kept with them in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.work import Evidence, HookRun, LiveState, Page, RunEvent
from gitopsd.errors import ConflictError
from gitopsd.store.codec import LazyDocuments, codec_of
from gitopsd.store.paging import page_after
from gitopsd.store.run_log import SqlRunLog
from gitopsd.store.session import Session, insert_new
from gitopsd.store.tables import releases
from gitopsd.store.tables import runs as table

_RUN = codec_of(Run)

_ADD = insert_new(table, "id")
_GET = sa.select(table.c.doc).where(table.c.id == sa.bindparam("of"))
_SAVE = sa.update(table).where(
    table.c.id == sa.bindparam("of"), table.c.version == sa.bindparam("read_version")
)
_DROP = sa.delete(table).where(table.c.id.in_(sa.bindparam("these", expanding=True)))
_LIVE = sa.select(table.c.doc).where(table.c.live.is_(True)).order_by(table.c.seq)
_OF_STAGE = (
    table.c.application == sa.bindparam("of_application"),
    table.c.stage == sa.bindparam("of_stage"),
)
_LAST_OF_EACH = (
    sa.select(sa.func.max(table.c.seq))
    .where(*_OF_STAGE, table.c.kind == RunKind.ROLLOUT.value)
    .group_by(table.c.release)
)
_LAST_ROLLOUTS = (
    sa.select(table.c.release, sa.cast(table.c.doc, sa.Text).label("doc"))
    .where(table.c.seq.in_(_LAST_OF_EACH))
    .order_by(table.c.seq)
)
_ROLLBACKS = (
    sa.select(sa.func.count().label("number"))
    .select_from(table)
    .where(
        *_OF_STAGE,
        table.c.kind == RunKind.ROLLBACK.value,
        table.c.requested_by == sa.literal(""),
        table.c.created_at >= sa.bindparam("since"),
    )
)
_FAILED = (
    sa.select(sa.func.count().label("number"))
    .select_from(table)
    .join(releases, releases.c.id == table.c.release)
    .where(
        releases.c.commit_sha == sa.bindparam("of_commit"),
        table.c.stage == sa.bindparam("of_stage"),
        table.c.kind == RunKind.ROLLOUT.value,
        table.c.phase == Phase.FAILED.value,
    )
)


class SqlRuns:
    """Runs and what is kept with them; implements ``store_ports.Runs``.

    What a transaction has read, or stored, it need not read again: whoever changes it meanwhile
    shows when it is saved.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[RunId, Run] = {}
        self._log = SqlRunLog(session)

    def add(self, run: Run) -> None:
        """Store a new run at version 0.

        Raises:
            ConflictError: It is there already.
        """
        run = replace(run, version=0)
        if not self._session.run(_ADD, id=run.id, **_values(run)):
            raise ConflictError(f"Run {run.id} is there already; read it and decide anew.")
        self._known[run.id] = run

    def get(self, run: RunId) -> Run | None:
        """Read one."""
        if run not in self._known:
            row = self._session.first(_GET, of=run)
            if row is None:
                return None
            self._known[run] = _RUN.decode(row.doc)
        return self._known[run]

    def save(self, run: Run, *, expected_version: int) -> None:
        """Store ``run`` if the stored one is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """
        self._known.pop(run.id, None)
        if not self._session.run(_SAVE, of=run.id, read_version=expected_version, **_values(run)):
            raise ConflictError(
                f"Run {run.id} is no longer at version {expected_version}; read it again."
            )
        self._known[run.id] = run

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete runs with all that is kept with them. Safe to repeat."""
        if runs:
            self._known.clear()
            self._log.drop(runs)
            self._session.run(_DROP, these=list(runs))

    def live(self) -> Sequence[Run]:
        """Read all runs that are Pending or Running, oldest first."""
        return [_RUN.decode(row.doc) for row in self._session.rows(_LIVE)]

    def page(
        self,
        page: Page,
        *,
        application: ApplicationName | None = None,
        stage: StageKey | None = None,
        release: ReleaseId | None = None,
    ) -> Sequence[Run]:
        """List, newest first; the cursor is a run's id."""
        listed = sa.select(table.c.doc)
        if application is not None:
            listed = listed.where(table.c.application == application)
        if stage is not None:
            listed = listed.where(table.c.application == stage.application)
            listed = listed.where(table.c.stage == stage.stage)
        if release is not None:
            listed = listed.where(table.c.release == release)
        rows = self._session.rows(page_after(listed, table, page))
        return [_RUN.decode(row.doc) for row in rows]

    def last_rollouts(self, stage: StageKey) -> Mapping[ReleaseId, Run]:
        """Read each release's last Rollout in a stage."""
        rows = self._session.rows(_LAST_ROLLOUTS, **_names(stage))
        return LazyDocuments(_RUN, {ReleaseId(row.release): row.doc for row in rows})

    def rollbacks_since(self, stage: StageKey, since: datetime) -> int:
        """Count automatic Rollbacks of a stage created since then."""
        return _number(self._session, _ROLLBACKS, **_names(stage), since=since)

    def failed_with_commit(self, commit: CommitSha, stage_name: str) -> int:
        """Count Rollouts of a commit that ended Failed in stages of this name."""
        return _number(self._session, _FAILED, of_commit=commit, of_stage=stage_name)

    def append_event(self, event: RunEvent) -> RunEvent:
        """Append to a run's log; the sequence number is given here."""
        return self._log.append_event(event)

    def events(self, run: RunId) -> Sequence[RunEvent]:
        """Read a run's log, oldest first."""
        return self._log.events(run)

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep evidence; replaces the same run, step, kind and non-empty key."""
        self._log.put_evidence(evidence)

    def evidence(self, run: RunId) -> Sequence[Evidence]:
        """Read a run's evidence, oldest first."""
        return self._log.evidence(run)

    def hook(self, run: RunId, name: str) -> HookRun | None:
        """Read what is known of a hook of a run."""
        return self._log.hook(run, name)

    def save_hook(self, hook: HookRun) -> None:
        """Insert or replace it."""
        self._log.save_hook(hook)

    def live_state(self, run: RunId) -> LiveState | None:
        """Read what a Rollback found in the cluster; None when that was not kept."""
        return self._log.live_state(run)

    def put_live_state(self, state: LiveState) -> None:
        """Keep what a Rollback found in the cluster; what is kept already stays."""
        self._log.put_live_state(state)

    def put_observation(self, observation: GateObservation) -> None:
        """Keep the newest answer to a gate's question; replaces the one before."""
        self._log.put_observation(observation)

    def observations(self, run: RunId) -> Sequence[GateObservation]:
        """Read the newest answers to the questions of a run's gates, by question."""
        return self._log.observations(run)

    def forget_observations(self, run: RunId) -> None:
        """Drop the answers to the questions of a run's gates. Safe to repeat."""
        self._log.forget_observations(run)


def _number(session: Session, statement: sa.Select[int], **values: object) -> int:
    row = session.first(statement, **values)
    return 0 if row is None else int(row.number)


def _names(stage: StageKey) -> dict[str, str]:
    return {"of_application": stage.application, "of_stage": stage.stage}


def _values(run: Run) -> dict[str, object]:
    return {
        "application": run.stage.application,
        "stage": run.stage.stage,
        "release": run.release,
        "kind": run.kind.value,
        "phase": run.phase.value,
        "live": run.live,
        "requested_by": run.requested_by,
        "created_at": run.created_at,
        "version": run.version,
        "doc": _RUN.encode(run),
    }
