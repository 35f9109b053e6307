"""The node agent on the real control plane: real controllers, scheduler and API server around it.

What misbehaves here does so because of its image or the registry. The agent runs as a process of
its own in the cluster's network; its probes and back-offs are quick.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.images import (
    crashing_image,
    crashing_when,
    job_image,
    late_image,
    never_ready_image,
    oom_image,
    web_image,
)
from tests.support.waiting import Answer, Objects, ask, wait_for_objects

if TYPE_CHECKING:
    from pathlib import Path

    from gitopsd.domain.manifests import JsonObject
    from tests.support.control_plane import ControlPlane
    from tests.support.images import Image, Runtime
    from tests.support.node_agent import Node
    from tests.support.registry import PushedImage, RegistryServer

READY_PROBE = {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 1}


@dataclass(frozen=True, slots=True)
class Site:
    """One namespace of a cluster with a node and a registry."""

    cluster: ControlPlane
    registry: RegistryServer
    namespace: str

    @property
    def base(self) -> str:
        """Core collections of the namespace."""
        return f"/api/v1/namespaces/{self.namespace}"

    def push(self, image: Image, tag: str) -> PushedImage:
        """Push an image of this test alone."""
        return self.registry.push(image, f"{self.namespace}/web:{tag}")

    def deploy(self, image: str, *, replicas: int = 1, **container: object) -> None:
        """Apply the Deployment ``web`` with a readiness probe."""
        spec = pod_spec(image, readinessProbe=READY_PROBE, **container)
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/web"
        self.cluster.client.apply(path, deployment(spec, replicas))

    def pods(self, condition: object, what: str) -> Objects:
        """Wait until the namespace's pods are as wanted."""
        assert callable(condition)
        return wait_for_objects(self.cluster.client, f"{self.base}/pods", condition, what=what)

    def pod(self, condition: object, what: str) -> dict[str, Any]:
        """Wait until one pod is as wanted and return it."""
        assert callable(condition)
        found = self.pods(lambda pods: any(condition(pod) for pod in pods), what)
        return next(pod for pod in found if condition(pod))

    def events(self, condition: object, what: str) -> Objects:
        """Wait until the namespace's Events are as wanted."""
        assert callable(condition)
        return wait_for_objects(self.cluster.client, f"{self.base}/events", condition, what=what)

    def wait_available(self, replicas: int) -> None:
        """Wait until the Deployment's newest generation is there and available."""

        def available(found: Objects) -> bool:
            for item in found:
                status = item.get("status", {})
                seen = status.get("observedGeneration") == item["metadata"]["generation"]
                numbers = [
                    status.get(key) for key in ("replicas", "updatedReplicas", "availableReplicas")
                ]
                if seen and numbers == [replicas] * 3:
                    return True
            return False

        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments"
        wait_for_objects(self.cluster.client, path, available, what=f"{replicas} available")

    def serve(self) -> None:
        """Make the Service ``web``."""
        ports: list[JsonObject] = [{"name": "http", "port": 80, "targetPort": "http"}]
        self.cluster.client.create(
            f"{self.base}/services",
            {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}, "ports": ports}},
        )

    def wait_endpoints(self, count: int) -> None:
        """Wait until the Service has so many ready endpoints."""

        def ready(slices: Objects) -> bool:
            endpoints = [end for item in slices for end in item.get("endpoints") or []]
            return sum(end["conditions"]["ready"] is True for end in endpoints) == count

        path = f"/apis/discovery.k8s.io/v1/namespaces/{self.namespace}/endpointslices"
        wait_for_objects(self.cluster.client, path, ready, what=f"{count} endpoints")

    def ask(self, path: str) -> Answer:
        """Ask the Service through the API server's proxy."""
        return ask(self.cluster.client, f"{self.base}/services/web:http/proxy{path}")

    def logs(self, pod: str, *arguments: str) -> str:
        """What ``kubectl logs`` prints, its errors included."""
        result = self.cluster.run_kubectl("logs", pod, "-n", self.namespace, *arguments)
        return result.stdout + result.stderr


