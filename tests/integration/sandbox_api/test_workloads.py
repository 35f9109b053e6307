"""Workloads from kubectl to running pods and to their end, alike on both clusters."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster_client import ApiError
from tests.support.cluster_site import READY_PROBE, Site, deployment, is_ready, pod_spec
from tests.support.images import job_image, web_image
from tests.support.processes import wait_until
from tests.support.waiting import wait_for_objects

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.sandbox_api.conftest import Kubectl

WITHIN = timedelta(seconds=30)
SERVED_BY = "X-Served-By"
LABELS = {"matchLabels": {"app": "web"}}


def apps(cluster: Site, plural: str) -> str:
    """The path of a collection of workloads."""
    return f"/apis/apps/v1/namespaces/{cluster.namespace}/{plural}"


def workload(kind: str, spec: dict[str, Any], **fields: object) -> dict[str, Any]:
    """A workload named ``web``."""
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web"},
        "spec": {"selector": LABELS, "template": template, **fields},
    }


def quick_web(cluster: Site, tag: str) -> dict[str, Any]:
    """A pod that serves and is asked whether it is ready."""
    image = cluster.push(web_image(tag), tag).reference
    return pod_spec(image, readinessProbe=READY_PROBE)


def wait_for(
    cluster: Site, path: str, condition: Callable[[list[dict[str, Any]]], object], what: str
) -> list[dict[str, Any]]:
    """Follow a collection until it is as wanted."""
    return wait_for_objects(cluster.cluster.client, path, condition, what=what)


def test_a_stateful_set_comes_up_and_rolls(cluster: Site, kubectl: Kubectl) -> None:
    """Kubectl follows it to the end; every pod has the new revision then."""
    body = workload("StatefulSet", quick_web(cluster, "1"), replicas=2, serviceName="web")
    assert kubectl.apply(body).code == 0
    said = kubectl("rollout", "status", "statefulset/web", "--timeout=30s")
    assert said.code == 0, said
    body = workload("StatefulSet", quick_web(cluster, "2"), replicas=2, serviceName="web")
    assert kubectl.apply(body).code == 0

    said = kubectl("rollout", "status", "statefulset/web", "--timeout=30s")

    assert said.code == 0, said
    assert "roll out complete: 2 new pods have been updated" in said.out
    revision = kubectl.read("statefulset", "web")["status"]["updateRevision"]
    marks = {
        pod["metadata"]["name"]: pod["metadata"]["labels"]["controller-revision-hash"]
        for pod in kubectl.read("pods")["items"]
    }
    assert marks == {"web-0": revision, "web-1": revision}


def test_a_daemon_set_comes_up(cluster: Site, kubectl: Kubectl) -> None:
    """Kubectl is content when every node that takes it has a ready pod."""
    assert kubectl.apply(workload("DaemonSet", quick_web(cluster, "1"))).code == 0
    said = kubectl("rollout", "status", "daemonset/web", "--timeout=30s")
    assert said.code == 0, said
    assert "successfully rolled out" in said.out


def test_a_rollout_is_undone(cluster: Site, kubectl: Kubectl) -> None:
    """The history has three revisions then, and the first image runs again."""
    first = quick_web(cluster, "1")
    assert kubectl.apply(deployment(first, 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0
    assert kubectl.apply(deployment(quick_web(cluster, "2"), 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0

    assert kubectl("rollout", "undo", "deployment/web").code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0

    (container,) = kubectl.read("deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == first["containers"][0]["image"]
    history = kubectl("rollout", "history", "deployment/web").out
    assert [line.split()[0] for line in history.splitlines() if line[:1].isdigit()] == ["2", "3"]


def test_a_paused_rollout_waits(cluster: Site, kubectl: Kubectl) -> None:
    """What is changed while it is paused goes out when it is resumed."""
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 1)).code == 0
    assert kubectl("rollout", "pause", "deployment/web").code == 0
    image = cluster.push(web_image("2"), "2").reference
    assert kubectl("set", "image", "deployment/web", f"web={image}").code == 0
    sets = kubectl.read("replicasets")["items"]
    assert len(sets) == 1

    assert kubectl("rollout", "resume", "deployment/web").code == 0
    said = kubectl("rollout", "status", "deployment/web", "--timeout=30s")

    assert said.code == 0, said
    assert len(kubectl.read("replicasets")["items"]) == 2


@pytest.mark.parametrize("code, condition", [(0, "complete"), (1, "failed")])
def test_kubectl_waits_for_a_job(
    cluster: Site, kubectl: Kubectl, code: int, condition: str
) -> None:
    """It ends as its program does, and its log can be read."""
    image = cluster.push(job_image("7", code=code, lines=["worked"]), f"job-{code}")
    template = {"spec": {"restartPolicy": "Never", **pod_spec(image.reference)}}
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "work"},
        "spec": {"backoffLimit": 0, "template": template},
    }
    assert kubectl.apply(body).code == 0
    said = kubectl("wait", f"--for=condition={condition}", "job/work", "--timeout=30s")
    assert said.code == 0, said
    assert "worked" in kubectl("logs", "job/work").out
    said = kubectl("delete", "job", "work")
    assert said.code == 0, said
    path = f"{cluster.base}/pods"
    wait_for(cluster, path, lambda pods: not pods, "the Job's pod to be gone")


@pytest.mark.parametrize("cascade", ["background", "foreground"])
def test_what_a_deployment_made_goes_with_it(cluster: Site, kubectl: Kubectl, cascade: str) -> None:
    """In the foreground kubectl waits until all of it is gone."""
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0

    said = kubectl("delete", "deployment", "web", f"--cascade={cascade}", "--timeout=30s")

    assert said.code == 0, said
    if cascade == "foreground":
        assert kubectl.read("replicasets")["items"] == []
    wait_for(cluster, f"{cluster.base}/pods", lambda pods: not pods, "the pods to be gone")
    path = apps(cluster, "replicasets")
    wait_for(cluster, path, lambda sets: not sets, "the ReplicaSet to be gone")


def test_orphans_outlive_their_deployment(cluster: Site, kubectl: Kubectl) -> None:
    """They run on without an owner."""
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0
    assert kubectl("delete", "deployment", "web", "--cascade=orphan").code == 0

    (found,) = kubectl.read("replicasets")["items"]

    assert "ownerReferences" not in found["metadata"]
    (pod,) = kubectl.read("pods")["items"]
    assert is_ready(pod)


def test_a_quota_holds_clients_and_controllers_back(cluster: Site, kubectl: Kubectl) -> None:
    """A second pod is refused in the same words, whoever asks for it."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "small"},
        "spec": {"hard": {"pods": "1"}},
    }
    assert kubectl.apply(quota).code == 0
    quotas = f"{cluster.base}/resourcequotas"
    wait_for(cluster, quotas, lambda found: found[0].get("status", {}).get("hard"), "the quota")
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 2)).code == 0

    def failed(sets: list[dict[str, Any]]) -> bool:
        return any("conditions" in item.get("status", {}) for item in sets)

    (found,) = wait_for(cluster, apps(cluster, "replicasets"), failed, "the refusal")
    (condition,) = found["status"]["conditions"]
    why = "exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"
    assert (condition["reason"], condition["message"].partition(": ")[2]) == ("FailedCreate", why)
    extra = {"metadata": {"name": "extra"}, "spec": quick_web(cluster, "1")}
    with pytest.raises(ApiError) as refused:
        cluster.cluster.client.create(f"{cluster.base}/pods", extra)
    assert refused.value.status == 403
    assert refused.value.answer["message"] == f'pods "extra" is forbidden: {why}'


