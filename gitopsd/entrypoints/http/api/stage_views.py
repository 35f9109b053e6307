"""What a stage looks like."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.config import ApplicationSpec, Configuration, Promotion, StageSpec
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import ReleaseId, StageName
from gitopsd.domain.runs import RunId
from gitopsd.domain.stages import Condition, Stage
from gitopsd.engine.facts import freezes_of
from gitopsd.engine.queueing import load_queue
from gitopsd.engine.standing import SYNC
from gitopsd.entrypoints.http.api.release_views import ReleaseView, view_release
from gitopsd.entrypoints.http.api.run_views import RunView, view_run
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text
from gitopsd.store_ports import Transaction


class ConditionView(Model):
    """A suspension or a hold."""

    by: str
    reason: str
    at: datetime


class StallView(Model):
    """A person is called."""

    reason: str
    message: str
    at: datetime
    run: str | None


class FrozenView(Model):
    """A freeze in force."""

    id: str
    scope: str
    by: str
    reason: str
    at: datetime
    until: datetime | None = Field(description="When it ends by itself.")


class AppliedView(Model):
    """What the stage's last Apply commanded."""

    release: ReleaseView | None
    rendered: str
    run: str
    at: datetime


class VerifiedView(Model):
    """What the stage runs verified."""

    release: str
    rendered: str
    at: datetime


class StageView(Model):
    """One stage of one application."""

    application: str
    name: str
    cluster: str
    namespace: str
    path: str
    after: list[str]
    after_any: bool = Field(description="Whether the verification of one of them is enough.")
    promotion: str = Field(description="What it takes by itself: newest, upstream or manual.")
    group: str = Field(description="Group of stages that it belongs to; empty for none.")
    mode: str = Field(description="apply or observe.")
    gates: list[str] = Field(description="Configured gates, in file order.")
    health: str = Field(description="Worst health at the last look.")
    sync: str = Field(description="Synced, OutOfSync or Unknown.")
    message: str = Field(description="What disagreed or failed at the last look.")
    observed_at: datetime | None
    applied: AppliedView | None
    verified: VerifiedView | None
    front: RunView | None = Field(description="The one run that may write to the cluster.")
    next: RunView | None = Field(description="The one rollout between Pending and Gate.")
    requested: str | None = Field(description="Release that a person asked for here.")
    frozen: list[FrozenView] = Field(description="Freezes in force whose scope covers it.")
    suspended: ConditionView | None
    hold: ConditionView | None
    stalled: StallView | None
    retired_at: datetime | None = Field(description="When it left the configuration.")


class QueueView(Model):
    """One entry of a stage's queue."""

    position: int | None = Field(description="From 1; null for what is not taken as things are.")
    place: str = Field(description="Front, Next, Waiting or KeptOut.")
    release: str
    alias: str
    run: str | None = Field(description="Its run; null while it has none.")
    reason: str = Field(description="What it does, or what it waits for.")


class QueuedStageView(StageView):
    """One stage of one application, and what stands in line for it."""

    queue: list[QueueView] = Field(description="In the order in which releases would be taken.")


def view_queued(
    tx: Transaction, stage: Stage, application: ApplicationSpec | None, config: Configuration
) -> QueuedStageView:
    """Describe a stage, and what stands in line for it."""
    view = view_stage(tx, stage, application, config)
    entries = load_queue(tx, stage, application) if application is not None else ()
    found = tx.releases.get_many(entry.release for entry in entries)
    queue = [
        QueueView(
            position=entry.position,
            place=entry.place.value,
            release=entry.release,
            alias=found[entry.release].alias if entry.release in found else "",
            run=entry.run,
            reason=redact_text(entry.reason),
        )
        for entry in entries
    ]
    return QueuedStageView(**dict(view), queue=queue)


def view_stage(
    tx: Transaction, stage: Stage, application: ApplicationSpec | None, config: Configuration
) -> StageView:
    """Describe a stage as it is stored and was last seen."""
    spec = application.stage(stage.key.stage) if application is not None else None
    seen = stage.observation
    target = stage.destination
    return StageView(
        application=stage.key.application,
        name=stage.key.stage,
        cluster=target.cluster if target is not None else "",
        namespace=target.namespace if target is not None else "",
        path=spec.path if spec is not None else "",
        after=[str(name) for name in spec.after] if spec is not None else [],
        after_any=spec is not None and spec.after_any,
        promotion=(spec.promotion if spec is not None else Promotion.NEWEST).value,
        group=spec.group if spec is not None else "",
        mode=spec.mode.value if spec is not None else "apply",
        gates=_gate_names(spec),
        health=(seen.health if seen is not None else Health.UNKNOWN).value,
        sync=SYNC[seen.synced if seen is not None else None],
        message=redact_text(seen.message) if seen is not None else "",
        observed_at=seen.at if seen is not None else None,
        applied=_applied(tx, stage),
        verified=_verified(tx, stage),
        front=_run(tx, stage.front),
        next=_run(tx, stage.next),
        requested=stage.requested,
        frozen=_freezes(tx, application, spec, config),
        suspended=_condition(stage.suspended),
        hold=_condition(stage.hold),
        stalled=_stall(stage),
        retired_at=stage.retired_at,
    )


def order_stages(stages: list[StageView], application: ApplicationSpec | None) -> list[StageView]:
    """Put stages into file order, retired ones last."""
    if application is None:
        return stages
    order = {spec.name: number for number, spec in enumerate(application.stages)}
    return sorted(stages, key=lambda one: order.get(StageName(one.name), len(order)))


def _gate_names(spec: StageSpec | None) -> list[str]:
    if spec is None:
        return []
    return [type(gate).__name__.removesuffix("Gate").lower() for gate in spec.gates]


def _freezes(
    tx: Transaction,
    application: ApplicationSpec | None,
    spec: StageSpec | None,
    config: Configuration,
) -> list[FrozenView]:
    if application is None or spec is None:
        return []
    return [
        FrozenView(
            id=one.id,
            scope=one.scope,
            by=one.by,
            reason=redact_text(one.reason),
            at=one.at,
            until=one.until,
        )
        for one in freezes_of(tx, application, spec, config)
    ]


def _applied(tx: Transaction, stage: Stage) -> AppliedView | None:
    applied = stage.applied
    if applied is None:
        return None
    release = tx.releases.get(ReleaseId(applied.release))
    return AppliedView(
        release=view_release(release) if release is not None else None,
        rendered=applied.rendered,
        run=applied.run,
        at=applied.at,
    )


def _verified(tx: Transaction, stage: Stage) -> VerifiedView | None:
    found = tx.verifications.get(stage.verified) if stage.verified is not None else None
    if found is None:
        return None
    return VerifiedView(release=found.release, rendered=found.rendered, at=found.recorded_at)


def _run(tx: Transaction, run: RunId | None) -> RunView | None:
    found = tx.runs.get(run) if run is not None else None
    return view_run(tx, found) if found is not None else None


def _condition(condition: Condition | None) -> ConditionView | None:
    if condition is None:
        return None
    return ConditionView(by=condition.by, reason=redact_text(condition.reason), at=condition.at)


def _stall(stage: Stage) -> StallView | None:
    stall = stage.stall
    if stall is None:
        return None
    return StallView(
        reason=stall.reason.value,
        message=redact_text(stall.message),
        at=stall.at,
        run=stall.run,
    )
