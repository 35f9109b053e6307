"""What a run looks like in lists and beside its stage."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.gates import Closed
from gitopsd.domain.releases import Line
from gitopsd.domain.runs import Run, RunKind, Step
from gitopsd.engine.queries import load_gates
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text
from gitopsd.store_ports import Transaction


class RunView(Model):
    """One attempt to bring one release to one stage."""

    id: str
    application: str
    stage: str
    release: str
    alias: str = Field(description="The release in two words people can say.")
    commit: str = Field(description="Its Git commit; empty when it is not stored any more.")
    offer: str = Field(
        description="How the release was offered when the run was made: Advanced, Rewound or "
        "Requested; empty when it was not, or was offered again since."
    )
    kind: str = Field(description="Rollout, Rollback or Sync.")
    phase: str = Field(description="Pending, Running, Succeeded, Failed, Errored or Aborted.")
    step: str | None = Field(description="The step it is in, or ended in.")
    attempt: int = Field(description="Attempt of the step, from 1.")
    created_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    reason: str = Field(description="Why it did not succeed, in one word; empty otherwise.")
    message: str = Field(description="The same in one sentence.")
    waiting_for: str = Field(description="What its step or its gates wait for; empty when over.")
    plan: str | None = Field(description="Plan that approvals are bound to.")
    requested_by: str = Field(description="Who asked for it; empty when gitopsd decided.")
    superseded_by: str | None


class RunList(Model):
    """Runs, newest first."""

    items: list[RunView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


def view_run(tx: Transaction, run: Run) -> RunView:
    """Describe a run."""
    failure = run.failure
    release = tx.releases.get(run.release)
    return RunView(
        id=run.id,
        application=run.stage.application,
        stage=run.stage.stage,
        release=run.release,
        alias=release.alias if release is not None else "",
        commit=release.commit.sha if release is not None else "",
        offer=_offer_of(tx, run),
        kind=run.kind.value,
        phase=run.phase.value,
        step=run.step.value if run.step is not None else None,
        attempt=run.attempt,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        reason=failure.reason if failure is not None else "",
        message=redact_text(failure.message) if failure is not None else "",
        waiting_for=redact_text(_waiting_for(tx, run)),
        plan=run.plan,
        requested_by=run.requested_by,
        superseded_by=run.superseded_by,
    )


def _offer_of(tx: Transaction, run: Run) -> str:
    spec = tx.specs.get(run.stage.application, run.spec)
    stage = spec.stage(run.stage.stage) if spec is not None else None
    if run.kind is not RunKind.ROLLOUT or spec is None or stage is None or run.created_at is None:
        return ""
    offer = tx.releases.last_offer(Line(spec.name, spec.ref_of(stage)), run.release)
    return offer.kind.value if offer is not None and offer.at <= run.created_at else ""


def _waiting_for(tx: Transaction, run: Run) -> str:
    """Say what a run waits for; one that has ended waits for nothing."""
    held = run.step is Step.GATE or run.clock_stopped_at is not None
    if not run.live or not held:
        return run.waiting_for if run.live else ""
    closed = [gate for gate in load_gates(tx, run) if isinstance(gate.answer, Closed)]
    return "; ".join(f"{gate.name}: {gate.answer.reason}" for gate in closed)
