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
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import RunId
from gitopsd.domain.stages import Condition, RestoredChoice
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor, do_audited
from gitopsd.engine.admission import apply_event, settle
from gitopsd.engine.adopting import ask_to_adopt
from gitopsd.engine.bringing import promote_release, retry_run
from gitopsd.engine.going_back import roll_back
from gitopsd.engine.group_facts import list_grouped
from gitopsd.engine.image_hints import want_images_of
from gitopsd.engine.resuming import resume_stage
from gitopsd.engine.reverifying import ask_to_reverify
from gitopsd.engine.services import Services
from gitopsd.engine.skipping import skip_gate
from gitopsd.engine.syncing import start_sync
from gitopsd.engine.verb_checks import refuse_for_run, refuse_for_stage
from gitopsd.engine.verb_states import say_quarantine_state, say_run_state, say_stage_state
from gitopsd.engine.voting import Ballot, cast_vote
from gitopsd.pipeline.events import AbortRequested, GateRefused
from gitopsd.pipeline.promotion import waiting_for
from gitopsd.pipeline.verbs import Verb
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

    async def abort(
        self, actor: Actor, run: RunId, *, restore: bool, reason: str = ""
    ) -> ActionResult:
        """End a run; ``restore`` brings back what was last verified if it had changed anything."""
        verb = Verb.ABORT if restore else Verb.LEAVE

        def work(tx: Transaction) -> ActionResult:
            refusal = refuse_for_run(tx, verb, run, self._config)
            if refusal is not None:
                return refusal
            event = AbortRequested(tx.now, by=actor.subject, restore=restore, message=reason)
            done = apply_event(tx, run, event, self._config)
            if done.ignored:
                return ActionRefused(409, f"{run} {done.ignored}")
            return ActionDone(f"{run} is being aborted", run)

        details: JsonObject = {"reason": reason, "restore": restore}
        return await self._do(actor, "abort", run, work, details)

    async def retry(self, actor: Actor, run: RunId, *, reason: str = "") -> ActionResult:
        """Try a run's release again in its stage, whatever ended it but a quarantine."""

        def work(tx: Transaction) -> ActionResult:
            return retry_run(tx, actor, run, self._config)

        return await self._do(actor, "retry", run, work, {"reason": reason})

    async def promote(
        self, actor: Actor, key: StageKey, release: ReleaseId, *, reason: str = ""
    ) -> ActionResult:
        """Ask for a release in a stage; an older one sets a hold, so nothing newer follows."""

        def work(tx: Transaction) -> ActionResult:
            return promote_release(tx, actor, key, release, self._config)

        details: JsonObject = {"release": release, "reason": reason}
        return await self._do(actor, "promote", key, work, details)

    async def rollback(
        self, actor: Actor, key: StageKey, release: ReleaseId | None, *, reason: str = ""
    ) -> ActionResult:
        """Restore a verified set: the release named, or the one before what the stage has."""

        def work(tx: Transaction) -> ActionResult:
            return roll_back(tx, actor, key, release, reason, self._config)

        details: JsonObject = {"release": release, "reason": reason}
        return await self._do(actor, "rollback", key, work, details)

    async def sync(self, actor: Actor, key: StageKey, *, reason: str = "") -> ActionResult:
        """Apply the stage's applied set again."""

        def work(tx: Transaction) -> ActionResult:
            return start_sync(tx, actor, key, self._config)

        return await self._do(actor, "sync", key, work, {"reason": reason})

    async def reverify(self, actor: Actor, key: StageKey, *, reason: str = "") -> ActionResult:
        """Make the checks of what the stage runs again, now, without applying anything."""

        def work(tx: Transaction) -> ActionResult:
            return ask_to_reverify(tx, actor, key, reason, self._config)

        return await self._do(actor, "reverify", key, work, {"reason": reason})

    async def adopt(self, actor: Actor, key: StageKey, *, reason: str = "") -> ActionResult:
        """Take the stage's inventory over from another installation."""

        def work(tx: Transaction) -> ActionResult:
            return ask_to_adopt(tx, actor, key, reason, self._config)

        return await self._do(actor, "adopt", key, work, {"reason": reason})

    async def suspend(self, actor: Actor, key: StageKey, reason: str) -> ActionResult:
        """Stop admitting Rollouts to a stage."""

        def work(tx: Transaction) -> ActionResult:
            refusal = refuse_for_stage(tx, Verb.SUSPEND, key, self._config)
            stage = tx.stages.get(key)
            if refusal is not None or stage is None:
                return refusal or ActionRefused(404, f"there is no stage {key}")
            condition = Condition(actor.subject, reason, tx.now)
            tx.stages.save(replace(stage, suspended=condition))
            settle(tx, (key,), self._config)
            said = f"{key} is suspended; nothing new is admitted until"
            return ActionDone(f"{said}: gitopsd resume {key.application} {key.stage}")

        return await self._do(actor, "suspend", key, work, {"reason": reason})

    async def resume(
        self,
        actor: Actor,
        key: StageKey,
        choice: RestoredChoice | None = None,
        *,
        reason: str = "",
    ) -> ActionResult:
        """Lift suspension, hold, stall and a held rewind of a stage.

        A stage that is stalled by a restored database is resumed only with a ``choice``.
        """

        def work(tx: Transaction) -> ActionResult:
            return resume_stage(tx, actor, key, choice, self._config)

        details: JsonObject = {"reason": reason}
        if choice is not None:
            details = {**details, "restored": choice.value}
        return await self._do(actor, "resume", key, work, details)

    async def lift_quarantine(
        self, actor: Actor, quarantine: str, *, reason: str = ""
    ) -> ActionResult:
        """Let quarantined bytes be admitted again."""

        def work(tx: Transaction) -> ActionResult:
            found = tx.quarantines.get(quarantine)
            if found is None:
                where = "list them with: gitopsd quarantine list"
                return ActionRefused(404, f"there is no quarantine {quarantine}; {where}")
            if found.lifted_at is not None:
                lifted = f"was lifted by {found.lifted_by} at {found.lifted_at:%Y-%m-%d %H:%M} UTC"
                key = found.stage
                bring = f"gitopsd promote {key.application} {key.stage} {found.release}"
                return ActionRefused(409, f"quarantine {quarantine} {lifted}; to bring it: {bring}")
            tx.quarantines.lift(quarantine, actor.subject, tx.now)
            if found.images:
                want_images_of(tx, tx.specs.current(found.stage.application))
            beside = (*_waiting_for(tx, found.stage), *list_grouped(tx, found.stage))
            settle(tx, (found.stage, *beside), self._config)
            return ActionDone(f"quarantine {quarantine} of {found.stage} is lifted")

        def about(tx: Transaction) -> str:
            return say_quarantine_state(tx, quarantine)

        details: JsonObject = {"reason": reason}
        return await do_audited(
            self._services, actor, "lift-quarantine", quarantine, work, details, about
        )

    @property
    def _config(self) -> Configuration:
        return self._services.configuration()

    async def _do(
        self,
        actor: Actor,
        action: str,
        target: RunId | StageKey,
        work: Callable[[Transaction], ActionResult],
        details: JsonObject,
    ) -> ActionResult:
        def about(tx: Transaction) -> str:
            if isinstance(target, StageKey):
                return say_stage_state(tx, target)
            return say_run_state(tx, target)

        return await do_audited(self._services, actor, action, target, work, details, about)


def _waiting_for(tx: Transaction, key: StageKey) -> tuple[StageKey, ...]:
    spec = tx.specs.current(key.application)
    names = waiting_for(spec, key.stage) if spec is not None else ()
    return tuple(StageKey(key.application, name) for name in names)
