"""What ``kubectl get`` shows of each kind, on the simulated cluster as on the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support.raw_requests import MERGE, TABLE, send

if TYPE_CHECKING:
    from tests.support.cluster_client import ClusterClient
    from tests.support.control_plane import ControlPlane
    from tests.support.sandbox_server import SandboxServer

# These differ from one cluster, or one moment, to the next.
VOLATILE = frozenset({"Age", "Created At", "Cluster-IP", "Last Seen", "First Seen", "Duration"})
POD: dict[str, Any] = {
    "containers": [{"name": "a", "image": "registry.test/a:1"}],
    "schedulerName": "nobody",
}
JOB_POD = {**POD, "restartPolicy": "Never"}
LABELS = {"matchLabels": {"app": "a"}}
TEMPLATE: dict[str, Any] = {"metadata": {"labels": {"app": "a"}}, "spec": POD}
RBAC = "rbac.authorization.k8s.io"
SUBJECTS = [
    {"kind": "User", "apiGroup": RBAC, "name": "u"},
    {"kind": "Group", "apiGroup": RBAC, "name": "g"},
    {"kind": "ServiceAccount", "name": "s", "namespace": "n"},
]
INGRESS = {
    "ingressClassName": "plain",
    "tls": [{"hosts": ["a.test"]}],
    "rules": [{"host": f"{letter}.test"} for letter in "abcd"],
}
METRIC = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}},
}
REQUIREMENT = {"key": "tier", "operator": "NotIn", "values": ["b", "a"]}

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "configmaps": ("/api/v1", {"data": {"a": "b"}, "binaryData": {"c": "ZA=="}}),
    "cronjobs": (
        "/apis/batch/v1",
        {
            "spec": {
                "schedule": "@yearly",
                "suspend": True,
                "timeZone": "Europe/Madrid",
                "jobTemplate": {"spec": {"template": {"spec": JOB_POD}}},
            }
        },
    ),
    "deployments": (
        "/apis/apps/v1",
        {"spec": {"replicas": 0, "selector": LABELS, "template": TEMPLATE}},
    ),
    "endpointslices": (
        "/apis/discovery.k8s.io/v1",
        {
            "addressType": "IPv4",
            "endpoints": [{"addresses": [f"10.1.1.{number}"]} for number in range(1, 6)],
            "ports": [{"name": "http", "port": 80}, {"name": "any"}],
        },
    ),
    "horizontalpodautoscalers": (
        "/apis/autoscaling/v2",
        {
            "spec": {
                "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "no"},
                "metrics": [METRIC],
            }
        },
    ),
    "ingresses": (
        "/apis/networking.k8s.io/v1",
        {"spec": {**INGRESS, "defaultBackend": {"service": {"name": "b", "port": {"number": 1}}}}},
    ),
    "leases": ("/apis/coordination.k8s.io/v1", {"spec": {"holderIdentity": "me"}}),
    "limitranges": ("/api/v1", {"spec": {"limits": []}}),
    "networkpolicies": (
        "/apis/networking.k8s.io/v1",
        {"spec": {"podSelector": {**LABELS, "matchExpressions": [REQUIREMENT]}}},
    ),
    "persistentvolumeclaims": (
        "/api/v1",
        {
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "none",
                "resources": {"requests": {"storage": "1Gi"}},
            }
        },
    ),
    "pods": ("/api/v1", {"spec": POD}),
    "poddisruptionbudgets": ("/apis/policy/v1", {"spec": {"maxUnavailable": "30%"}}),
    "replicasets": (
        "/apis/apps/v1",
        {"spec": {"replicas": 0, "selector": LABELS, "template": TEMPLATE}},
    ),
    "rolebindings": (
        f"/apis/{RBAC}/v1",
        {"roleRef": {"apiGroup": RBAC, "kind": "Role", "name": "r"}, "subjects": SUBJECTS},
    ),
    "roles": (f"/apis/{RBAC}/v1", {"rules": []}),
    "secrets": ("/api/v1", {"type": "Opaque", "data": {"a": "Yg=="}}),
    "serviceaccounts": ("/api/v1", {}),
    "services": (
        "/api/v1",
        {
            "spec": {
                "selector": {"app": "a"},
                "externalIPs": ["10.9.9.9"],
                "ports": [{"name": "a", "port": 80}, {"name": "b", "port": 53, "protocol": "UDP"}],
            }
        },
    ),
    "statefulsets": (
        "/apis/apps/v1",
        {
            "spec": {
                "replicas": 0,
                "serviceName": "s",
                "selector": LABELS,
                "template": TEMPLATE,
            }
        },
    ),
}
STATUSES: dict[str, dict[str, Any]] = {
    "waits": {
        "phase": "Pending",
        "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}],
    },
    "runs": {
        "phase": "Running",
        "podIP": "10.1.1.1",
        "podIPs": [{"ip": "10.1.1.1"}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "containerStatuses": [
            {"ready": True, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
        ],
    },
    "failed": {
        "phase": "Failed",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 3}}}],
    },
    "done": {
        "phase": "Succeeded",
        "containerStatuses": [{"state": {"terminated": {"exitCode": 0, "reason": "Completed"}}}],
    },
    "evicted": {"phase": "Failed", "reason": "Evicted"},
    "begins": {
        "phase": "Pending",
        "initContainerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}],
    },
    "gated": {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}],
    },
}


def cells(client: ClusterClient, path: str) -> tuple[list[tuple[Any, ...]], list[Any]]:
    """The columns of a table, and the cells of its only row that are the same anywhere."""
    table = send(client, "GET", path, Accept=TABLE).body
    columns = table["columnDefinitions"]
    described = [(item["name"], item["type"], item["format"], item["priority"]) for item in columns]
    row = table["rows"][0]["cells"]
    kept = [cell for item, cell in zip(columns, row, strict=True) if item["name"] not in VOLATILE]
    return described, kept


@pytest.fixture
def places(
    sandbox_server: SandboxServer,
    sandbox_namespace: str,
    control_plane: ControlPlane,
    namespace: str,
) -> list[tuple[ClusterClient, str]]:
    """A namespace of each cluster: the simulated one first."""
    return [(sandbox_server.client, sandbox_namespace), (control_plane.client, namespace)]


@pytest.mark.parametrize("plural", CASES)
def test_a_kind_is_shown_alike(places: list[tuple[ClusterClient, str]], plural: str) -> None:
    """Columns and cells of the same object are the same."""
    root, content = CASES[plural]
    shown = []
    for client, namespace in places:
        collection = f"{root}/namespaces/{namespace}/{plural}"
        client.create(collection, {"metadata": {"name": "one"}, **content})
        shown.append(cells(client, f"{collection}/one"))

    assert shown[0] == shown[1]


@pytest.mark.parametrize("state", STATUSES)
def test_a_pod_is_shown_alike_in_every_state(
    places: list[tuple[ClusterClient, str]], state: str
) -> None:
    """READY, STATUS and RESTARTS of the same status are the same."""
    spec = {**POD, "initContainers": [{"name": "i", "image": "registry.test/i:1"}]}
    status = {**STATUSES[state]}
    for name, container in (("containerStatuses", "a"), ("initContainerStatuses", "i")):
        if name in status:
            bare = {"name": container, "image": "", "imageID": "", "restartCount": 2}
            status[name] = [{"ready": False, **bare, **item} for item in status[name]]
    shown = []
    for client, namespace in places:
        path = f"/api/v1/namespaces/{namespace}/pods"
        client.create(path, {"metadata": {"name": "one"}, "spec": spec})
        done = send(client, "PATCH", f"{path}/one/status", {"status": status}, Content_Type=MERGE)
        assert done.status == 200, done.body
        shown.append(cells(client, f"{path}/one"))

    assert shown[0] == shown[1]
