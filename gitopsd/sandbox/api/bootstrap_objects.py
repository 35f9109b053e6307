"""What a cluster has before anybody has asked it for anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.identity import MASTERS
from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.api.rights import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, GROUP

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore

MANAGER = "kube-apiserver"
NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
KUBERNETES_ADDRESS = "10.96.0.1"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_WORKLOADS: dict[str, tuple[str, ...]] = {
    "": (
        "configmaps",
        "endpoints",
        "events",
        "persistentvolumeclaims",
        "pods",
        "pods/log",
        "resourcequotas",
        "serviceaccounts",
        "services",
    ),
    "apps": (
        "controllerrevisions",
        "daemonsets",
        "deployments",
        "deployments/scale",
        "replicasets",
        "replicasets/scale",
        "statefulsets",
        "statefulsets/scale",
    ),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "discovery.k8s.io": ("endpointslices",),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "policy": ("poddisruptionbudgets",),
}
_CRITICAL = "Used for system critical pods that must"
_CLASSES = (
    (
        "system-cluster-critical",
        2000000000,
        f"{_CRITICAL} run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2000001000,
        f"{_CRITICAL} not be moved from their current node.",
    ),
)


def create_bootstrap_objects(store: ObjectStore) -> None:
    """Create them in an empty store."""
    for key, obj in _objects():
        # The classes' names are kept from everybody, whoever asks for them.
        store.create(key, obj, manager="" if key.resource == "priorityclasses" else MANAGER)


def _objects() -> Iterator[tuple[Key, JsonObject]]:
    for name in NAMESPACES:
        yield Key("", "namespaces", "", name), _namespace(name)
    yield Key("", "services", "default", "kubernetes"), _service()
    for name, rules in _roles().items():
        yield Key(*CLUSTER_ROLES, "", name), _role(name, rules)
    yield Key(*CLUSTER_ROLE_BINDINGS, "", "cluster-admin"), _binding()
    for name, value, description in _CLASSES:
        group = "scheduling.k8s.io"
        yield (
            Key(group, "priorityclasses", "", name),
            {
                "apiVersion": f"{group}/v1",
                "kind": "PriorityClass",
                "metadata": {"name": name},
                "value": value,
                "description": description,
                "preemptionPolicy": "PreemptLowerPriority",
            },
        )


def _namespace(name: str) -> JsonObject:
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    }


def _service() -> JsonObject:
    port: JsonObject = {"name": "https", "protocol": "TCP", "port": 443, "targetPort": 6443}
    labels = {"component": "apiserver", "provider": "kubernetes"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": KUBERNETES_ADDRESS,
            "clusterIPs": [KUBERNETES_ADDRESS],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [port],
        },
        "status": {"loadBalancer": {}},
    }


def _roles() -> dict[str, list[Json]]:
    everything: Json = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    paths: Json = {"nonResourceURLs": ["*"], "verbs": ["*"]}
    secrets: Json = {"apiGroups": [""], "resources": ["secrets"], "verbs": [*_READ, *_WRITE]}
    rights: Json = {
        "apiGroups": [GROUP],
        "resources": ["rolebindings", "roles"],
        "verbs": [*_READ, *_WRITE],
    }
    namespaces: Json = {"apiGroups": [""], "resources": ["namespaces"], "verbs": list(_READ)}
    view = [*_rules(_READ), namespaces]
    edit = [*_rules((*_READ, *_WRITE)), secrets, namespaces]
    return {
        "cluster-admin": [everything, paths],
        "admin": [*edit, rights],
        "edit": edit,
        "view": view,
    }


def _rules(verbs: tuple[str, ...]) -> list[Json]:
    return [
        {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}
        for group, resources in _WORKLOADS.items()
    ]


def _role(name: str, rules: list[Json]) -> JsonObject:
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": _LABELS},
        "rules": rules,
    }


def _binding() -> JsonObject:
    subject = {"kind": "Group", "apiGroup": GROUP, "name": MASTERS}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "cluster-admin", "labels": _LABELS},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [subject],
    }
