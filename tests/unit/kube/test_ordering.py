"""In which order objects are applied and deleted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError
from gitopsd.kube import ordering
from gitopsd.kube.objects import kind_of, name_of

API = {
    "CustomResourceDefinition": "apiextensions.k8s.io/v1",
    "ClusterRole": "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding": "rbac.authorization.k8s.io/v1",
    "Role": "rbac.authorization.k8s.io/v1",
    "RoleBinding": "rbac.authorization.k8s.io/v1",
    "NetworkPolicy": "networking.k8s.io/v1",
    "Ingress": "networking.k8s.io/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "Deployment": "apps/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
    "PodDisruptionBudget": "policy/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
    "APIService": "apiregistration.k8s.io/v1",
    "ValidatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "ValidatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "MutatingAdmissionPolicy": "admissionregistration.k8s.io/v1",
    "MutatingAdmissionPolicyBinding": "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration": "admissionregistration.k8s.io/v1",
    "StorageClass": "storage.k8s.io/v1",
    "IngressClass": "networking.k8s.io/v1",
    "GatewayClass": "gateway.networking.k8s.io/v1",
    "PriorityClass": "scheduling.k8s.io/v1",
    "RuntimeClass": "node.k8s.io/v1",
    "Widget": "example.com/v1",
}

APPLY_ORDER = (
    ["CustomResourceDefinition", "Namespace", "ClusterRole"],
    ["Role", "GatewayClass", "IngressClass", "PriorityClass", "RuntimeClass", "StorageClass"],
    [
        "ResourceQuota",
        "LimitRange",
        "ServiceAccount",
        "ClusterRoleBinding",
        "NetworkPolicy",
        "RoleBinding",
        "ConfigMap",
        "Secret",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "Service",
        "Widget",
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
    ],
)


def make(kind: str, name: str = "x", wave: str = "", namespace: str = "shop") -> JsonObject:
    """Make an object of a kind."""
    annotations = {"gitopsd.io/sync-wave": wave} if wave else {}
    metadata: Json = {"name": name, "namespace": namespace, "annotations": annotations}
    return {"apiVersion": API.get(kind, "v1"), "kind": kind, "metadata": metadata}


def ref(kind: str, name: str = "x") -> ObjectRef:
    """Make a reference to an object of a kind."""
    group, _, version = API.get(kind, "v1").rpartition("/")
    return ObjectRef(ObjectKey(group, kind, "shop", name), version)


@given(st.permutations([kind for stage in APPLY_ORDER for kind in stage]))
def test_kinds_are_applied_in_their_order(kinds: list[str]) -> None:
    """Definitions, what others name, then the rest, each in the order of the table."""
    stages = ordering.apply_stages([make(kind) for kind in kinds])
    assert [[kind_of(obj) for obj in stage] for stage in stages] == [list(k) for k in APPLY_ORDER]


@given(st.permutations([kind for stage in APPLY_ORDER for kind in stage]))
def test_kinds_are_deleted_backwards(kinds: list[str]) -> None:
    """What was applied last is deleted first."""
    flat = [kind for stage in APPLY_ORDER for kind in stage]
    pruned = ordering.prune_order([ref(kind) for kind in kinds])
    assert [found.key.kind for found in pruned] == flat[::-1]


def test_waves_come_inside_the_last_stage_only() -> None:
    """A wave is a batch of its own; definitions, class kinds and roles come before any wave."""
    batches = ordering.apply_batches(
        [
            make("Deployment", "b"),
            make("Deployment", "a"),
            make("Service", "late", wave="2"),
            make("Job", "early", wave="-1"),
            make("ConfigMap", "early", wave="-1"),
            make("Namespace", "n", wave="7"),
            make("PriorityClass", "p", wave="-7"),
            make("Role", "r", wave="7"),
        ]
    )
    said = [
        (batch.stage, batch.wave, [(kind_of(obj), name_of(obj)) for obj in batch.objects])
        for batch in batches
    ]
    assert said == [
        (1, 0, [("Namespace", "n")]),
        (2, 0, [("Role", "r"), ("PriorityClass", "p")]),
        (3, -1, [("ConfigMap", "early"), ("Job", "early")]),
        (3, 0, [("Deployment", "a"), ("Deployment", "b")]),
        (3, 2, [("Service", "late")]),
    ]


def test_nothing_makes_no_batches() -> None:
    """An empty set has no stages."""
    assert ordering.apply_stages([]) == ()
    assert ordering.prune_order([]) == ()


def test_equal_kinds_are_sorted_by_identity() -> None:
    """Namespace, then name: the same set is always applied in the same order."""
    objects = [make("Secret", "a", namespace="z"), make("Secret", "b", namespace="a")]
    assert ordering.sort_for_apply(objects) == (objects[1], objects[0])
    assert ordering.sort_for_apply(objects[::-1]) == (objects[1], objects[0])


def test_a_kind_of_another_group_is_not_the_built_in_one() -> None:
    """A Knative Service is an unknown kind, a Rancher Namespace no definition, nor its Role one."""
    knative: JsonObject = {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {"name": "k"},
    }
    rancher: JsonObject = {
        "apiVersion": "r.example.com/v1",
        "kind": "Namespace",
        "metadata": {"name": "n"},
    }
    assert ordering.compute_order_key(knative) == (
        3,
        0,
        15,
        "Service",
        "serving.knative.dev",
        "",
        "k",
    )
    assert ordering.compute_order_key(rancher)[0] == 3
    assert ordering.compute_order_key({**rancher, "kind": "Role"})[0] == 3
    ranks = [ordering.compute_order_key(make(kind))[2] for kind in APPLY_ORDER[0]]
    assert ranks == [0, 1, 5]
    assert ordering.compute_order_key(make("Service"))[2] == 14
    assert ordering.compute_order_key(make("DaemonSet"))[2] == 16


@pytest.mark.parametrize(
    "group, built_in",
    [
        ("", True),
        ("apps", True),
        ("autoscaling", True),
        ("batch", True),
        ("extensions", True),
        ("policy", True),
        ("rbac.authorization.k8s.io", True),
        ("k8s.io", False),
        ("example.com", False),
        ("k8s.io.example.com", False),
    ],
)
def test_built_in_groups(group: str, *, built_in: bool) -> None:
    """Kubernetes' own groups have one word, or end in ``.k8s.io``."""
    assert ordering.is_built_in(group) is built_in


def test_an_object_without_identity_is_refused() -> None:
    """It has no place in any order."""
    with pytest.raises(PermanentError):
        ordering.apply_stages([{"kind": "Service"}])
