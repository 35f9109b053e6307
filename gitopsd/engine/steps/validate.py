"""Validate: inside the boundary, owned by nobody else, and accepted by the server's dry-run."""

from __future__ import annotations

import asyncio

from gitopsd.domain.manifests import Json
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.assessment import assess_objects, describe_assessed
from gitopsd.engine.attempting import find_missing_template
from gitopsd.engine.hook_checks import assess_hooks
from gitopsd.engine.image_checks import check_images, judge_missing
from gitopsd.engine.outcomes import Done, Outcome, Verdict
from gitopsd.engine.placing import place_objects
from gitopsd.engine.quota_checks import refuse_by_quotas
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.boundary import validate_set

SHOWN = 3
"""Refused objects that the sentence names; the evidence has them all."""


async def run_validate(context: StepContext) -> Outcome:
    """Check every object before anything is written, all problems at once.

    Safe to repeat: nothing is changed; dry-runs change nothing.

    Raises:
        TemporaryError: The cluster did not answer; never a verdict.
    """
    rendered = await context.load_rendered()
    impossible = validate_set(rendered.objects)
    if impossible:
        return Verdict(impossible[0].reason, impossible[0].message)
    missing = find_missing_template(context.spec, rendered)
    if missing:
        return Verdict("MissingTemplate", missing)
    cluster = context.cluster()
    asking = asyncio.create_task(check_images(context, rendered), name="images")
    try:
        placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
        at = context.services.clock.now().isoformat()
        assessed = await assess_objects(context, cluster, placed)
        hooks = await assess_hooks(context, cluster, rendered.objects, placed)
        images = await asking
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    objects: list[Json] = [describe_assessed(item) for item in assessed]
    notes: list[Json] = [*images.notes]
    kept: dict[str, Json] = {"at": at, "objects": objects}
    await context.keep(
        EvidenceKind.CHANGE_SET, {**kept, "images": notes} if notes else kept, key="assessed"
    )
    refusals = [*(item.refusal for item in assessed), *(hook.refusal for hook in hooks)]
    refused = [refusal for refusal in refusals if refusal is not None]
    if not refused:
        wishes = [item.wish for item in assessed if item.wish is not None]
        over = await refuse_by_quotas(cluster, placed, wishes, context.services.clock)
        refused = [over] if over is not None else []
    if not refused and images.missing:
        return judge_missing(context, rendered, images.missing)
    if not refused:
        await _mark(context, images.marks)
        return Done()
    shown = "; ".join(message for _, message in refused[:SHOWN])
    more = f"; and {len(refused) - SHOWN} more" if len(refused) > SHOWN else ""
    return Verdict(refused[0][0], f"{shown}{more}")


async def _mark(context: StepContext, marks: tuple[str, ...]) -> None:
    """Let the release be found by the commits that its images were built from."""
    if marks:
        application, release = context.run.stage.application, context.release.id
        await context.services.store.transact(
            lambda tx: tx.images.mark(application, release, marks)
        )
