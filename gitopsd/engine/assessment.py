"""What applying one object would do: ownership, server-side dry-run, difference."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from gitopsd.domain.manifests import ChangeAction, Json, JsonObject, ObjectChange
from gitopsd.domain.verifications import Destination
from gitopsd.engine.placing import Placed
from gitopsd.engine.refusals import raise_if_temporary, reason_of, sentence, status_of
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.boundary import check_boundary, check_owner
from gitopsd.kube.canonical import digest_of
from gitopsd.kube.diffing import change_of
from gitopsd.kube.field_managers import describe_losers, find_scaled, parse_losers, strip_replicas
from gitopsd.kube.immutability import Recreation, decide_recreation, is_immutable_refusal
from gitopsd.kube.names import FIELD_MANAGER, parse_adopt
from gitopsd.kube.objects import string_at
from gitopsd.kube.statuses import StatusKind, classify
from gitopsd.ports import ApiRefusal, Cluster

IN_FLIGHT = 16
"""Requests under way at once to one cluster."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """What applying one object would do.

    Attributes:
        placed: The object.
        change: Its line in the change set; None when it was refused.
        refusal: (reason, sentence) of a definite refusal.
        version: Live resourceVersion that was seen; empty when it does not exist.
        digest: Digest of the bytes that would be sent.
    """

    placed: Placed
    change: ObjectChange | None
    refusal: tuple[str, str] | None = None
    version: str = ""
    digest: str = ""


async def assess_objects(
    context: StepContext, cluster: Cluster, placed: tuple[Placed, ...]
) -> tuple[Assessed, ...]:
    """Assess every object of a set, a bounded number at once.

    Raises:
        TemporaryError: The cluster did not answer for at least one of them.
    """
    limit = asyncio.Semaphore(IN_FLIGHT)
    scaled = find_scaled(item.obj for item in placed)
    coming = {item.ref.key.name for item in placed if item.ref.key.kind == "Namespace"}

    async def one(item: Placed) -> Assessed:
        async with limit:
            return await _assess(context, cluster, item, coming, scaled=item.ref.key in scaled)

    return tuple(await asyncio.gather(*(one(item) for item in placed)))


def destination(context: StepContext) -> Destination:
    """Tell where the stage may write."""
    spec = context.spec
    return Destination(spec.cluster, spec.namespace, spec.namespaces, spec.service_account)


async def _assess(
    context: StepContext, cluster: Cluster, item: Placed, coming: set[str], *, scaled: bool
) -> Assessed:
    if item.namespaced is None:
        message = (
            f"{item.ref.key}: the cluster serves no {item.ref.api_version} {item.ref.key.kind}"
        )
        return Assessed(item, None, ("UnknownKind", message))
    outside = check_boundary(
        item.ref,
        namespaced=item.namespaced,
        destination=destination(context),
        cluster_scoped=context.spec.cluster_scoped,
    )
    if outside is not None:
        return Assessed(item, None, (outside.reason, outside.message))
    if not item.served:
        return Assessed(item, _later(item, "checked once its definition is there"))
    return await _ask(context, cluster, item, coming, scaled=scaled)


async def _ask(
    context: StepContext, cluster: Cluster, item: Placed, coming: set[str], *, scaled: bool
) -> Assessed:
    live, tried = await asyncio.gather(
        cluster.get(item.ref),
        cluster.apply(item.obj, manager=FIELD_MANAGER, force=False, dry_run=True),
    )
    if isinstance(live, ApiRefusal):
        raise_if_temporary(item.ref, live)
        return Assessed(item, None, (reason_of(live), sentence(item.ref, live)))
    owned = check_owner(
        live,
        application=context.application.name,
        stage=context.spec.name,
        adopt=parse_adopt(item.obj) or (live is not None and parse_adopt(live)),
    )
    if owned is not None:
        return Assessed(item, None, (owned.reason, owned.message))
    obj, note = item.obj, ""
    if scaled and live is not None:
        obj, note = strip_replicas(obj), "replicas left to the autoscaler"
    if isinstance(tried, ApiRefusal) and classify(status_of(tried)) is StatusKind.FIELD_CONFLICT:
        note = "; ".join(filter(None, (note, describe_losers(parse_losers(status_of(tried))))))
    if isinstance(tried, ApiRefusal) or obj is not item.obj:
        tried = await cluster.apply(obj, manager=FIELD_MANAGER, force=True, dry_run=True)
    if isinstance(tried, ApiRefusal):
        return _refused(item, live, tried, coming)
    change = change_of(live, tried.live, note=note)
    version = string_at(live, "metadata", "resourceVersion") if live is not None else ""
    return Assessed(item, change, version=version, digest=digest_of(obj))


def _refused(
    item: Placed, live: JsonObject | None, refusal: ApiRefusal, coming: set[str]
) -> Assessed:
    status = status_of(refusal)
    kind = classify(status)
    if kind is StatusKind.NAMESPACE_MISSING and item.ref.key.namespace in coming:
        return Assessed(item, _later(item, "checked once its namespace is there"))
    if is_immutable_refusal(status) and live is not None:
        decision = decide_recreation(item.obj, status)
        if isinstance(decision, Recreation):
            change = change_of(live, item.obj, note="deleted and created anew: immutable field")
            version = string_at(live, "metadata", "resourceVersion")
            return Assessed(item, change, version=version, digest=digest_of(item.obj))
        return Assessed(item, None, (decision.reason, decision.message))
    raise_if_temporary(item.ref, refusal)
    return Assessed(item, None, (reason_of(refusal), sentence(item.ref, refusal)))


def _later(item: Placed, note: str) -> ObjectChange:
    return ObjectChange(item.ref, ChangeAction.CREATED, note=note, checked=False)


def describe_assessed(item: Assessed) -> dict[str, Json]:
    """Write an assessment for the run's evidence; diffs are redacted already."""
    change = item.change
    key = item.placed.ref.key
    described: dict[str, Json] = {
        "object": str(key),
        "group": key.group,
        "kind": key.kind,
        "namespace": key.namespace,
        "name": key.name,
        "version": item.placed.ref.version,
        "resourceVersion": item.version,
        "digest": item.digest,
    }
    if change is not None:
        described |= {
            "action": change.action.value,
            "diff": change.diff,
            "note": change.note,
            "checked": change.checked,
        }
    if item.refusal is not None:
        described |= {"refused": item.refusal[0], "message": item.refusal[1]}
    return described


def identity_of(described: Mapping[str, Json]) -> str:
    """Name an object of a stored assessment the way `Placed` objects are named."""
    return "/".join(str(described.get(part, "")) for part in ("group", "kind", "namespace", "name"))


def identity_of_placed(item: Placed) -> str:
    """Name a placed object as stored assessments are named."""
    key = item.ref.key
    return f"{key.group}/{key.kind}/{key.namespace}/{key.name}"
