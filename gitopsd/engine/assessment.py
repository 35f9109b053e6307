"""What applying one object would do: ownership, server-side dry-run, difference."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    Cluster,
)
from gitopsd.domain.manifests import ChangeAction, Json, JsonObject, ObjectChange, ObjectKey
from gitopsd.domain.verifications import Destination
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.placing import Placed
from gitopsd.engine.quota_checks import wish_of
from gitopsd.engine.refusals import raise_if_temporary, reason_of, sentence, status_of
from gitopsd.engine.step_context import StepContext
from gitopsd.kube.boundary import check_boundary, check_owner
from gitopsd.kube.canonical import digest_of
from gitopsd.kube.diffing import change_of
from gitopsd.kube.field_managers import (
    describe_losers,
    find_scaled,
    needs_migration,
    parse_losers,
    replicas_handover,
    strip_replicas,
    version_patch,
)
from gitopsd.kube.immutability import Recreation, decide_recreation, is_immutable_refusal
from gitopsd.kube.names import FIELD_MANAGER, ApplyMode, parse_adopt
from gitopsd.kube.objects import int_at, is_terminating, mapping_at, string_at
from gitopsd.kube.quotas import Wish
from gitopsd.kube.reach import BINDINGS, check_reach
from gitopsd.kube.statuses import StatusKind, classify

_FOUNDATIONS = frozenset({"Namespace", "Role", "ClusterRole"})
"""What has to be there before the server takes what names it; it may come with the same set."""


@dataclass(frozen=True, slots=True)
class Assessed:
    """What applying one object would do.

    Attributes:
        placed: The object.
        change: Its line in the change set; None when it was refused.
        refusal: (reason, sentence) of a definite refusal.
        version: Live resourceVersion that was seen; empty when it does not exist.
        generation: Live generation that was seen.
        digest: Digest of the bytes that would be sent.
        plain: Whether an apply of those bytes is all it takes.
        wish: What it takes of its namespace's quotas; None when it exists or nobody could say.
    """

    placed: Placed
    change: ObjectChange | None
    refusal: tuple[str, str] | None = None
    version: str = ""
    generation: int = 0
    digest: str = ""
    plain: bool = False
    wish: Wish | None = None


@dataclass(frozen=True, slots=True)
class Seen:
    """What Validate saw of an object, as far as Apply may go by it.

    Attributes:
        action: What an apply would do.
        version: Live resourceVersion; empty when it did not exist.
        generation: Live generation.
        digest: Digest of the bytes that would be sent.
        plain: Whether an apply of those bytes is all it takes.
        at: When it was seen.
    """

    action: ChangeAction
    version: str
    generation: int
    digest: str
    plain: bool
    at: datetime


async def assess_objects(
    context: StepContext, cluster: Cluster, placed: tuple[Placed, ...]
) -> tuple[Assessed, ...]:
    """Assess every object of a set, a bounded number at once.

    Raises:
        TemporaryError: The cluster did not answer for at least one of them.
    """
    scaled = find_scaled(item.obj for item in placed)
    coming = {item.ref.key for item in placed if item.ref.key.kind in _FOUNDATIONS}

    async def assess(item: Placed) -> Assessed:
        return await _assess(context, cluster, item, coming, scaled=item.ref.key in scaled)

    return tuple(await run_all(placed, assess, patience=context.services.clock))


def destination(context: StepContext) -> Destination:
    """Tell where the stage may write."""
    spec = context.spec
    return Destination(spec.cluster, spec.namespace, spec.namespaces, spec.service_account)


def refuse_outside(context: StepContext, item: Placed) -> tuple[str, str] | None:
    """Say why an object is not the stage's to write, whatever is live; None when it is."""
    into, given = destination(context), context.spec.cluster_scoped
    outside = check_boundary(
        item.ref, namespaced=bool(item.namespaced), destination=into, cluster_scoped=given
    ) or check_reach(item.obj, item.ref, destination=into, cluster_scoped=given)
    return (outside.reason, outside.message) if outside is not None else None


def refuse_owner(context: StepContext, item: Placed, live: JsonObject) -> tuple[str, str] | None:
    """Say why a live object may not be written: it is another's; None when it may."""
    owned = check_owner(
        live,
        application=context.application.name,
        stage=context.spec.name,
        adopt=parse_adopt(item.obj),
    )
    return (owned.reason, owned.message) if owned is not None else None


