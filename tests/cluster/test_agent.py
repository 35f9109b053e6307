"""The node agent on the real control plane: real controllers, scheduler and API server around it.

What misbehaves here does so because of its image or the registry. The agent runs as a process of
its own in the cluster's network; its probes and back-offs are quick.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.cluster_site import condition_of, container_status, is_ready, waiting_reason
from tests.support.images import (
    crashing_image,
    crashing_when,
    late_image,
    never_ready_image,
    oom_image,
    web_image,
)
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.cluster_site import Site
    from tests.support.images import Runtime


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

        def waits(pod: dict[str, Any], reason: str = reason) -> bool:
            return waiting_reason(pod) == reason

        pod = site.pod(waits, reason)
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
    site.deploy(pushed.reference, terminationMessagePolicy="FallbackToLogsOnError")

    pod = site.pod(
        lambda pod: (
            waiting_reason(pod) == "CrashLoopBackOff" and container_status(pod)["restartCount"] >= 2
        ),
        "two restarts",
    )

    status = container_status(pod)
    assert status["lastState"]["terminated"]["exitCode"] == 3
    assert status["lastState"]["terminated"]["reason"] == "Error"
    assert status["lastState"]["terminated"]["message"].endswith("fatal: no such table")
    assert "restarting failed container=web" in status["state"]["waiting"]["message"]
    assert pod["status"]["phase"] == "Running"
    assert not is_ready(pod)
    name = pod["metadata"]["name"]
    assert "fatal: no such table" in site.logs(name, "--previous")
    # The next try may have begun by now, and not have said anything yet.
    wait_until(
        lambda: (
            site.logs(name).endswith("fatal: no such table\n")
            and site.logs(name, "--tail=1") == "fatal: no such table\n"
        ),
        what="the newest container's last words",
        within=timedelta(seconds=20),
    )


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
