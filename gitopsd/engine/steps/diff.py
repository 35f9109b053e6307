"""Diff: the change set and the plan that approvals are bound to."""

from __future__ import annotations

from gitopsd.domain.manifests import ChangeAction, Json
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.contributions import keep_contributions
from gitopsd.engine.deletions import plan_deletions
from gitopsd.engine.inventories import read_inventory
from gitopsd.engine.outcomes import Done, Outcome
from gitopsd.engine.placing import place_objects
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import TemporaryError
from gitopsd.kube.diffing import compute_plan_digest
from gitopsd.kube.hooks import describe_hook, is_run
from gitopsd.kube.objects import parse_ref

_QUIET = (ChangeAction.UNCHANGED.value, ChangeAction.SKIPPED.value)


async def run_diff(context: StepContext) -> Outcome:
    """Join what Validate found with the deletions into the plan.

    Safe to repeat: it reads the cluster and replaces its own evidence.

    Raises:
        TemporaryError: The cluster did not answer, or Validate's evidence is missing.
    """
    evidence = await context.load_evidence(EvidenceKind.CHANGE_SET, "assessed")
    if evidence is None:
        message = f"run {context.run.id} has no result of Validate; it is validated again"
        raise TemporaryError(message, reason="EvidenceMissing")
    rendered = await context.load_rendered()
    cluster = context.cluster()
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    inventory = await read_inventory(context)
    refs = tuple(item.ref for item in placed)
    deletions = (await plan_deletions(context, cluster, inventory, refs)).plan
    leaving = [item.entry.ref for item in deletions.delete]
    applied = context.stage.applied
    base = applied.rendered if applied is not None else None
    hooks = [parse_ref(obj) for obj in rendered.objects if is_run(obj)]
    plan = compute_plan_digest(rendered.digest, base, leaving, hooks)
    objects = evidence.get("objects")
    changes: list[Json] = [*objects] if isinstance(objects, list) else []
    ran = not hooks or rendered.digest == base
    empty = (
        ran
        and not leaving
        and all(isinstance(change, dict) and change.get("action") in _QUIET for change in changes)
    )
    changes += [
        {"object": str(ref.key), "action": ChangeAction.PRUNED.value, "note": "left Git"}
        for ref in leaving
    ]
    content: dict[str, Json] = {
        "plan": plan,
        "against": base,
        "objects": changes,
        "kept": [f"{item.entry.ref.key}: {item.reason}" for item in deletions.keep],
        "deletions": len(leaving),
        "hooks": [describe_hook(obj) for obj in rendered.objects if is_run(obj)],
        "owned": len(inventory.entries),
    }
    await context.keep(EvidenceKind.CHANGE_SET, content, key="plan")
    await keep_contributions(context)
    return Done(plan=plan, plan_empty=empty, plan_base=base)
