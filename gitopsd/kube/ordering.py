"""In which order objects are applied and deleted.

Theory: three apply stages, as Flux stages them. Definitions come first, because nothing of their
kind or inside them can exist before; then what others name, class kinds and Roles: a server looks
up the role that a binding names, so that what it says to the binding is known only when the role
is there; then all the rest, wave by wave, and inside a wave kind by kind. Deleting goes the other
way round.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, TypeAlias

from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.kube.names import parse_wave
from gitopsd.kube.objects import parse_ref

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from gitopsd.domain.manifests import JsonObject

OrderKey: TypeAlias = tuple[int, int, int, str, str, str, str]
"""(stage, wave, rank of the kind, kind, group, namespace, name)."""

_Keyed: TypeAlias = "list[tuple[OrderKey, JsonObject]]"

DEFINITIONS_STAGE = 1
NAMED_STAGE = 2
REST_STAGE = 3

_RANKED_KINDS = (
    "CustomResourceDefinition",
    "Namespace",
    "ResourceQuota",
    "LimitRange",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "NetworkPolicy",
    "RoleBinding",
    "ConfigMap",
    "Secret",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "Service",
    "",  # every other kind
    "DaemonSet",
    "Pod",
    "ReplicationController",
    "ReplicaSet",
    "StatefulSet",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "Job",
    "CronJob",
    "Ingress",
    "APIService",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
    "MutatingWebhookConfiguration",
    "ValidatingWebhookConfiguration",
)
_RANKS = {kind: rank for rank, kind in enumerate(_RANKED_KINDS)}
_OTHER_RANK = _RANKS[""]
_ACCOUNT_RANK = _RANKS["ServiceAccount"]
_DEFINITIONS = frozenset({"CustomResourceDefinition", "Namespace", "ClusterRole"})
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "extensions", "policy"})


@dataclass(frozen=True, slots=True)
class ApplyBatch:
    """Objects that are sent together, before anything of the next batch.

    Attributes:
        stage: 1 for definitions, 2 for what others name, 3 for the rest.
        wave: Sync wave; always 0 in stages 1 and 2, which come before any wave.
        objects: In apply order.
    """

    stage: int
    wave: int
    objects: tuple[JsonObject, ...]


def is_built_in(group: str) -> bool:
    """Whether a group is one of Kubernetes' own; a Knative ``Service`` is no core one."""
    return group in _BUILT_IN_GROUPS or group.endswith(".k8s.io")


def compute_stage(key: ObjectKey) -> int:
    """Tell the apply stage of an object: 1 definitions, 2 what others name, 3 the rest."""
    if key.kind in _DEFINITIONS and is_built_in(key.group):
        return DEFINITIONS_STAGE
    named = key.kind.endswith("Class") or (key.kind == "Role" and is_built_in(key.group))
    return NAMED_STAGE if named else REST_STAGE


def compute_order_key(obj: JsonObject) -> OrderKey:
    """Make the key that sorts objects into apply order.

    Raises:
        PermanentError: ``InvalidObject``, when the object has no identity.
    """
    key = parse_ref(obj).key
    wave = parse_wave(obj) if compute_stage(key) == REST_STAGE else 0
    return _order(key, wave)


def _order(key: ObjectKey, wave: int) -> OrderKey:
    rank = _RANKS.get(key.kind, _OTHER_RANK) if is_built_in(key.group) else _OTHER_RANK
    return (compute_stage(key), wave, rank, key.kind, key.group, key.namespace, key.name)


def sort_for_apply(objects: Iterable[JsonObject]) -> tuple[JsonObject, ...]:
    """Sort objects into apply order.

    Raises:
        PermanentError: ``InvalidObject``, when an object has no identity.
    """
    return tuple(sorted(objects, key=compute_order_key))


def apply_batches(objects: Iterable[JsonObject]) -> tuple[ApplyBatch, ...]:
    """Split objects into batches: one for each stage, and for each wave inside stage 3.

    Raises:
        PermanentError: ``InvalidObject``, when an object has no identity.
    """
    keyed = sorted(((compute_order_key(obj), obj) for obj in objects), key=lambda pair: pair[0])
    return tuple(
        ApplyBatch(stage, wave, tuple(obj for _, obj in group))
        for (stage, wave), group in groupby(keyed, key=lambda pair: pair[0][:2])
    )


def apply_stages(objects: Iterable[JsonObject]) -> tuple[tuple[JsonObject, ...], ...]:
    """Split objects as `apply_batches` does, without saying which stage and wave a batch is.

    Raises:
        PermanentError: ``InvalidObject``, when an object has no identity.
    """
    return tuple(batch.objects for batch in apply_batches(objects))


_TIER_ENDS = (_RANKS["NetworkPolicy"], _OTHER_RANK, _RANKS["Ingress"])
"""Last ranks of the tiers that objects of the third stage are sent in."""


def split_tiers(
    objects: Iterable[JsonObject], standing: Collection[ObjectKey] = ()
) -> tuple[tuple[JsonObject, ...], ...]:
    """Split the objects of one batch into tiers; those of a tier may be sent all at once.

    What limits and who may (quotas, accounts, network policies) comes first; then who binds roles
    and what pods read (configuration, volumes, services, custom resources); then what runs; and
    last, each kind by itself, what stands between the server and everybody else: API services,
    admission policies, webhooks.

    Accounts that stand are sent with the second tier: nobody has to wait for them to be made. Not
    so where that tier has custom resources, which may run pods: a pod takes what its account says
    at that moment. For the same reason what runs waits for all it reads, standing or not, and what
    limits comes first.

    Args:
        objects: Objects with their final namespaces.
        standing: Objects that exist, as far as anybody looked.

    Raises:
        PermanentError: ``InvalidObject``, when an object has no identity.
    """
    keyed = sorted(((compute_order_key(obj), obj) for obj in objects), key=lambda pair: pair[0])
    return tuple(
        tuple(obj for _, obj in tier)
        for tier in _join_accounts(
            [list(group) for _, group in groupby(keyed, key=lambda pair: _tier(pair[0]))], standing
        )
    )


def _join_accounts(tiers: list[_Keyed], standing: Collection[ObjectKey]) -> list[_Keyed]:
    """Join tiers of nothing but standing accounts with those that follow them and run nothing."""
    joined: list[_Keyed] = []
    for tier in tiers:
        before = joined[-1] if joined else []
        if before and _may_join(before, tier, standing):
            joined[-1] = before + tier
        else:
            joined.append(tier)
    return joined


def _may_join(before: _Keyed, tier: _Keyed, standing: Collection[ObjectKey]) -> bool:
    same_wave = before[0][0][:2] == tier[0][0][:2]
    stand = all(key[2] == _ACCOUNT_RANK and parse_ref(obj).key in standing for key, obj in before)
    return same_wave and stand and all(key[2] < _OTHER_RANK for key, _ in tier)


def _tier(key: OrderKey) -> tuple[int, int, int]:
    stage, wave, rank = key[:3]
    tier = next((number for number, end in enumerate(_TIER_ENDS) if rank <= end), rank)
    return (stage, wave, tier if stage == REST_STAGE else 0)


def prune_order(refs: Iterable[ObjectRef]) -> tuple[ObjectRef, ...]:
    """Sort objects into the order of deletion: the apply order backwards, waves not counted."""
    return tuple(sorted(refs, key=lambda ref: _order(ref.key, 0), reverse=True))
