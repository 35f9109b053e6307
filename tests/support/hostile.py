"""Strategies for JSON values that nobody has validated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

_WORDS = st.sampled_from(
    [
        "",
        "True",
        "Failed",
        "CrashLoopBackOff",
        "2026-05-01T12:00:00Z",
        "api",
        "../x",
        "v1",
        "apps/v1",
        "Deployment",
        "Pod",
        "Job",
        "Secret",
        "a\nb",
        "\x00",
        "\u202e",
    ]
)
_KEYS = st.sampled_from(
    [
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "namespace",
        "labels",
        "annotations",
        "ownerReferences",
        "uid",
        "controller",
        "generation",
        "managedFields",
        "spec",
        "replicas",
        "template",
        "containers",
        "image",
        "volumes",
        "scaleTargetRef",
        "data",
        "stringData",
        "status",
        "phase",
        "conditions",
        "type",
        "reason",
        "message",
        "containerStatuses",
        "state",
        "waiting",
        "terminated",
        "lastState",
        "exitCode",
        "restartCount",
        "observedGeneration",
    ]
)
_LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.just(0.5) | _WORDS


def _wrap(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return _LEAVES | st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=3)


HOSTILE: st.SearchStrategy[Json] = _wrap(_wrap(_wrap(_LEAVES)))
"""JSON values four levels deep, made of the words and keys that rules look for."""

HOSTILE_OBJECTS: st.SearchStrategy[JsonObject] = st.dictionaries(_KEYS, HOSTILE, max_size=6)
"""Objects of such values."""

_KINDS = [
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "ReplicaSet"),
    ("batch/v1", "Job"),
    ("batch/v1", "CronJob"),
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "Secret"),
    ("v1", "ConfigMap"),
    ("v1", "PersistentVolumeClaim"),
    ("networking.k8s.io/v1", "Ingress"),
    ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    ("example.com/v1", "Widget"),
]


@st.composite
def named_objects(draw: st.DrawFn) -> dict[str, Json]:
    """Draw objects that have an identity of a kind with rules, and are hostile otherwise."""
    api_version, kind = draw(st.sampled_from(_KINDS))
    obj = dict(draw(HOSTILE_OBJECTS))
    metadata = obj.get("metadata")
    held = dict(metadata) if isinstance(metadata, dict) else {}
    obj.update(apiVersion=api_version, kind=kind)
    obj["metadata"] = {**held, "name": "x", "namespace": draw(st.sampled_from(["", "shop"]))}
    return obj