def body_to_send(item: Placed, *, exists: bool, scaled: bool) -> JsonObject:
    """Tell what an apply sends: an autoscaler's replicas are left to it once they are there."""
    return strip_replicas(item.obj) if scaled and exists else item.obj


async def _assess(
    context: StepContext, cluster: Cluster, item: Placed, coming: set[ObjectKey], *, scaled: bool
) -> Assessed:
    if item.namespaced is None:
        message = (
            f"{item.ref.key}: the cluster serves no {item.ref.api_version} {item.ref.key.kind}"
        )
        return Assessed(item, None, ("UnknownKind", message))
    outside = refuse_outside(context, item)
    if outside is not None:
        return Assessed(item, None, outside)
    if item.mode is ApplyMode.IGNORE:
        return Assessed(item, _skipped(item, "its annotation says that it is not written"))
    if not item.served:
        return Assessed(item, _later(item, "checked once its definition is there"))
    return await _ask(context, cluster, item, coming, scaled=scaled)


async def _ask(
    context: StepContext, cluster: Cluster, item: Placed, coming: set[ObjectKey], *, scaled: bool
) -> Assessed:
    tried: AppliedObject | ApiRefusal | None = None
    if scaled or item.mode is ApplyMode.IF_NOT_PRESENT:
        live = await cluster.get(item.ref)
    else:
        live, tried = await asyncio.gather(
            cluster.get(item.ref),
            cluster.apply(item.obj, manager=FIELD_MANAGER, force=False, dry_run=True),
        )
    if isinstance(live, ApiRefusal):
        raise_if_temporary(item.ref, live)
        return Assessed(item, None, (reason_of(live), sentence(item.ref, live)))
    owned = refuse_owner(context, item, live) if live is not None else None
    if owned is not None:
        return Assessed(item, None, owned)
    if live is not None and item.mode is ApplyMode.IF_NOT_PRESENT:
        return Assessed(item, _skipped(item, "it exists, and is only created where it does not"))
    body = body_to_send(item, exists=live is not None, scaled=scaled)
    expected = _with_live_replicas(body, live) if scaled and live is not None else body
    if tried is None:
        tried = await cluster.apply(expected, manager=FIELD_MANAGER, force=False, dry_run=True)
    notes = ["replicas left to the autoscaler"] if body is not item.obj else []
    if isinstance(tried, ApiRefusal) and classify(status_of(tried)) is StatusKind.FIELD_CONFLICT:
        notes.append(describe_losers(parse_losers(status_of(tried))))
        tried = await cluster.apply(expected, manager=FIELD_MANAGER, force=True, dry_run=True)
    if isinstance(tried, ApiRefusal):
        return _refused(item, live, tried, coming)
    return _changed(item, live, tried.live, body, notes)


async def try_object(
    cluster: Cluster, item: Placed, *, scaled: bool
) -> AppliedObject | ApiRefusal | None:
    """Ask the server what it says to an object now; None where it would be left as it is.

    Safe to repeat: dry-runs change nothing.

    Raises:
        TemporaryError: The cluster did not answer.
    """
    body = item.obj
    if scaled or item.mode is ApplyMode.IF_NOT_PRESENT:
        live = await cluster.get(item.ref)
        if isinstance(live, ApiRefusal):
            return live
        if live is not None and item.mode is ApplyMode.IF_NOT_PRESENT:
            return None
        if live is not None:
            body = _with_live_replicas(body_to_send(item, exists=True, scaled=scaled), live)
    return await cluster.apply(body, manager=FIELD_MANAGER, force=True, dry_run=True)


def _with_live_replicas(body: JsonObject, live: JsonObject) -> JsonObject:
    """Show a dry-run what will be once the replicas are handed over: they stay as they are."""
    handover = replicas_handover(live)
    if handover is None:
        return body
    spec = {**mapping_at(body, "spec"), **mapping_at(handover, "spec")}
    return {**body, "spec": spec}


