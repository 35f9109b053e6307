"""Takes a release back from the stages of a group that stopped it."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.groups import OnFailure
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import AbortReason, Run, RunId, RunKind
from gitopsd.domain.stages import Stage
from gitopsd.domain.verifications import RestoreTarget, Verification
from gitopsd.engine.advance import advance
from gitopsd.engine.effects import apply_effects, mark_stalled, watch_for_loop
from gitopsd.engine.facts import restore_facts
from gitopsd.engine.group_facts import load_group_of_run
from gitopsd.engine.notifications import notify
from gitopsd.pipeline.commands import StartRollback, Trigger
from gitopsd.pipeline.events import AbortRequested
from gitopsd.pipeline.groups import came_out, is_taken_back, say_stopped
from gitopsd.pipeline.rollback import choose_restore
from gitopsd.store_ports import Transaction


def take_back(
    tx: Transaction,
    stage: Stage,
    application: ApplicationSpec,
    spec: StageSpec,
    config: Configuration,
) -> tuple[StageKey, ...]:
    """Take back what a stage runs, or is about to run, when its group has stopped that release.

    What writes just now is aborted and what it replaces restored; what went Live is revoked and
    restored as after a failure in the watch window. A Rollback under way is left alone: a look at
    the stage follows its end.

    Safe to repeat: a run that is being aborted, and a verification that was revoked, are left.

    Returns:
        Stages to reconsider now.
    """
    group = application.group_of(spec)
    if group is None or group.on_failure is not OnFailure.ROLLBACK_ALL:
        return ()
    front = tx.runs.get(stage.front) if stage.front is not None else None
    if front is not None:
        return _take_back_run(tx, front, config)
    verified = tx.verifications.get(stage.verified) if stage.verified is not None else None
    if verified is None or verified.revoked_at is not None:
        return ()
    return _take_back_verified(tx, stage, verified, spec, config)


def _take_back_run(tx: Transaction, front: Run, config: Configuration) -> tuple[StageKey, ...]:
    if front.kind is not RunKind.ROLLOUT or not front.live or front.aborting:
        return ()
    facts = load_group_of_run(tx, front)
    if facts is None or not is_taken_back(facts, front.stage):
        return ()
    event = AbortRequested(
        tx.now,
        by="gitopsd",
        restore=True,
        reason=AbortReason.GROUP_STOPPED,
        message=say_stopped(facts),
    )
    return advance(tx, front.id, event, config).reconsider


def _take_back_verified(
    tx: Transaction,
    stage: Stage,
    verified: Verification,
    spec: StageSpec,
    config: Configuration,
) -> tuple[StageKey, ...]:
    run = tx.runs.get(RunId(verified.id.removeprefix("v-")))
    if run is None or not came_out(run):
        return ()
    facts = load_group_of_run(tx, run)
    if facts is None or not is_taken_back(facts, stage.key):
        return ()
    why = f"{stage.key}: {verified.release} is taken back: {say_stopped(facts)}"
    tx.verifications.revoke(verified.id, tx.now)
    restore = restore_facts(tx, stage.key, verified.rendered, spec, inherited=verified.restore)
    choice = choose_restore(restore)
    current = tx.stages.get(stage.key)
    if current is not None:
        tx.stages.save(replace(current, verified=None))
    if not isinstance(choice, RestoreTarget):
        key = stage.key
        choose = f"choose with: gitopsd rollback {key.application} {key.stage}"
        message = f"{why}; nothing is restored ({choice.value}), push a fix or {choose}"
        mark_stalled(tx, key, choice, message, config, run=run)
        return ()
    notify(tx, run, Trigger.ROLLBACK_STARTED, why, config, anew=True)
    started = apply_effects(tx, run, (StartRollback(run.id, choice),), config).started
    for name in started:
        rollback = tx.runs.get(name)
        if rollback is not None:
            watch_for_loop(tx, rollback, config)
    return (stage.key,)