@pytest.fixture
def site(
    control_plane: ControlPlane, cluster_registry: RegistryServer, namespace: str, node: Node
) -> Site:
    """A fresh namespace beside the session's node."""
    assert node.name
    return Site(control_plane, cluster_registry, namespace)


def pod_spec(image: str, **container: object) -> dict[str, Any]:
    """A pod with one container that listens on ``http``."""
    ports = [{"name": "http", "containerPort": 8080}]
    return {
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "web", "image": image, "ports": ports, **container}],
    }


def deployment(spec: dict[str, Any], replicas: int) -> JsonObject:
    """The Deployment ``web`` that replaces its pods one by one."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec},
        },
    }


def container_status(pod: dict[str, Any]) -> dict[str, Any]:
    """The status of a pod's only container; empty before there is one."""
    statuses = pod.get("status", {}).get("containerStatuses") or [{}]
    found: dict[str, Any] = statuses[0]
    return found


def waiting_reason(pod: dict[str, Any]) -> str:
    """Why the container waits."""
    return str(container_status(pod).get("state", {}).get("waiting", {}).get("reason", ""))


def condition_of(pod: dict[str, Any], kind: str) -> dict[str, Any]:
    """One condition of a pod; empty when it is not there."""
    conditions = pod.get("status", {}).get("conditions") or []
    found: dict[str, Any] = next((item for item in conditions if item["type"] == kind), {})
    return found


def is_ready(pod: dict[str, Any]) -> bool:
    """Whether the pod's condition Ready is true."""
    return condition_of(pod, "Ready").get("status") == "True"


@pytest.mark.parametrize("runtime", ["served", "process"])
def test_a_deployment_becomes_available_and_its_service_answers(
    site: Site, runtime: Runtime
) -> None:
    """Two pods get addresses and become ready; every proxied answer says which pod gave it."""
    pushed = site.push(web_image("1.0.0", runtime=runtime), "1.0.0")
    site.serve()
    site.deploy(pushed.reference, replicas=2)
    site.wait_available(2)
    site.wait_endpoints(2)

    pods = site.pods(lambda pods: len(pods) == 2, "two pods")
    answers = [site.ask("/health") for _ in range(20)]

    assert {json.loads(answer.body)["version"] for answer in answers} == {"1.0.0"}
    served_by = {answer.headers["X-Served-By"] for answer in answers}
    assert served_by == {f"{pod['metadata']['name']} {pushed.digest}" for pod in pods}
    for pod in pods:
        assert pod["status"]["podIP"]
        assert pod["status"]["podIPs"] == [{"ip": pod["status"]["podIP"]}]
        assert container_status(pod)["imageID"] == pushed.pinned
        assert condition_of(pod, "PodScheduled")["status"] == "True"
        assert condition_of(pod, "Initialized")["status"] == "True"
        assert condition_of(pod, "ContainersReady")["status"] == "True"


def test_a_rolling_update_replaces_the_pods(site: Site) -> None:
    """After an update only pods of the new image answer, and the old ones are gone."""
    old = site.push(web_image("1"), "1")
    new = site.push(web_image("2"), "2")
    site.serve()
    site.deploy(old.reference, replicas=2)
    site.wait_available(2)
    site.deploy(new.pinned, replicas=2)
    site.wait_available(2)

    pods = site.pods(lambda pods: len(pods) == 2, "the old pods to go")

    assert {container_status(pod)["imageID"] for pod in pods} == {new.pinned}
    site.wait_endpoints(2)
    assert json.loads(site.ask("/health").body)["version"] == "2"