def _changed(
    item: Placed, live: JsonObject | None, after: JsonObject, body: JsonObject, notes: list[str]
) -> Assessed:
    change = change_of(live, after, note="; ".join(notes))
    if live is None:
        wish = wish_of(item, after)
        return Assessed(item, change, digest=digest_of(body), plain=True, wish=wish)
    special = ""
    if is_terminating(live):
        special = "it is being deleted, and made anew when it is gone"
    elif item.mode is ApplyMode.OVERRIDE and needs_migration(live):
        special = "takes over the fields of kubectl, Argo CD or Flux"
    if special:
        note = "; ".join([*notes, special])
        change = replace(change, action=ChangeAction.CONFIGURED, note=note)
    handed = body is item.obj or replicas_handover(live) is None
    return Assessed(
        item,
        change,
        version=string_at(live, "metadata", "resourceVersion"),
        generation=int_at(live, "metadata", "generation") or 0,
        digest=digest_of(body),
        plain=not special and handed,
    )


def _refused(
    item: Placed, live: JsonObject | None, refusal: ApiRefusal, coming: set[ObjectKey]
) -> Assessed:
    status = status_of(refusal)
    kind = classify(status)
    if (
        kind is StatusKind.NAMESPACE_MISSING
        and ObjectKey("", "Namespace", "", item.ref.key.namespace) in coming
    ):
        return Assessed(item, _later(item, "checked once its namespace is there"))
    if kind is StatusKind.NOT_FOUND and item.ref.key.kind in BINDINGS and _role_of(item) in coming:
        wish = wish_of(item, item.obj) if live is None else None
        return Assessed(item, _later(item, "checked once its role is there"), wish=wish)
    if live is not None and kind is StatusKind.STALE_FIELDS and version_patch(live):
        note = "the API version of its managed fields is rewritten first"
        change = ObjectChange(item.ref, ChangeAction.CONFIGURED, note=note, checked=False)
        return Assessed(item, change)
    if live is not None and is_immutable_refusal(status):
        decision = decide_recreation(item.obj, status)
        if isinstance(decision, Recreation):
            note = "deleted and created anew: immutable field"
            return Assessed(item, change_of(live, item.obj, note=note))
        return Assessed(item, None, (decision.reason, decision.message))
    raise_if_temporary(item.ref, refusal)
    return Assessed(item, None, (reason_of(refusal), sentence(item.ref, refusal)))


def _role_of(item: Placed) -> ObjectKey:
    """Name the role that a binding names."""
    kind, name = string_at(item.obj, "roleRef", "kind"), string_at(item.obj, "roleRef", "name")
    namespace = item.ref.key.namespace if kind == "Role" else ""
    return ObjectKey(item.ref.key.group, kind, namespace, name)


def _later(item: Placed, note: str) -> ObjectChange:
    return ObjectChange(item.ref, ChangeAction.CREATED, note=note, checked=False)


def _skipped(item: Placed, note: str) -> ObjectChange:
    return ObjectChange(item.ref, ChangeAction.SKIPPED, note=note)


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
        "generation": item.generation,
        "digest": item.digest,
        "plain": item.plain,
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


def parse_seen(evidence: JsonObject | None) -> dict[str, Seen]:
    """Read back what Validate saw, by identity; nothing where the evidence says nothing."""
    objects = evidence.get("objects") if evidence is not None else None
    at = evidence.get("at") if evidence is not None else None
    if not isinstance(objects, list) or not isinstance(at, str):
        return {}
    seen = {}
    for item in objects:
        if isinstance(item, dict) and item.get("action") and item.get("digest"):
            generation = item.get("generation")
            seen[identity_of(item)] = Seen(
                action=ChangeAction(item["action"]),
                version=str(item.get("resourceVersion", "")),
                generation=generation if isinstance(generation, int) else 0,
                digest=str(item["digest"]),
                plain=item.get("plain") is True,
                at=datetime.fromisoformat(at),
            )
    return seen


def parse_untried(evidence: JsonObject | None) -> frozenset[str]:
    """Read back which objects Validate could not try, by identity."""
    objects = evidence.get("objects") if evidence is not None else None
    return frozenset(
        identity_of(item)
        for item in (objects if isinstance(objects, list) else ())
        if isinstance(item, dict) and item.get("checked") is False
    )


def identity_of(described: Mapping[str, Json]) -> str:
    """Name an object of a stored assessment the way `Placed` objects are named."""
    return "/".join(str(described.get(part, "")) for part in ("group", "kind", "namespace", "name"))


def identity_of_placed(item: Placed) -> str:
    """Name a placed object as stored assessments are named."""
    key = item.ref.key
    return f"{key.group}/{key.kind}/{key.namespace}/{key.name}"
