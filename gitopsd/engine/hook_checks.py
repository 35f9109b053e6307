"""What is wrong with the hooks of a set before any of them runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gitopsd.cluster_ports import ApiRefusal, Cluster
from gitopsd.domain.manifests import JsonObject
from gitopsd.engine.assessment import refuse_outside, refuse_owner
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.placing import Placed, place_hooks
from gitopsd.engine.refusals import raise_if_temporary, reason_of, sentence, status_of
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.hooks import is_run, make_trial_body, refuse_hook
from gitopsd.kube.names import FIELD_MANAGER
from gitopsd.kube.statuses import StatusKind, classify


@dataclass(frozen=True, slots=True)
class HookCheck:
    """What was found about one hook.

    Attributes:
        refusal: (reason, sentence) of a definite refusal; None when it may run.
    """

    refusal: tuple[str, str] | None = None


async def assess_hooks(
    context: StepContext,
    cluster: Cluster,
    objects: Sequence[JsonObject],
    placed: Sequence[Placed],
) -> tuple[HookCheck, ...]:
    """Check every hook of a set: its kind, the boundary, its owner, and the server's dry-run.

    Safe to repeat: nothing is changed; dry-runs change nothing.

    Args:
        context: The step.
        cluster: The stage's cluster, as the stage's identity.
        objects: The rendered set.
        placed: Its ordinary objects; a namespace among them may be still to come.

    Raises:
        TemporaryError: The cluster did not answer.
    """
    coming = {item.ref.key.name for item in placed if item.ref.key.kind == "Namespace"}
    hooks = [obj for obj in objects if is_run(obj)]

    async def check(item: Placed) -> HookCheck:
        return HookCheck(await _check(context, cluster, item, coming))

    placed_hooks = await place_hooks(cluster, hooks, context.spec.namespace)
    return tuple(await run_all(placed_hooks, check, patience=context.services.clock))


async def _check(
    context: StepContext, cluster: Cluster, item: Placed, coming: set[str]
) -> tuple[str, str] | None:
    unsupported = refuse_hook(item.obj)
    if unsupported:
        return ("UnsupportedHook", unsupported)
    outside = refuse_outside(context, item)
    if outside is not None:
        return outside
    live = await cluster.get(item.ref)
    if isinstance(live, ApiRefusal):
        raise_if_temporary(item.ref, live)
        return (reason_of(live), sentence(item.ref, live))
    owned = refuse_owner(context, item, live) if live is not None else None
    if owned is not None:
        return owned
    body = make_trial_body(item.obj)
    tried = await cluster.apply(body, manager=FIELD_MANAGER, force=False, dry_run=True)
    if not isinstance(tried, ApiRefusal):
        return None
    missing = classify(status_of(tried)) is StatusKind.NAMESPACE_MISSING
    if missing and item.ref.key.namespace in coming:
        return None
    raise_if_temporary(item.ref, tried)
    return (reason_of(tried), sentence(item.ref, tried))