def test_a_missing_image_is_told_in_the_registrys_words(site: Site) -> None:
    """A tag that nobody pushed keeps the pod waiting, with the registry's words all the time."""
    there = site.push(web_image("1"), "1")
    site.deploy(f"{there.repository}:9")

    for reason in ("ErrImagePull", "ImagePullBackOff"):
        pod = site.pod(lambda pod, reason=reason: waiting_reason(pod) == reason, reason)
        assert "manifest unknown" in container_status(pod)["state"]["waiting"]["message"]
        assert pod["status"]["phase"] == "Pending"

    site.events(
        lambda events: any(
            event["reason"] == "Failed" and "manifest unknown" in event["message"]
            for event in events
        ),
        "an Event that names the failure",
    )
    assert "is waiting to start" in site.logs("deploy/web")


def test_an_image_that_appears_later_is_pulled(site: Site) -> None:
    """A pod that waits for its image starts once somebody pushes it."""
    there = site.push(web_image("1"), "1")
    site.deploy(f"{there.repository}:2")
    site.pod(lambda pod: waiting_reason(pod) == "ErrImagePull", "the missing image")

    site.push(web_image("2"), "2")

    site.wait_available(1)


def test_an_unparsable_image_name_is_refused(site: Site) -> None:
    """A reference that is none is InvalidImageName, with what is wrong about it."""
    site.deploy("ACME/Web:1")

    pod = site.pod(lambda pod: waiting_reason(pod) == "InvalidImageName", "the refusal")

    message = container_status(pod)["state"]["waiting"]["message"]
    assert "repository name (ACME/Web) must be lowercase" in message


