"""Looks at what a stage runs outside of a run: for ``Live``, and in the watch window."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.config import Configuration, StageSpec
from gitopsd.domain.manifests import Health
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import CommandId, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Observation, Stage, Stall
from gitopsd.domain.verifications import (
    Quarantine,
    RestoreTarget,
    StallReason,
    VerificationId,
)
from gitopsd.domain.work import Page, WorkItem
from gitopsd.engine.admission import admit, apply_event, settle
from gitopsd.engine.effects import (
    LOOP_WINDOW,
    mark_stalled,
    put_stall,
    stage_spec_of,
    watch_for_loop,
)
from gitopsd.engine.facts import restore_facts
from gitopsd.engine.group_facts import list_grouped
from gitopsd.engine.looking import Sight, look_at
from gitopsd.engine.notifications import notify
from gitopsd.engine.services import Services
from gitopsd.engine.soak_facts import is_soaked_for
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.errors import GitopsdError
from gitopsd.pipeline.apply_hold import is_held_before_apply
from gitopsd.pipeline.commands import Trigger
from gitopsd.pipeline.events import Superseded
from gitopsd.pipeline.facts import WatchFacts
from gitopsd.pipeline.rollback import decide_watch_failure
from gitopsd.pipeline.soaking import LOOKS_APART, begin_soak, count_look, fail_soak
from gitopsd.store_ports import Transaction

CLUSTER_WINDOW = timedelta(minutes=10)
"""From the third watch-window rollback that wants to start on a cluster within this time on, none
does; those that have begun go on."""

SOON = timedelta(seconds=2)
"""How soon is looked again when what stood in the way of a rollback ends."""


def load_applied(tx: Transaction, services: Services, key: StageKey) -> StepContext | None:
    """Read what a stage runs, as the context of a look; None when nothing was applied."""
    stage = tx.stages.get(key)
    if stage is None or stage.applied is None:
        return None
    run = tx.runs.get(stage.applied.run)
    application = tx.specs.get(key.application, run.spec) if run is not None else None
    spec = application.stage(key.stage) if application is not None else None
    release = tx.releases.get(stage.applied.release)
    if run is None or application is None or spec is None or release is None:
        return None
    return StepContext(
        services=services,
        run=run,
        step=Step.WAIT_HEALTHY,
        command=CommandId("observe"),
        application=application,
        spec=spec,
        release=release,
        stage=stage,
        began_at=services.clock.now(),
    )


async def observe(services: Services, key: StageKey) -> Observation | None:
    """Look at a stage's live objects once and store what was seen.

    Safe to repeat: it only looks.
    """
    context = await services.store.read(lambda tx: load_applied(tx, services, key))
    if context is None:
        return None
    try:
        sight = await look_at(context)
    except GitopsdError as error:
        seen = _unseen(error, services.clock.now())
    else:
        seen = _observation(sight, services.clock.now())
    await _keep(services, context, seen)
    return seen


def _unseen(error: GitopsdError, now: datetime) -> Observation:
    return Observation(Health.UNKNOWN, None, error.message, now)


def _observation(sight: Sight, now: datetime) -> Observation:
    synced = not sight.missing
    if sight.healthy:
        return Observation(Health.HEALTHY, synced, "", now)
    health = Health.DEGRADED if sight.failed else Health.PROGRESSING
    return Observation(health, synced, sight.message, now)


async def _keep(services: Services, context: StepContext, seen: Observation) -> None:
    """Store what was seen, and count it for those who wait for the stage to stay healthy."""
    key, verified = context.stage.key, context.stage.verified
    longest_gap = LOOKS_APART * services.pace.watch
    await retry_conflicts(services.store, lambda tx: _store(tx, key, verified, seen, longest_gap))


def _store(
    tx: Transaction,
    key: StageKey,
    verified: VerificationId | None,
    seen: Observation,
    longest_gap: timedelta,
) -> None:
    stage = tx.stages.get(key)
    if stage is None:
        return
    soaks = stage.soaks
    if verified is not None and verified == stage.verified:
        if all(one.verification != verified for one in soaks):
            # It was verified before such counts were kept.
            verification = tx.verifications.get(verified)
            if verification is not None:
                soaks = begin_soak(soaks, verification, None)
        soaks = count_look(soaks, verified, seen, longest_gap)
    tx.stages.save(replace(stage, observation=seen, soaks=soaks))


async def watch_run(services: Services, item: WorkItem) -> timedelta | None:
    """Look once at what a succeeded run left, within its watch window.

    Returns when to look again; None when the window is over or something else took over. A
    definite failure revokes the verification and restores what it replaced. Safe to repeat: the
    revocation is kept once, and a revoked verification is not rolled back again.
    """
    until = datetime.fromisoformat(str(item.payload.get("until")))
    run = await services.store.read(lambda tx: tx.runs.get(RunId(item.subject)))
    if run is None or services.clock.now() >= until:
        return None
    context = await services.store.read(lambda tx: load_applied(tx, services, run.stage))
    if context is None or not _still_runs(context, run):
        return None
    front = await services.store.read(lambda tx: _front_of(tx, run.stage))
    if front is not None and not is_held_before_apply(front):
        return services.pace.watch
    soaked_for = await services.store.read(lambda tx: is_soaked_for(tx, run.stage))
    try:
        sight = await look_at(context)
    except GitopsdError as error:
        if soaked_for:
            await _keep(services, context, _unseen(error, services.clock.now()))
        return services.pace.watch
    if soaked_for:
        await _keep(services, context, _observation(sight, services.clock.now()))
    if not sight.failed:
        return services.pace.watch
    configuration = services.configuration()
    if front is not None:
        gives_way = front.id
        await retry_conflicts(
            services.store, lambda tx: _give_way(tx, run, gives_way, configuration)
        )
        await services.doorbell.ring()
        return SOON
    message = sight.message
    await retry_conflicts(services.store, lambda tx: fail_verified(tx, run, message, configuration))
    await services.doorbell.ring()
    return None


def _front_of(tx: Transaction, key: StageKey) -> Run | None:
    stage = tx.stages.get(key)
    return tx.runs.get(stage.front) if stage is not None and stage.front is not None else None


def _give_way(tx: Transaction, run: Run, held: RunId, config: Configuration) -> None:
    """End a run that is held before Apply: what it was to replace fails, and goes back first.

    Its release waits at its Gate again afterwards. Safe to repeat: a run ends once.
    """
    front = tx.runs.get(held)
    if front is not None and is_held_before_apply(front):
        event = Superseded(tx.now, by=RunId(f"{run.id}-rb"), by_alias=f"the end of {run.release}")
        apply_event(tx, held, event, config)


def _still_runs(context: StepContext, run: Run) -> bool:
    """A Sync applies the same bytes again; the watch over them goes on."""
    applied = context.stage.applied
    return applied is not None and applied.rendered == run.rendered


def fail_verified(tx: Transaction, run: Run, why: str, config: Configuration) -> None:
    """Do what a definite failure of what was verified leads to; after the watch window, only tell.

    Safe to repeat: a revoked verification is not rolled back again.

    Args:
        tx: The transaction.
        run: The run that was verified.
        why: One sentence.
        config: The configuration in force.
    """
    facts = _watch_facts(tx, run)
    if facts is None:
        return
    soaks = fail_soak(facts.stage.soaks, facts.stage.verified, why)
    if soaks != facts.stage.soaks:
        tx.stages.save(replace(facts.stage, soaks=soaks))
    decision = decide_watch_failure(facts)
    if decision.revoke is not None:
        tx.verifications.revoke(decision.revoke, tx.now)
        stage = tx.stages.get(run.stage)
        if stage is not None:
            tx.stages.save(replace(stage, verified=None))
    if decision.quarantine and run.rendered is not None:
        tx.quarantines.add(
            Quarantine(f"q-{run.id}", run.stage, run.rendered, (), run.release, why, tx.now)
        )
    if decision.stall is StallReason.CLUSTER_TROUBLE:
        _stall_for_cluster(tx, run, f"{decision.reason}: {why}", config)
    elif decision.stall is not None:
        mark_stalled(tx, run.stage, decision.stall, why, config, run=run)
    notify(tx, run, Trigger.HEALTH_DEGRADED, why, config, anew=True)
    if decision.rollback is not None:
        _roll_back(tx, run, decision.rollback, config)
    settle(tx, (run.stage, *list_grouped(tx, run.stage)), config)


def _watch_facts(tx: Transaction, run: Run) -> WatchFacts | None:
    stage = tx.stages.get(run.stage)
    spec = stage_spec_of(tx, run)
    if stage is None or stage.verified is None or spec is None:
        return None
    verification = tx.verifications.get(stage.verified)
    if verification is None:
        return None
    restore = restore_facts(
        tx, run.stage, verification.rendered, spec, inherited=verification.restore
    )
    return WatchFacts(
        now=tx.now,
        stage=stage,
        spec=spec,
        verification=verification,
        restore=restore,
        front_run=tx.runs.get(stage.front) if stage.front is not None else None,
        rollbacks_last_hour=tx.runs.rollbacks_since(run.stage, tx.now - LOOP_WINDOW),
        cluster_rollbacks=1 + sum(_wanted_rollback(tx, one) for one in _neighbours(tx, run, spec)),
    )


def _neighbours(tx: Transaction, run: Run, spec: StageSpec) -> list[Stage]:
    """List the other stages that write to the same cluster."""
    return [
        stage
        for stage in tx.stages.page()
        if stage.key != run.stage
        and stage.destination is not None
        and stage.destination.cluster == spec.cluster
    ]


def _wanted_rollback(tx: Transaction, stage: Stage) -> bool:
    """Tell whether a stage's watch-window rollback began, or was held back, a moment ago."""
    since = tx.now - CLUSTER_WINDOW
    if _is_held_back(stage, since):
        return True
    if not tx.runs.rollbacks_since(stage.key, since):
        return False
    return any(
        run.watched and run.created_at is not None and run.created_at >= since
        for run in tx.runs.page(Page(20), stage=stage.key)
    )


