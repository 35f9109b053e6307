"""Does the machine's commands that belong into the transaction."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

from gitopsd.domain.config import Configuration, StageSpec
from gitopsd.domain.manifests import Digest, RenderedSet
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Stall
from gitopsd.domain.verifications import (
    Destination,
    Quarantine,
    StallReason,
    Verification,
    VerificationId,
)
from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.engine.agreements import want_agreement
from gitopsd.engine.dependency_facts import find_dependents
from gitopsd.engine.group_facts import list_grouped
from gitopsd.engine.image_hints import want_images_of
from gitopsd.engine.notifications import notify
from gitopsd.engine.slots import schedule_reconsider
from gitopsd.errors import PermanentError
from gitopsd.pipeline.commands import (
    AgreeInGit,
    Command,
    ExecuteStep,
    MarkStalled,
    Notify,
    Reconsider,
    RecordVerified,
    Scope,
    StartRollback,
    StoreQuarantine,
    Trigger,
)
from gitopsd.pipeline.promotion import waiting_for
from gitopsd.pipeline.quarantine import compute_quarantined_images
from gitopsd.pipeline.rollback import detect_loop
from gitopsd.pipeline.soaking import begin_soak
from gitopsd.store_ports import Transaction

LOOP_WINDOW = timedelta(hours=1)
"""Two automatic rollbacks of a stage within this time stall it (design: RollbackLoop)."""


RETRY = "gitopsd"
"""Who asks for another attempt of a Rollback: it is no new rollback, and counts for no loop."""


@dataclass(slots=True)
class Effects:
    """What the commands of one transition left to do in the same transaction.

    Attributes:
        reconsider: Stages whose selection must run again now.
        started: Runs that were created and wait for admission.
    """

    reconsider: list[StageKey] = field(default_factory=list)
    started: tuple[RunId, ...] = ()


def apply_effects(
    tx: Transaction, run: Run, commands: tuple[Command, ...], config: Configuration
) -> Effects:
    """Do every command but ExecuteStep, which `gitopsd.engine.advance` has put into the outbox.

    Safe to repeat: it is part of the transition's transaction, which commits once.
    """
    done = Effects()
    for command in commands:
        match command:
            case ExecuteStep():
                pass
            case RecordVerified():
                _record_verified(tx, run)
            case AgreeInGit():
                want_agreement(tx, run)
            case StoreQuarantine():
                _store_quarantine(tx, run, command.reason)
            case StartRollback():
                done.started = (*done.started, _start_rollback(tx, run, command))
            case MarkStalled():
                mark_stalled(tx, run.stage, command.reason, command.message, config, run=run)
            case Reconsider():
                _reconsider(tx, run, command, done, config)
            case Notify():
                notify(tx, run, command.trigger, command.message, config)
    return done


def _record_verified(tx: Transaction, run: Run) -> None:
    stage = tx.stages.get(run.stage)
    spec = stage_spec_of(tx, run)
    if stage is None or spec is None or run.rendered is None:
        return
    verification = tx.verifications.add(
        Verification(
            id=VerificationId(f"v-{run.id}"),
            stage=run.stage,
            release=run.release,
            rendered=run.rendered,
            destination=destination_of(spec),
            spec=run.spec,
            recorded_at=tx.now,
            restore=run.restore_target,
        )
    )
    applied = stage.applied
    if applied is not None and not run.mutated:
        # Other bytes that change nothing: the stage runs them now, though nothing was written.
        applied = replace(applied, release=run.release, rendered=run.rendered)
    soaks = begin_soak(stage.soaks, verification, tx.now if run.mutated else None)
    tx.stages.save(replace(stage, verified=verification.id, applied=applied, soaks=soaks))
    if spec.monitor is not None:
        add_monitor(tx, run.stage, spec.monitor.every)
    if run.kind is RunKind.ROLLOUT and spec.watch > timedelta(0) and run.mutated:
        tx.work.add(
            WorkItem(
                key=f"watch:{run.id}",
                kind=WorkKind.OBSERVE,
                subject=run.id,
                payload={"until": (tx.now + spec.watch).isoformat()},
                due_at=tx.now + timedelta(seconds=5),
            )
        )


def add_monitor(tx: Transaction, key: StageKey, every: timedelta, told: str = "") -> None:
    """Ask for the next round of the checks that go on while a verified release runs.

    Args:
        tx: The transaction.
        key: The stage; it has one such row.
        every: When.
        told: Verification whose failure was told already; empty for none.
    """
    tx.work.add(
        WorkItem(
            key=f"monitor:{key}",
            kind=WorkKind.MONITOR,
            subject=str(key),
            payload={"told": told},
            due_at=tx.now + every,
        )
    )


def _store_quarantine(tx: Transaction, run: Run, reason: str) -> None:
    if run.rendered is None:
        return
    failed = readable_set(tx, run.rendered)
    target = run.restore_target
    restored = readable_set(tx, target.rendered) if target is not None else None
    images: tuple[Digest, ...] = ()
    if failed is not None and restored is not None:
        images = compute_quarantined_images(failed, restored)
    tx.quarantines.add(
        Quarantine(
            id=f"q-{run.id}",
            stage=run.stage,
            rendered=run.rendered,
            images=images,
            release=run.release,
            reason=reason,
            at=tx.now,
        )
    )
    if images:
        want_images_of(tx, tx.specs.current(run.stage.application))


def readable_set(tx: Transaction, digest: Digest) -> RenderedSet | None:
    """Read a set; None as well when the key that sealed its Secrets is gone.

    A verdict must not be held up because an old set cannot be read any more.
    """
    try:
        return tx.rendered.get(digest)
    except PermanentError:
        return None


def _start_rollback(tx: Transaction, run: Run, command: StartRollback) -> RunId:
    number = run.attempt_number + 1 if command.again else 1
    rollback = Run(
        id=RunId(f"{run.id}-rb" if run.kind is not RunKind.ROLLBACK else _next_name(run.id)),
        stage=run.stage,
        release=command.target.release,
        kind=RunKind.ROLLBACK,
        created_at=tx.now,
        spec=command.target.spec,
        rendered=command.target.rendered,
        restore_target=command.target,
        requested_by=RETRY if command.again else command.requested_by,
        attempt_number=number,
    )
    tx.runs.add(rollback)
    stage = tx.stages.get(run.stage)
    if stage is not None:
        tx.stages.save(replace(stage, front=rollback.id))
    if command.delay > timedelta(0):
        tx.work.add(
            WorkItem(
                key=f"admit:{rollback.id}",
                kind=WorkKind.RECONSIDER,
                subject=str(run.stage),
                due_at=tx.now + command.delay,
            )
        )
    return rollback.id


def find_undone(rollback: Run) -> RunId:
    """Name the run that a Rollback, or the chain of them that it belongs to, was begun for."""
    return RunId(rollback.id.rpartition("-rb")[0])


def _next_name(run: RunId) -> str:
    """Name the next Rollback of a chain: ``x-rb``, ``x-rb2``, ``x-rb3``."""
    stem, mark, number = run.rpartition("-rb")
    if mark and (not number or number.isdecimal()):
        return f"{stem}-rb{int(number or '1') + 1}"
    return f"{run}-rb2"


def mark_stalled(
    tx: Transaction,
    key: StageKey,
    reason: StallReason,
    message: str,
    config: Configuration,
    *,
    run: Run | None = None,
) -> None:
    """Call a person for a stage.

    Safe to repeat: the same reason keeps its first time and pages nobody twice.
    """
    stall = Stall(reason, message, tx.now, run.id if run else None)
    if put_stall(tx, key, stall):
        notify(tx, run, Trigger.STALLED, message, config, stage=key)


def put_stall(tx: Transaction, key: StageKey, stall: Stall) -> bool:
    """Stall a stage without calling anybody; returns whether that is news.

    A reason that closes gates is never replaced by a milder one. Safe to repeat: the same reason
    keeps its first time.
    """
    stage = tx.stages.get(key)
    held = stage.stall if stage is not None else None
    milder = held is not None and held.reason.closes_gates and not stall.reason.closes_gates
    if stage is None or milder or (held is not None and held.reason is stall.reason):
        return False
    tx.stages.save(replace(stage, stall=stall))
    return True


def watch_for_loop(tx: Transaction, run: Run, config: Configuration) -> None:
    """Stall the stage when this automatic Rollback is its second within an hour."""
    if run.requested_by:
        return
    recent = tx.runs.rollbacks_since(run.stage, tx.now - LOOP_WINDOW)
    if detect_loop(recent):
        message = (
            f"{run.stage} was rolled back {recent} times within an hour; newer releases wait. "
            f"Look at the last runs, then: gitopsd resume {run.stage.application} "
            f"{run.stage.stage}"
        )
        mark_stalled(tx, run.stage, StallReason.ROLLBACK_LOOP, message, config, run=run)


def _reconsider(
    tx: Transaction, run: Run, command: Reconsider, done: Effects, config: Configuration
) -> None:
    done.reconsider += _waiting_for_room(tx, run, config)
    if command.delay > timedelta(0):
        schedule_reconsider(tx, run.stage, command.delay)
        return
    done.reconsider += (run.stage, *list_grouped(tx, run.stage))
    if command.scope is Scope.STAGE_AND_DOWNSTREAM:
        spec = tx.specs.current(run.stage.application)
        if spec is not None:
            done.reconsider.extend(
                StageKey(run.stage.application, name) for name in waiting_for(spec, run.stage.stage)
            )
        done.reconsider.extend(key for key, _ in find_dependents(config, run.stage))


def _waiting_for_room(tx: Transaction, run: Run, config: Configuration) -> tuple[StageKey, ...]:
    """List stages that wait on a cluster where an ended Rollout made room, the oldest run first."""
    spec = stage_spec_of(tx, run)
    cluster = config.clusters.get(spec.cluster) if spec is not None else None
    if cluster is None or run.live or run.kind is not RunKind.ROLLOUT or not run.mutated:
        return ()
    waiting = [other for other in tx.runs.live() if other.step is Step.GATE]
    if not waiting or fronts_on_cluster(tx, cluster.name) + 1 < cluster.rollout_budget:
        return ()
    places = ((other.stage, stage_spec_of(tx, other)) for other in waiting)
    return tuple(
        key for key, place in places if place is not None and place.cluster == cluster.name
    )


def stage_spec_of(tx: Transaction, run: Run) -> StageSpec | None:
    """Read the stage's configuration that the run was admitted under."""
    spec = tx.specs.get(run.stage.application, run.spec)
    return spec.stage(run.stage.stage) if spec is not None else None


def destination_of(spec: StageSpec) -> Destination:
    """Tell where a stage writes."""
    return Destination(spec.cluster, spec.namespace, spec.namespaces, spec.service_account)


def fronts_on_cluster(tx: Transaction, cluster: str) -> int:
    """Count front Rollouts under way on a cluster."""
    count = 0
    for run in tx.runs.live():
        if run.kind is not RunKind.ROLLOUT or run.phase is not Phase.RUNNING or not run.mutated:
            continue
        spec = stage_spec_of(tx, run)
        count += spec is not None and spec.cluster == cluster and run.step is not Step.GATE
    return count
