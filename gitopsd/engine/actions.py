"""What people do to stages and runs. Who acts comes from the credential, never from the request.

Each action is one transaction with its audit entry; an action that is refused says why and what
to do instead, as a value.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gitopsd.domain.config import Configuration
from gitopsd.domain.gates import Decision
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import Line, OfferKind, ReleaseId, StageKey
from gitopsd.domain.runs import Run, RunId, RunKind
from gitopsd.domain.stages import Condition, RestoredChoice
from gitopsd.domain.verifications import RestoreTarget
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor, do_audited
from gitopsd.engine.admission import apply_event, settle
from gitopsd.engine.facts import restore_facts
from gitopsd.engine.image_hints import want_images_of
from gitopsd.engine.naming import name_release, refuse_naming
from gitopsd.engine.probing import ask_again
from gitopsd.engine.resuming import resume_stage
from gitopsd.engine.services import Services
from gitopsd.engine.skipping import skip_gate
from gitopsd.engine.syncing import make_run_id, put_front, start_sync
from gitopsd.engine.voting import Ballot, cast_vote
from gitopsd.pipeline.events import AbortRequested, GateRefused, RollbackRequested
from gitopsd.pipeline.lockouts import is_locked_out
from gitopsd.pipeline.promotion import waiting_for
from gitopsd.pipeline.rollback import choose_manual_target
from gitopsd.store_ports import Transaction

__all__ = ["ActionDone", "ActionRefused", "ActionResult", "Actions", "Actor"]


class Actions:
    """The verbs of the API and the CLI.

    Args:
        services: The ports.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    async def approve(self, actor: Actor, run: RunId, plan: str, reason: str) -> ActionResult:
        """Vote for a run's plan; ``plan`` is what the person saw (empty: the present one)."""

        def work(tx: Transaction) -> ActionResult:
            ballot = Ballot(Decision.APPROVE, plan, reason)
            done = cast_vote(tx, actor, run, ballot, self._config)
            found = tx.runs.get(run)
            if found is not None and isinstance(done, ActionDone):
                settle(tx, (found.stage,), self._config)
            return done

        details: JsonObject = {"plan": plan, "reason": reason}
        return await self._do(actor, "approve", run, work, details)

    async def reject(self, actor: Actor, run: RunId, plan: str, reason: str) -> ActionResult:
        """Vote against a run's plan; it ends Aborted (Rejected)."""

        def work(tx: Transaction) -> ActionResult:
            ballot = Ballot(Decision.REJECT, plan, reason)
            done = cast_vote(tx, actor, run, ballot, self._config)
            found = tx.runs.get(run)
            if isinstance(done, ActionDone) and found is not None:
                why = f": {reason}" if reason else ""
                message = f"{actor.subject} rejected it{why}"
                apply_event(tx, run, GateRefused(tx.now, message), self._config)
            return done

        details: JsonObject = {"plan": plan, "reason": reason}
        return await self._do(actor, "reject", run, work, details)

    async def skip(
        self, actor: Actor, run: RunId, gate: str, *, plan: str, reason: str
    ) -> ActionResult:
        """Let a run pass one gate that is not open, for its present plan."""

        def work(tx: Transaction) -> ActionResult:
            done = skip_gate(tx, actor, run, gate, plan=plan, reason=reason, config=self._config)
            found = tx.runs.get(run)
            if found is not None and isinstance(done, ActionDone):
                settle(tx, (found.stage,), self._config)
            return done

        details: JsonObject = {"gate": gate, "plan": plan, "reason": reason}
        return await self._do(actor, "skip", run, work, details)

    async def abort(self, actor: Actor, run: RunId, *, restore: bool) -> ActionResult:
        """End a run; ``restore`` brings back what was last verified if it had changed anything."""

        def work(tx: Transaction) -> ActionResult:
            found = tx.runs.get(run)
            if found is None:
                return ActionRefused(404, f"there is no run {run}")
            if found.kind is RunKind.ROLLBACK and not is_locked_out(found):
                message = f"{run} is a rollback and is not aborted; redirect it: gitopsd rollback"
                return ActionRefused(409, message)
            event = AbortRequested(tx.now, by=actor.subject, restore=restore)
            done = apply_event(tx, run, event, self._config)
            if done.ignored:
                return ActionRefused(409, f"{run} {done.ignored}")
            return ActionDone(f"{run} is being aborted", run)

        return await self._do(actor, "abort", run, work)

    async def retry(self, actor: Actor, run: RunId) -> ActionResult:
        """Try a run's release again in its stage, whatever ended it but a quarantine."""

        def work(tx: Transaction) -> ActionResult:
            found = tx.runs.get(run)
            if found is None:
                return ActionRefused(404, f"there is no run {run}")
            if found.live and ask_again(tx, found):
                return ActionDone(f"the gates of {run} that ask outside are asked again now", run)
            if found.live:
                return ActionRefused(409, f"{run} is still {found.phase.value}")
            return self._ask_for(tx, actor, found.stage, found.release)

        return await self._do(actor, "retry", run, work)

    async def promote(self, actor: Actor, key: StageKey, release: ReleaseId) -> ActionResult:
        """Ask for a release in a stage; an older one sets a hold, so nothing newer follows."""

        def work(tx: Transaction) -> ActionResult:
            if tx.releases.get(release) is None:
                return ActionRefused(404, f"there is no release {release}")
            refusal = refuse_naming(tx, actor, key, self._config)
            return refusal or self._ask_for(tx, actor, key, release)

        return await self._do(actor, "promote", key, work)

    def _ask_for(
        self, tx: Transaction, actor: Actor, key: StageKey, release: ReleaseId
    ) -> ActionResult:
        stage = tx.stages.get(key)
        applied = stage.applied if stage is not None and stage.verified is not None else None
        if applied is not None and applied.release == release:
            return ActionRefused(409, f"{key} runs {release} already")
        older = _is_older(tx, key, release)
        done = self._request(tx, actor, key, release, hold=older)
        stage = tx.stages.get(key)
        if older and stage is not None and isinstance(done, ActionDone):
            hold = Condition(actor.subject, "asked for an older release", tx.now)
            tx.stages.save(replace(stage, hold=hold))
            settle(tx, (key,), self._config)
        return done

    async def rollback(
        self, actor: Actor, key: StageKey, release: ReleaseId | None
    ) -> ActionResult:
        """Restore a verified set: the release named, or the one before what the stage runs."""

        def work(tx: Transaction) -> ActionResult:
            return self._rollback(tx, actor, key, release)

        return await self._do(actor, "rollback", key, work)

    async def sync(self, actor: Actor, key: StageKey) -> ActionResult:
        """Apply the stage's applied set again."""

        def work(tx: Transaction) -> ActionResult:
            return start_sync(tx, actor, key, self._config)

        return await self._do(actor, "sync", key, work)

    async def suspend(self, actor: Actor, key: StageKey, reason: str) -> ActionResult:
        """Stop admitting Rollouts to a stage."""

        def work(tx: Transaction) -> ActionResult:
            stage = tx.stages.get(key)
            if stage is None:
                return ActionRefused(404, f"there is no stage {key}")
            condition = Condition(actor.subject, reason, tx.now)
            tx.stages.save(replace(stage, suspended=condition))
            settle(tx, (key,), self._config)
            said = f"{key} is suspended; nothing new is admitted until"
            return ActionDone(f"{said}: gitopsd resume {key.application} {key.stage}")

        return await self._do(actor, "suspend", key, work)

    async def resume(
        self, actor: Actor, key: StageKey, choice: RestoredChoice | None = None
    ) -> ActionResult:
        """Lift suspension, hold, stall and a held rewind of a stage.

        A stage that is stalled by a restored database is resumed only with a ``choice``.
        """

        def work(tx: Transaction) -> ActionResult:
            return resume_stage(tx, actor, key, choice, self._config)

        return await self._do(actor, "resume", key, work)

    async def lift_quarantine(self, actor: Actor, quarantine: str) -> ActionResult:
        """Let quarantined bytes be admitted again."""

        def work(tx: Transaction) -> ActionResult:
            found = tx.quarantines.get(quarantine)
            if found is None:
                return ActionRefused(404, f"there is no quarantine {quarantine}")
            tx.quarantines.lift(quarantine, actor.subject, tx.now)
            if found.images:
                want_images_of(tx, tx.specs.current(found.stage.application))
            settle(tx, (found.stage, *_waiting_for(tx, found.stage)), self._config)
            return ActionDone(f"quarantine {quarantine} of {found.stage} is lifted")

        return await self._do(actor, "lift-quarantine", quarantine, work)

    @property
    def _config(self) -> Configuration:
        return self._services.configuration()

    async def _do(
        self,
        actor: Actor,
        action: str,
        target: object,
        work: Callable[[Transaction], ActionResult],
        details: JsonObject | None = None,
    ) -> ActionResult:
        return await do_audited(self._services, actor, action, target, work, details)

    def _request(
        self, tx: Transaction, actor: Actor, key: StageKey, release: ReleaseId, *, hold: bool
    ) -> ActionResult:
        stage = tx.stages.get(key)
        application = tx.specs.current(key.application)
        spec = application.stage(key.stage) if application is not None else None
        if stage is None or application is None or spec is None:
            return ActionRefused(404, f"there is no stage {key}")
        line = Line(key.application, application.ref_of(spec))
        if tx.releases.last_offer(line, release) is None:
            tx.releases.offer(line, release, tx.now, OfferKind.REQUESTED)
        naming = name_release(tx, actor, key, release, self._config)
        tx.stages.save(replace(stage, requested=release, naming=naming or stage.naming))
        settle(tx, (key,), self._config)
        current = tx.stages.get(key)
        waiting = tx.runs.get(current.next) if current is not None and current.next else None
        if waiting is None or waiting.release != release:
            return ActionDone(f"{release} is asked for in {key} and waits for its turn")
        held = "; nothing newer follows until gitopsd resume" if hold else ""
        return ActionDone(f"{release} is on its way to {key}{held}", waiting.id)

    def _rollback(
        self, tx: Transaction, actor: Actor, key: StageKey, wanted: ReleaseId | None
    ) -> ActionResult:
        stage = tx.stages.get(key)
        application = tx.specs.current(key.application)
        spec = application.stage(key.stage) if application is not None else None
        if stage is None or spec is None:
            return ActionRefused(404, f"there is no stage {key}")
        if stage.applied is None:
            return ActionRefused(409, f"nothing was applied to {key} yet")
        facts = restore_facts(tx, key, stage.applied.rendered, spec)
        choice = choose_manual_target(facts, wanted)
        if not isinstance(choice, RestoreTarget):
            return ActionRefused(409, choice.message)
        front = tx.runs.get(stage.front) if stage.front is not None else None
        if front is not None and front.kind is not RunKind.ROLLBACK:
            planned = front.restore_target
            if planned is None or planned.rendered != choice.rendered:
                return ActionRefused(
                    409,
                    f"{front.id} is writing to {key}; end it first: gitopsd abort {front.id}, "
                    "then roll back",
                )
        hold = Condition(actor.subject, "rolled back by hand", tx.now)
        tx.stages.save(replace(stage, hold=hold))
        if stage.verified is not None:
            tx.verifications.revoke(stage.verified, tx.now)
        if front is not None:
            return self._redirect(tx, actor, front, choice)
        run = Run(
            id=make_run_id(key, "rb"),
            stage=key,
            release=choice.release,
            kind=RunKind.ROLLBACK,
            created_at=tx.now,
            spec=choice.spec,
            rendered=choice.rendered,
            restore_target=choice,
            requested_by=actor.subject,
        )
        put_front(tx, tx.stages.get(key) or stage, run, self._config)
        said = f"{key} is being rolled back to {choice.release}; nothing newer follows until"
        return ActionDone(f"{said}: gitopsd resume {key.application} {key.stage}", run.id)

    def _redirect(
        self, tx: Transaction, actor: Actor, front: Run, target: RestoreTarget
    ) -> ActionResult:
        if front.kind is RunKind.ROLLBACK:
            event = RollbackRequested(tx.now, by=actor.subject, target=target)
            apply_event(tx, front.id, event, self._config)
            return ActionDone(f"the rollback goes to {target.release} instead", front.id)
        abort = AbortRequested(
            tx.now, by=actor.subject, restore=True, message=f"rolled back by {actor.subject}"
        )
        apply_event(tx, front.id, abort, self._config)
        return ActionDone(f"{front.id} is being aborted and what it replaced restored", front.id)


def _is_older(tx: Transaction, key: StageKey, release: ReleaseId) -> bool:
    application = tx.specs.current(key.application)
    spec = application.stage(key.stage) if application is not None else None
    stage = tx.stages.get(key)
    if application is None or spec is None or stage is None or stage.applied is None:
        return False
    line = Line(key.application, application.ref_of(spec))
    asked = tx.releases.last_offer(line, release)
    running = tx.releases.last_offer(line, stage.applied.release)
    return asked is not None and running is not None and asked.number < running.number


def _waiting_for(tx: Transaction, key: StageKey) -> tuple[StageKey, ...]:
    spec = tx.specs.current(key.application)
    names = waiting_for(spec, key.stage) if spec is not None else ()
    return tuple(StageKey(key.application, name) for name in names)
