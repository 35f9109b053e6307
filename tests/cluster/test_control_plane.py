"""What the tests' control plane is: a whole, current Kubernetes, strict with every client."""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from tests.cluster.conftest import PaperNode
from tests.support.cluster_client import ApiError
from tests.support.control_plane import ControlPlane
from tests.support.processes import ServerProcess, wait_until

_SOON = timedelta(seconds=30)
_GO_MOD = Path(__file__).parents[1] / "envtest" / "kubernetes" / "go.mod"


def _wait(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, what=what, within=_SOON)


def _pod(name: str, **spec: Json) -> dict[str, Any]:
    container = {"name": "app", "image": "registry.test/app:1"}
    return {
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], **spec},
    }


def _on(node: PaperNode) -> dict[str, Json]:
    """Return the part of a pod's spec that puts it on ``node`` and no other."""
    return {
        "nodeSelector": {"kubernetes.io/hostname": node.name},
        "tolerations": [node.toleration],
    }


def _refusal(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, str(error.value.answer["reason"])


def test_the_servers_are_the_pinned_release_and_at_most_one_minor_from_kubectl(
    control_plane: ControlPlane,
) -> None:
    """The API server reports the release in go.mod, and kubectl's minor is at most one away."""
    result = control_plane.run_kubectl("version", "-o", "json")
    versions = json.loads(result.stdout)
    server, client = versions["serverVersion"], versions["clientVersion"]
    pinned = re.search(r"\tk8s\.io/kubernetes (v\S+)", _GO_MOD.read_text(encoding="utf-8"))
    assert pinned is not None
    assert server["gitVersion"] == pinned[1]
    assert server["gitVersion"].startswith(f"v{server['major']}.{server['minor']}.")
    assert server["major"] == client["major"]
    assert abs(int(server["minor"]) - int(client["minor"])) <= 1
    if server["gitVersion"] == client["gitVersion"]:
        assert server["gitCommit"] == client["gitCommit"]
        assert server["buildDate"] == client["buildDate"]


def test_server_side_apply_keeps_who_owns_which_field(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A server-side apply is kept, and a second owner of a field is told of the first."""
    settings = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "settings", "namespace": namespace},
        "data": {"level": "info"},
    }

    def apply(level: str, manager: str) -> tuple[int, str]:
        result = control_plane.run_kubectl(
            *("apply", "--server-side", f"--field-manager={manager}", "-f", "-"),
            stdin=json.dumps({**settings, "data": {"level": level}}),
        )
        return result.returncode, result.stdout + result.stderr

    assert apply("info", "first") == (0, "configmap/settings serverside-applied\n")
    code, said = apply("debug", "second")
    assert code == 1
    assert 'conflict with "first": .data.level' in said
    path = f"/api/v1/namespaces/{namespace}/configmaps/settings"
    live = control_plane.client.get(path)
    assert live["data"] == {"level": "info"}
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["first"]


def test_a_user_without_rights_is_forbidden(control_plane: ControlPlane, namespace: str) -> None:
    """A known user that nothing was granted to may look at nothing."""
    alice = control_plane.kubeconfig_for("alice", ("developers",))
    result = control_plane.run_kubectl("get", "pods", "--namespace", namespace, kubeconfig=alice)
    assert result.returncode == 1
    assert "Error from server (Forbidden)" in result.stderr
    assert 'User "alice" cannot list resource "pods"' in result.stderr


def test_a_binding_gives_a_group_its_rights(control_plane: ControlPlane, namespace: str) -> None:
    """RBAC counts the groups of a client certificate."""
    group = "rbac.authorization.k8s.io"
    control_plane.client.create(
        f"/apis/{group}/v1/namespaces/{namespace}/rolebindings",
        {
            "metadata": {"name": "readers"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "readers"}],
        },
    )
    bob = control_plane.kubeconfig_for("bob", ("readers",))

    def may_read() -> bool:
        command = ("get", "pods", "--namespace", namespace)
        return control_plane.run_kubectl(*command, kubeconfig=bob).returncode == 0

    _wait(may_read, "the binding to count")
    create = control_plane.run_kubectl(
        "auth", "can-i", "create", "pods", "--namespace", namespace, kubeconfig=bob
    )
    assert create.stdout == "no\n"


def test_gitopsd_has_the_rights_it_documents_and_no_more(
    control_plane: ControlPlane, namespace: str
) -> None:
    """The shipped role lets gitopsd deploy, and does not make it an administrator."""
    gitopsd = control_plane.gitopsd_kubeconfig()
    whoami = control_plane.run_kubectl("auth", "whoami", "-o", "json", kubeconfig=gitopsd)
    user = json.loads(whoami.stdout)["status"]["userInfo"]
    assert user["username"] == "system:serviceaccount:gitopsd:gitopsd"
    assert "system:masters" not in user["groups"]

    def may(*what: str) -> str:
        return control_plane.run_kubectl("auth", "can-i", *what, kubeconfig=gitopsd).stdout.strip()

    assert may("patch", "deployments.apps", "--namespace", namespace) == "yes"
    assert may("get", "pods", "--subresource=log", "--namespace", namespace) == "yes"
    assert may("get", "services", "--subresource=proxy", "--namespace", namespace) == "yes"
    assert may("create", "namespaces") == "yes"
    assert may("delete", "namespaces") == "no"
    assert may("create", "clusterrolebindings.rbac.authorization.k8s.io") == "no"
    assert may("create", "pods", "--subresource=exec", "--namespace", namespace) == "no"
    assert may("impersonate", "serviceaccounts", "--namespace", namespace) == "no"


def test_the_audit_log_says_who_did_what_and_holds_no_bodies(
    control_plane: ControlPlane, namespace: str
) -> None:
    """Each answered request is one event with user, verb, object, code and client; no secrets."""
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]}
    writer = control_plane.make_account(namespace, "writer", [rule])
    before = control_plane.audit_length()
    result = control_plane.run_kubectl(
        *("create", "secret", "generic", "password", "--from-literal=value=not-to-be-logged"),
        *("--namespace", namespace),
        kubeconfig=writer,
    )
    assert result.returncode == 0, result.stderr
    found: list[dict[str, Any]] = []

    def is_recorded() -> bool:
        found[:] = [
            event
            for event in control_plane.audit_events(before)
            if event.get("objectRef", {}).get("name") == "password"
            and event["objectRef"].get("namespace") == namespace
        ]
        return bool(found)

    _wait(is_recorded, "the audit event")
    (event,) = found
    assert event["stage"] == "ResponseComplete"
    assert event["user"]["username"] == f"system:serviceaccount:{namespace}:writer"
    assert event["verb"] == "create"
    assert event["objectRef"]["resource"] == "secrets"
    assert event["requestURI"].startswith(f"/api/v1/namespaces/{namespace}/secrets?")
    assert event["responseStatus"]["code"] == 201
    assert event["userAgent"].startswith("kubectl/")
    assert "not-to-be-logged" not in control_plane.paths.audit.read_text(encoding="utf-8")


def test_the_controllers_turn_a_deployment_into_pods(
    control_plane: ControlPlane, namespace: str
) -> None:
    """A Deployment gets a ReplicaSet, the ReplicaSet its pods, and each names its owner."""
    labels = {"app": "shop"}
    template = {**_pod("ignored"), "metadata": {"labels": labels}}
    control_plane.client.create(
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        {
            "metadata": {"name": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
        },
    )
    pods = f"/api/v1/namespaces/{namespace}/pods"
    _wait(lambda: len(control_plane.client.get(pods)["items"]) == 2, "two pods")
    sets = control_plane.client.get(f"/apis/apps/v1/namespaces/{namespace}/replicasets")["items"]
    assert [entry["metadata"]["ownerReferences"][0]["name"] for entry in sets] == ["shop"]
    owners = {
        pod["metadata"]["ownerReferences"][0]["name"]
        for pod in control_plane.client.get(pods)["items"]
    }
    assert owners == {sets[0]["metadata"]["name"]}


def test_the_scheduler_binds_a_pod_to_a_node_with_room(
    control_plane: ControlPlane, namespace: str, paper_node: PaperNode
) -> None:
    """A pod that fits is bound; one that asks for too much stays pending and says why."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    control_plane.client.create(pods, _pod("fits", **_on(paper_node)))
    huge = _pod("huge", **_on(paper_node))
    huge["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "64"}}
    control_plane.client.create(pods, huge)

    def node_of_fits() -> str | None:
        node: str | None = control_plane.client.get(f"{pods}/fits")["spec"].get("nodeName")
        return node

    def reason_of_huge() -> str:
        conditions = control_plane.client.get(f"{pods}/huge")["status"].get("conditions", [])
        return " ".join(f"{entry.get('reason')}: {entry.get('message')}" for entry in conditions)

    _wait(lambda: node_of_fits() is not None, "the pod to be bound")
    assert node_of_fits() == paper_node.name
    _wait(lambda: "Unschedulable" in reason_of_huge(), "the scheduler's reason")
    assert "Insufficient cpu" in reason_of_huge()


def test_nothing_is_made_in_a_namespace_that_is_not_there(control_plane: ControlPlane) -> None:
    """Namespace life cycle is admitted as upstream does it."""
    with pytest.raises(ApiError, match='namespaces "nowhere" not found') as error:
        control_plane.client.create("/api/v1/namespaces/nowhere/pods", _pod("lost"))
    assert _refusal(error) == (404, "NotFound")


def test_a_limit_range_sets_defaults_and_bounds(
    control_plane: ControlPlane, namespace: str
) -> None:
    """LimitRanger fills in what a pod leaves out and refuses what is above the maximum."""
    limit: JsonObject = {"type": "Container", "default": {"cpu": "200m"}, "max": {"cpu": "1"}}
    base = f"/api/v1/namespaces/{namespace}"
    control_plane.client.create(
        f"{base}/limitranges", {"metadata": {"name": "bounds"}, "spec": {"limits": [limit]}}
    )
    greedy = _pod("greedy")
    greedy["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "2"}}

    def is_refused() -> bool:
        # Admission sees a new LimitRange through its own watch, a moment later.
        try:
            control_plane.client.create(f"{base}/pods?dryRun=All", greedy)
        except ApiError as error:
            return "maximum cpu usage per Container is 1, but limit is 2" in str(error)
        return False

    _wait(is_refused, "the bound to count")
    made = control_plane.client.create(f"{base}/pods", _pod("modest"))
    assert made["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "200m"}


def test_a_full_quota_refuses_the_next_object(control_plane: ControlPlane, namespace: str) -> None:
    """ResourceQuota counts, and says what is used and what is allowed."""
    base = f"/api/v1/namespaces/{namespace}"
    quota: JsonObject = {"metadata": {"name": "pods"}, "spec": {"hard": {"pods": "1"}}}
    control_plane.client.create(f"{base}/resourcequotas", quota)
    _wait(
        lambda: "hard" in control_plane.client.get(f"{base}/resourcequotas/pods")["status"],
        "the quota to be counted",
    )
    control_plane.client.create(f"{base}/pods", _pod("one"))
    with pytest.raises(ApiError, match="exceeded quota: pods, requested: pods=1") as error:
        control_plane.client.create(f"{base}/pods", _pod("two"))
    assert _refusal(error) == (403, "Forbidden")


def test_pod_security_refuses_what_the_namespace_forbids(
    control_plane: ControlPlane, namespace: str
) -> None:
    """PodSecurity obeys the namespace's label."""
    control_plane.client.request(
        "PATCH",
        f"/api/v1/namespaces/{namespace}",
        {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}},
        content_type="application/merge-patch+json",
    )
    privileged = _pod("privileged", hostNetwork=True)
    with pytest.raises(ApiError, match='violates PodSecurity "baseline:latest"') as error:
        control_plane.client.create(f"/api/v1/namespaces/{namespace}/pods", privileged)
    assert _refusal(error) == (403, "Forbidden")


def test_the_service_proxy_reaches_a_pod_address(
    control_plane: ControlPlane, namespace: str, paper_node: PaperNode, tmp_path: Path
) -> None:
    """A process on a pod's address is reached through the API server, and directly too."""
    client, address = control_plane.client, str(control_plane.network.pods[-2])
    (tmp_path / "health").write_text("well", encoding="utf-8")
    server = ServerProcess.start(
        "pod",
        [sys.executable, "-m", "http.server", "8080", "--bind", address, "-d", str(tmp_path)],
        tmp_path / "log",
        prefix=control_plane.network.prefix,
    )
    base = f"/api/v1/namespaces/{namespace}"
    port: JsonObject = {"name": "http", "port": 80, "targetPort": 8080}
    service: JsonObject = {"selector": {"app": "web"}, "ports": [port]}
    try:
        client.create(f"{base}/services", {"metadata": {"name": "web"}, "spec": service})
        client.create(f"{base}/pods", _pod("web", **_on(paper_node)))
        client.request(
            "PATCH",
            f"{base}/pods/web/status",
            {
                "status": {
                    "phase": "Running",
                    "podIP": address,
                    "podIPs": [{"ip": address}],
                    "conditions": [{"type": "Ready", "status": "True"}],
                }
            },
            content_type="application/strategic-merge-patch+json",
        )
        path = f"{base}/services/http:web:http/proxy/health"
        wait_until(lambda: client.answers(path), what="the proxy", within=_SOON, servers=[server])
        proxied = control_plane.run_kubectl("get", "--raw", path)
        assert (proxied.returncode, proxied.stdout) == (0, "well")
        with urlopen(f"http://{address}:8080/health") as answer:
            assert answer.read() == b"well"
    finally:
        server.stop()


def _interfaces() -> set[str]:
    """Names of the network interfaces; ``/sys`` may show those of another namespace."""
    return {name for _, name in socket.if_nameindex()}


def test_a_cluster_leaves_nothing_running_and_nothing_secret() -> None:
    """A second cluster runs beside the first; closed, its servers, network and keys are gone."""
    with ControlPlane.start("second") as cluster:
        pids = [server.pid for server in cluster.servers.values()]
        interface = cluster.network.interface
        assert len(pids) == 4
        assert all(Path(f"/proc/{pid}").exists() for pid in pids)
        assert interface in _interfaces()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not cluster.network.is_there
    assert not cluster.paths.private.exists()
    assert cluster.paths.audit.exists()
    _wait(lambda: interface not in _interfaces(), "the machine's end of the cable to go")
