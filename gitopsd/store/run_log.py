"""Events, evidence, hooks and observations of runs in SQL."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Sequence
from dataclasses import replace

import sqlalchemy as sa

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.runs import RunId, Step
from gitopsd.domain.work import Evidence, EvidenceKind, HookRun, HookState, LiveState, RunEvent
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Row, Session, per_dialect, upsert
from gitopsd.store.tables import evidence as evidences
from gitopsd.store.tables import gate_observations as observations
from gitopsd.store.tables import hook_runs as hooks
from gitopsd.store.tables import live_states as states
from gitopsd.store.tables import run_events as events

_NAMES = ("at", "name", "step", "phase", "message", "details")
_APPEND = (
    sa.insert(events)
    .from_select(
        ["run", "sequence", *_NAMES],
        sa.select(
            sa.bindparam("of", type_=events.c.run.type),
            sa.func.coalesce(sa.func.max(events.c.sequence), 0) + 1,
            *(sa.bindparam(f"new_{name}", type_=events.c[name].type) for name in _NAMES),
        ).where(events.c.run == sa.bindparam("of")),
    )
    .returning(events.c.sequence)
)
_EVENTS = sa.select(events).where(events.c.run == sa.bindparam("of")).order_by(events.c.sequence)
_APPEND_EVIDENCE = sa.insert(evidences).inline()
_PUT_EVIDENCE = per_dialect(
    lambda insert: (new := insert(evidences)).on_conflict_do_update(
        index_elements=["run", "step", "kind", "key"],
        index_where=evidences.c.key != sa.literal_column("''"),
        set_={"at": new.excluded.at, "content": new.excluded.content},
    )
)
_EVIDENCE = (
    sa.select(evidences)
    .where(evidences.c.run == sa.bindparam("of"))
    .order_by(evidences.c.at, evidences.c.seq)
)
_THESE: sa.BindParameter[str] = sa.bindparam("these", expanding=True)
_DROP = tuple(
    sa.delete(one).where(one.c.run.in_(_THESE))
    for one in (events, evidences, hooks, states, observations)
)
_FAST = 1
_STATE = sa.select(states).where(states.c.run == sa.bindparam("of"))
_KEEP_STATE = per_dialect(lambda insert: insert(states).on_conflict_do_nothing())
_SAVE_HOOK = upsert(hooks, "run", "name")
_HOOK = sa.select(hooks).where(
    hooks.c.run == sa.bindparam("of"), hooks.c.name == sa.bindparam("of_name")
)

_OBSERVATION = codec_of(GateObservation)
_SAVE_OBSERVATION = upsert(observations, "run", "question")
_OBSERVATIONS = (
    sa.select(observations.c.doc)
    .where(observations.c.run == sa.bindparam("of"))
    .order_by(observations.c.question)
)
_FORGET = sa.delete(observations).where(observations.c.run == sa.bindparam("of"))


class SqlRunLog:
    """What is kept with a run; the part of ``store_ports.Runs`` that is no run itself."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append_event(self, event: RunEvent) -> RunEvent:
        """Append to a run's log; the sequence number is given here.

        Two transactions that append to one run at once take the same number; the second one fails
        on it and is run again by the store.
        """
        rows = self._session.rows(
            _APPEND,
            of=event.run,
            new_at=event.at,
            new_name=event.name,
            new_step=None if event.step is None else event.step.value,
            new_phase=event.phase,
            new_message=event.message,
            new_details=event.details,
        )
        return replace(event, sequence=rows[0].sequence)

    def drop(self, runs: Collection[RunId]) -> None:
        """Delete what is kept with some runs. Safe to repeat."""
        for statement in _DROP:
            self._session.run(statement, these=list(runs))

    def events(self, run: RunId) -> Sequence[RunEvent]:
        """Read a run's log, oldest first."""
        return [_event(row) for row in self._session.rows(_EVENTS, of=run)]

    def put_evidence(self, evidence: Evidence) -> None:
        """Keep evidence; replaces the same run, step, kind and non-empty key."""
        self._session.run(
            _PUT_EVIDENCE if evidence.key else _APPEND_EVIDENCE,
            run=evidence.run,
            step=evidence.step.value,
            kind=evidence.kind.value,
            key=evidence.key,
            at=evidence.at,
            content=evidence.content,
        )

    def evidence(self, run: RunId) -> Sequence[Evidence]:
        """Read a run's evidence, oldest first."""
        return [_evidence(row) for row in self._session.rows(_EVIDENCE, of=run)]

    def hook(self, run: RunId, name: str) -> HookRun | None:
        """Read what is known of a hook of a run."""
        row = self._session.first(_HOOK, of=run, of_name=name)
        if row is None:
            return None
        return HookRun(RunId(row.run), row.name, row.uid, HookState(row.state), row.message)

    def save_hook(self, hook: HookRun) -> None:
        """Insert or replace it."""
        self._session.run(
            _SAVE_HOOK,
            run=hook.run,
            name=hook.name,
            uid=hook.uid,
            state=hook.state.value,
            message=hook.message,
        )

    def live_state(self, run: RunId) -> LiveState | None:
        """Read what a Rollback found in the cluster; None when that was not kept."""
        row = self._session.first(_STATE, of=run)
        if row is None:
            return None
        kept = json.loads(zlib.decompress(row.body))
        return LiveState(run, row.at, tuple(kept["objects"]), tuple(kept["unread"]))

    def put_live_state(self, state: LiveState) -> None:
        """Keep what a Rollback found in the cluster; what is kept already stays."""
        kept = {"objects": state.objects, "unread": state.unread}
        body = zlib.compress(json.dumps(kept, separators=(",", ":")).encode(), _FAST)
        self._session.run(_KEEP_STATE, run=state.run, at=state.at, body=body)

    def put_observation(self, observation: GateObservation) -> None:
        """Keep the newest answer to a gate's question."""
        self._session.run(
            _SAVE_OBSERVATION,
            run=observation.run,
            question=observation.question,
            doc=_OBSERVATION.encode(observation),
        )

    def observations(self, run: RunId) -> Sequence[GateObservation]:
        """Read the newest answers to the questions of a run's gates."""
        return [_OBSERVATION.decode(row.doc) for row in self._session.rows(_OBSERVATIONS, of=run)]

    def forget_observations(self, run: RunId) -> None:
        """Drop the answers to the questions of a run's gates."""
        self._session.run(_FORGET, of=run)


def _event(row: Row) -> RunEvent:
    return RunEvent(
        run=RunId(row.run),
        sequence=row.sequence,
        at=row.at,
        name=row.name,
        step=None if row.step is None else Step(row.step),
        phase=row.phase,
        message=row.message,
        details=row.details,
    )


def _evidence(row: Row) -> Evidence:
    return Evidence(
        run=RunId(row.run),
        step=Step(row.step),
        kind=EvidenceKind(row.kind),
        at=row.at,
        content=row.content,
        key=row.key,
    )
