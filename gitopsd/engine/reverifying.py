"""Makes the checks of what a stage runs verified once more, because a person asks for it.

Nothing is applied. It is looked at the objects once, then the checks are made as in Verify, hooks
left out. What fails counts as what a monitor finds: within the watch window it is rolled back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Health, JsonObject
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import RunId, RunKind, Step
from gitopsd.domain.work import AuditEntry, WorkItem, WorkKind
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.checking import CheckProgress
from gitopsd.engine.observation import fail_verified, load_applied, observe
from gitopsd.engine.outcomes import Verdict, Waiting
from gitopsd.engine.services import Services
from gitopsd.engine.slots import parse_stage_key
from gitopsd.engine.step_context import StepContext
from gitopsd.engine.steps.verify import run_verify
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.engine.verb_checks import refuse_for_stage
from gitopsd.engine.verb_states import say_stage_state
from gitopsd.errors import PermanentError
from gitopsd.pipeline.steps import timeouts_for
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def ask_to_reverify(
    tx: Transaction, actor: Actor, key: StageKey, reason: str, config: Configuration
) -> ActionResult:
    """Have the checks of what a stage runs made again at once."""
    refusal = refuse_for_stage(tx, Verb.REVERIFY, key, config)
    if refusal is not None:
        return refusal
    stage = tx.stages.get(key)
    if stage is None or stage.applied is None:
        return ActionRefused(409, f"nothing was applied to {key} yet")
    name, run, release = _name(key), stage.applied.run, stage.applied.release
    if tx.work.get(name) is not None:
        message = f"the checks of {release} in {key} are being made again already; what they say"
        return ActionRefused(409, f"{message}: gitopsd get runs {run}")
    payload: JsonObject = {
        "by": actor.subject,
        "reason": reason,
        "verified": str(stage.verified or ""),
        "begun": tx.now.isoformat(),
        "before": say_stage_state(tx, key),
    }
    tx.work.add(WorkItem(name, WorkKind.REVERIFY, str(key), tx.now, payload))
    said = f"the checks of {release} in {key} are made again; what they say"
    return ActionDone(f"{said}: gitopsd get runs {run}", run)


async def reverify_stage(services: Services, item: WorkItem) -> None:
    """Make the checks again that a person asked for, and store what came of it.

    It ends without a verdict when a run begins to write there, or nothing can be seen for as long
    as Verify may take.

    Safe to repeat: checks only look, but for Jobs, which are found again by their attempt's name;
    the verdict is stored in the transaction that ends the work.

    Raises:
        TemporaryError: Nothing may be written now, and a Job is to begin.
        LeaseLostError: The right to write ended before a Job began.
    """
    key = parse_stage_key(item.subject)
    context = await services.store.read(lambda tx: load_applied(tx, services, key))
    gone = _find_change(context, item)
    if context is None or gone:
        await _end(services, item, f"no verdict: {gone}")
        return
    if _is_over(context, item):
        said = str(item.payload.get("said") or "nothing could be seen")
        await _end(services, item, f"no verdict: its time is over: {said}")
        return
    if not item.payload.get("cursor"):
        seen = await observe(services, key)
        if seen is not None and seen.health is Health.DEGRADED:
            await _end(services, item, f"failed: {seen.message}", seen.message)
            return
    try:
        outcome = await run_verify(_check_again(context, item))
    except PermanentError as error:
        await _end(services, item, f"no verdict: {error.message}")
        return
    if isinstance(outcome, Verdict):
        await _end(services, item, f"failed: {outcome.message}", outcome.message)
    elif isinstance(outcome, Waiting):
        await _go_on(services, item, outcome)
    else:
        await _end(services, item, "done")


def _name(key: StageKey) -> str:
    return f"reverify:{key}"


def _find_change(context: StepContext | None, item: WorkItem) -> str:
    """Say what came in between; empty while the stage runs what was to be checked."""
    if context is None:
        return "there is nothing to check any more"
    if context.stage.front is not None:
        return f"{context.stage.front} began to write"
    if str(context.stage.verified or "") != item.payload.get("verified"):
        return "the stage runs something else by now"
    return ""


def _is_over(context: StepContext, item: WorkItem) -> bool:
    """Tell whether the checks have been made for as long as Verify may take."""
    begun = datetime.fromisoformat(str(item.payload["begun"]))
    limit = dict(timeouts_for(context.spec, RunKind.ROLLOUT))[Step.VERIFY]
    return context.began_at - begun >= limit


def _check_again(context: StepContext, item: WorkItem) -> StepContext:
    """Make the context of the checks: as in Verify, but hooks are over and attempts have names."""
    begun = datetime.fromisoformat(str(item.payload["begun"]))
    fresh = CheckProgress.parse("", context.spec.verify, context.began_at).spell()
    cursor = str(item.payload.get("cursor") or fresh)
    return replace(
        context,
        step=Step.VERIFY,
        run=replace(context.run, cursor=cursor),
        series=f"again-{begun:%Y%m%dT%H%M%S}",
    )


async def _go_on(services: Services, item: WorkItem, waiting: Waiting) -> None:
    payload: JsonObject = {
        **item.payload,
        "cursor": waiting.cursor,
        "said": waiting.message,
    }

    def work(tx: Transaction) -> None:
        tx.work.finish(item)
        again = WorkItem(item.key, item.kind, item.subject, tx.now + waiting.retry_after, payload)
        tx.work.add(again)

    await retry_conflicts(services.store, work)


async def _end(services: Services, item: WorkItem, outcome: str, failed: str = "") -> None:
    """Store what came of it, with the audit entry; a failure is what it is for a monitor."""
    key, verified = parse_stage_key(item.subject), str(item.payload.get("verified"))
    configuration = services.configuration()

    def work(tx: Transaction) -> None:
        tx.work.finish(item)
        run = tx.runs.get(RunId(verified.removeprefix("v-")))
        stage = tx.stages.get(key)
        same = stage is not None and stage.verified == verified
        if failed and run is not None and same:
            fail_verified(tx, run, failed, configuration)
        details: JsonObject = {
            "reason": item.payload.get("reason"),
            "run": run.id if run is not None else "",
            "before": item.payload.get("before"),
            "after": say_stage_state(tx, key),
        }
        by = str(item.payload.get("by"))
        tx.records.append_audit(AuditEntry(0, tx.now, by, "reverified", str(key), outcome, details))

    await retry_conflicts(services.store, work)
    await services.doorbell.ring()