def test_a_service_follows_a_rollout(cluster: Site, kubectl: Kubectl) -> None:
    """Requests reach the old pod until the new one is ready, and then that one."""
    cluster.serve()
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0
    cluster.wait_endpoints(1)
    before = cluster.ask("/ready")
    assert before.status == 200
    assert kubectl.apply(deployment(quick_web(cluster, "2"), 1)).code == 0

    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0
    (pod,) = (
        item
        for item in kubectl.read("pods")["items"]
        if "deletionTimestamp" not in item["metadata"]
    )
    wait_until(
        lambda: (
            cluster.ask("/ready").headers.get(SERVED_BY, "").startswith(pod["metadata"]["name"])
        ),
        what="the new pod to be asked",
        within=WITHIN,
    )
    assert not before.headers.get(SERVED_BY, "").startswith(pod["metadata"]["name"])


def test_a_namespace_goes_with_all_that_is_in_it(cluster: Site, kubectl: Kubectl) -> None:
    """Kubectl waits until it is gone."""
    name = f"{cluster.namespace}-x"
    assert kubectl("create", "namespace", name).code == 0
    accounts = f"/api/v1/namespaces/{name}/serviceaccounts"
    wait_for(cluster, accounts, lambda found: found, "the default account")
    body = deployment(quick_web(cluster, "1"), 1)
    applied = kubectl("-n", name, "apply", "--server-side", "-f", "-", stdin=body)
    assert applied.code == 0, applied
    path = f"/api/v1/namespaces/{name}/pods"
    wait_for(cluster, path, lambda pods: any(map(is_ready, pods)), "the pod to be ready")

    said = kubectl("delete", "namespace", name, "--timeout=60s")

    assert said.code == 0, said
    assert "NotFound" in kubectl("get", "namespace", name).err


def test_events_tell_of_a_rollout(cluster: Site, kubectl: Kubectl) -> None:
    """The same reasons from the same sources, in kubectl's own words."""
    assert kubectl.apply(deployment(quick_web(cluster, "1"), 1)).code == 0
    assert kubectl("rollout", "status", "deployment/web", "--timeout=30s").code == 0

    def told() -> set[tuple[str, str]]:
        said = kubectl("events", "-o", "json")
        return {
            (item["involvedObject"]["kind"], item["reason"])
            for item in json.loads(said.out)["items"]
        }

    wanted = {
        ("Deployment", "ScalingReplicaSet"),
        ("ReplicaSet", "SuccessfulCreate"),
        ("Pod", "Scheduled"),
        ("Pod", "Pulled"),
        ("Pod", "Created"),
        ("Pod", "Started"),
    }
    wait_until(lambda: told() >= wanted, what="the Events", within=WITHIN)