@pytest.mark.parametrize("runtime", ["served", "process"])
def test_a_crashing_image_backs_off_and_keeps_its_logs(site: Site, runtime: Runtime) -> None:
    """A crash at the start becomes CrashLoopBackOff; exit code and both logs stay readable."""
    pushed = site.push(
        crashing_image("2", code=3, line="fatal: no such table", runtime=runtime), "2"
    )
    site.deploy(pushed.reference)

    pod = site.pod(
        lambda pod: (
            waiting_reason(pod) == "CrashLoopBackOff" and container_status(pod)["restartCount"] >= 2
        ),
        "two restarts",
    )

    status = container_status(pod)
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert "restarting failed container=web" in status["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Running"
    assert not is_ready(pod)
    name = pod["metadata"]["name"]
    assert "fatal: no such table" in site.logs(name)
    assert "fatal: no such table" in site.logs(name, "--previous")
    assert site.logs(name, "--tail=1").strip() == "fatal: no such table"


def test_bad_configuration_crashes_a_good_image(site: Site) -> None:
    """The same image runs or crashes by its environment, and the fix flows."""
    pushed = site.push(crashing_when("1", "MODE", "broken"), "1")
    site.deploy(pushed.reference, env=[{"name": "MODE", "value": "broken"}])
    site.pod(lambda pod: container_status(pod).get("restartCount", 0) >= 1, "a restart")

    site.deploy(pushed.reference, env=[{"name": "MODE", "value": "good"}])

    site.wait_available(1)


def test_a_container_over_its_memory_limit_is_oom_killed(site: Site) -> None:
    """Memory that the image needs and the limit denies ends it with OOMKilled and 137."""
    hungry = site.push(web_image("1", memoryMebibytes=300), "hungry")
    site.deploy(hungry.reference, resources={"limits": {"memory": "64Mi"}})
    pod = site.pod(lambda pod: container_status(pod).get("restartCount", 0) >= 1, "a restart")

    ended = container_status(pod)["lastState"]["terminated"]
    assert (ended["reason"], ended["exitCode"]) == ("OOMKilled", 137)

    site.deploy(hungry.reference, resources={"limits": {"memory": "512Mi"}})
    site.wait_available(1)

    killed = site.push(oom_image("2"), "killed")
    site.deploy(killed.reference)
    site.pod(
        lambda pod: (
            container_status(pod).get("lastState", {}).get("terminated", {}).get("reason")
            == "OOMKilled"
        ),
        "the kernel's kill",
    )


@pytest.mark.parametrize("runtime", ["served", "process"])
def test_a_pod_that_never_gets_ready_gets_no_traffic(site: Site, runtime: Runtime) -> None:
    """A failing readiness probe keeps the pod running, unready, and out of the Service."""
    pushed = site.push(never_ready_image("1", runtime=runtime), "1")
    site.serve()
    site.deploy(pushed.reference)

    site.events(
        lambda events: any(
            event["reason"] == "Unhealthy" and event["count"] >= 3 for event in events
        ),
        "three failed probes",
    )

    pod = site.pod(lambda pod: pod["status"]["phase"] == "Running", "the pod to run")
    assert not is_ready(pod)
    assert "containers with unready status: [web]" in condition_of(pod, "Ready")["message"]
    assert container_status(pod)["restartCount"] == 0
    assert site.ask("/health").status == 503
    unhealthy = site.events(lambda events: events, "Events")
    assert any(
        event["message"] == "Readiness probe failed: HTTP probe failed with statuscode: 503"
        for event in unhealthy
    )


@pytest.mark.parametrize("runtime", ["served", "process"])
def test_a_program_that_listens_late_becomes_ready_late(site: Site, runtime: Runtime) -> None:
    """Refused connections fail probes and cost nothing else; later the pod is ready."""
    pushed = site.push(late_image("1", seconds=2, runtime=runtime), "1")
    site.deploy(pushed.reference)

    site.wait_available(1)

    pod = site.pod(is_ready, "the pod to be ready")
    assert container_status(pod)["restartCount"] == 0
    site.events(
        lambda events: any("connection refused" in event["message"] for event in events),
        "a refused probe",
    )


def test_a_failed_liveness_probe_restarts_the_container(site: Site) -> None:
    """A program that stops answering is stopped and started again."""
    pushed = site.push(web_image("1", health_statuses=[200, 500]), "1")
    liveness = {"httpGet": {"path": "/health", "port": 8080}, "periodSeconds": 1}
    site.deploy(pushed.reference, livenessProbe={**liveness, "failureThreshold": 2})

    site.pod(lambda pod: container_status(pod).get("restartCount", 0) >= 1, "a restart")

    site.events(
        lambda events: any("failed liveness probe" in event["message"] for event in events),
        "an Event that says why",
    )


def test_a_startup_probe_holds_the_others_back(site: Site) -> None:
    """Until the startup probe passes, liveness does not count."""
    pushed = site.push(late_image("1", seconds=1.5), "1")
    liveness = {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 1}
    startup = {"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 30}
    site.deploy(pushed.reference, livenessProbe=liveness, startupProbe=startup)

    site.wait_available(1)

    pod = site.pod(is_ready, "the pod to be ready")
    assert container_status(pod)["started"] is True
    assert container_status(pod)["restartCount"] == 0


@pytest.mark.parametrize("runtime", ["served", "process"])
@pytest.mark.parametrize("code, condition", [(0, "Complete"), (1, "Failed")])
def test_a_job_ends_as_its_program_does(
    site: Site, tmp_path: Path, runtime: Runtime, code: int, condition: str
) -> None:
    """A Job completes or fails by the exit code; each start writes one line."""
    written = tmp_path / "runs"
    image = job_image("7", code=code, append_to=str(written), lines=["worked"], runtime=runtime)
    spec = {"restartPolicy": "Never", **pod_spec(site.push(image, f"job-{code}").reference)}
    path = f"/apis/batch/v1/namespaces/{site.namespace}/jobs"
    site.cluster.client.create(
        path,
        {"metadata": {"name": "job"}, "spec": {"backoffLimit": 0, "template": {"spec": spec}}},
    )

    wait_for_objects(
        site.cluster.client,
        path,
        lambda jobs: any(
            item["type"] == condition and item["status"] == "True"
            for job in jobs
            for item in job.get("status", {}).get("conditions") or []
        ),
        what=f"the job to be {condition}",
    )

    assert written.read_text() == "7\n"
    assert "worked" in site.logs("job/job")


def test_init_containers_run_first_and_in_order(site: Site) -> None:
    """Init containers run one after the other; the app starts after the last one."""
    work = site.push(job_image("done", lines=["migrated"], seconds=0.2), "init")
    web = site.push(web_image("1"), "1")
    spec = pod_spec(web.reference, readinessProbe=READY_PROBE)
    spec["initContainers"] = [
        {"name": "first", "image": work.reference},
        {"name": "second", "image": work.reference},
    ]
    site.cluster.client.create(f"{site.base}/pods", {"metadata": {"name": "web"}, "spec": spec})

    pod = site.pod(is_ready, "the pod to be ready")

    first, second = (
        status["state"]["terminated"] for status in pod["status"]["initContainerStatuses"]
    )
    assert first["reason"] == second["reason"] == "Completed"
    assert first["finishedAt"] <= second["startedAt"]
    assert "migrated" in site.logs("web", "-c", "second")


def test_a_missing_configmap_holds_the_container_back_until_it_comes(site: Site) -> None:
    """CreateContainerConfigError names what is missing; creating it lets the pod go on."""
    pushed = site.push(web_image("1"), "1")
    source = {"configMapKeyRef": {"name": "settings", "key": "message"}}
    site.serve()
    site.deploy(pushed.reference, env=[{"name": "MESSAGE", "valueFrom": source}])
    pod = site.pod(lambda pod: waiting_reason(pod) == "CreateContainerConfigError", "the error")
    assert container_status(pod)["state"]["waiting"]["message"] == 'configmap "settings" not found'

    site.cluster.client.create(
        f"{site.base}/configmaps", {"metadata": {"name": "settings"}, "data": {"message": "hello"}}
    )

    site.wait_available(1)
    site.wait_endpoints(1)
    assert json.loads(site.ask("/env").body)["message"] == "hello"


def test_a_deleted_pod_is_asked_to_stop_and_then_gone(site: Site) -> None:
    """Deletion lets the program finish within its grace period and removes the object."""
    pushed = site.push(web_image("1", onTerm={"afterSeconds": 0.5, "code": 0}), "1")
    spec = pod_spec(pushed.reference)
    site.cluster.client.create(f"{site.base}/pods", {"metadata": {"name": "web"}, "spec": spec})
    site.pod(is_ready, "the pod to be ready")

    site.cluster.client.delete(f"{site.base}/pods/web")

    site.pod(lambda pod: "deletionTimestamp" in pod["metadata"], "the pod to be stopping")
    site.pods(lambda pods: not pods, "the pod to be gone")
    site.events(
        lambda events: any(event["message"] == "Stopping container web" for event in events),
        "an Event that says so",
    )


@pytest.mark.parametrize("runtime", ["served", "process"])
def test_a_program_that_ignores_the_request_is_killed(site: Site, runtime: Runtime) -> None:
    """After the grace period nothing holds a deleted pod."""
    pushed = site.push(web_image("1", onTerm={"ignore": True}, runtime=runtime), "1")
    spec = pod_spec(pushed.reference)
    spec["terminationGracePeriodSeconds"] = 1
    site.cluster.client.create(f"{site.base}/pods", {"metadata": {"name": "web"}, "spec": spec})
    site.pod(is_ready, "the pod to be ready")

    site.cluster.client.delete(f"{site.base}/pods/web")

    site.pods(lambda pods: not pods, "the pod to be gone")


def test_the_agent_is_small(node: Node) -> None:
    """The agent stays below 100 MB whatever ran on it before."""
    assert node.resident_bytes < 100e6
    assert timedelta(seconds=node.cpu_ticks / 100) < timedelta(minutes=2)