def _is_held_back(stage: Stage, since: datetime) -> bool:
    stall = stage.stall
    return stall is not None and stall.reason is StallReason.CLUSTER_TROUBLE and stall.at >= since


def _stall_for_cluster(tx: Transaction, run: Run, what: str, config: Configuration) -> None:
    """Hold a stage back whose cluster is in trouble; one page tells of all of them."""
    spec = stage_spec_of(tx, run)
    neighbours = _neighbours(tx, run, spec) if spec is not None else []
    told = any(_is_held_back(stage, tx.now - CLUSTER_WINDOW) for stage in neighbours)
    key = run.stage
    message = (
        f"{key}: {what}; the cluster is the likelier cause, so it is not rolled back. Look at the "
        f"cluster, then: gitopsd resume {key.application} {key.stage}"
    )
    stall = Stall(StallReason.CLUSTER_TROUBLE, message, tx.now, run.id)
    if put_stall(tx, key, stall) and not told:
        notify(tx, run, Trigger.STALLED, message, config)


def _roll_back(tx: Transaction, run: Run, target: RestoreTarget, config: Configuration) -> None:
    rollback = Run(
        id=RunId(f"{run.id}-rb"),
        stage=run.stage,
        release=target.release,
        kind=RunKind.ROLLBACK,
        created_at=tx.now,
        spec=target.spec,
        rendered=target.rendered,
        restore_target=target,
        watched=True,
    )
    if tx.runs.get(rollback.id) is not None:
        return
    tx.runs.add(rollback)
    stage = tx.stages.get(run.stage)
    if stage is not None:
        tx.stages.save(replace(stage, front=rollback.id))
    watch_for_loop(tx, rollback, config)
    admit(tx, rollback, config)


def is_fresh(seen: Observation | None, now: datetime, age: timedelta) -> bool:
    """Tell whether a look is recent enough to be quoted."""
    return seen is not None and now - seen.at <= age
