"""Pods on their own on the real control plane: jobs, init containers, deletion, a dying node."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.cluster_site import (
    READY_PROBE,
    container_status,
    is_ready,
    pod_spec,
    waiting_reason,
)
from tests.support.images import job_image, web_image
from tests.support.node_agent import start_node
from tests.support.processes import wait_until
from tests.support.waiting import wait_for_objects

if TYPE_CHECKING:
    from tests.support.cluster_site import Site
    from tests.support.control_plane import ControlPlane
    from tests.support.images import Runtime
    from tests.support.node_agent import Node


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


def children_of(pod: str) -> list[int]:
    """Processes on this machine that run as a container of the pod."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            with contextlib.suppress(OSError):
                if f"HOSTNAME={pod}\0".encode() in (process / "environ").read_bytes():
                    found.append(int(process.name))
    return found


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_agent_takes_its_children_with_it(
    site: Site, control_plane: ControlPlane, tmp_path: Path, number: signal.Signals
) -> None:
    """However the agent ends, nothing it started goes on; the next agent runs the pod again."""
    pushed = site.push(web_image("1", runtime="process"), "1")
    name = f"{site.namespace}-child"
    spec = {"nodeName": "node-1", **pod_spec(pushed.reference, readinessProbe=READY_PROBE)}
    first = start_node(control_plane, site.registry.url, tmp_path, number=1)
    try:
        site.cluster.client.create(f"{site.base}/pods", {"metadata": {"name": name}, "spec": spec})
        site.pod(is_ready, "the pod to be ready")
        assert children_of(name)

        os.kill(first.process.pid, number)

        wait_until(lambda: not children_of(name), what="the children", within=timedelta(seconds=10))
    finally:
        first.stop()
    second = start_node(control_plane, site.registry.url, tmp_path, number=1)
    try:
        pod = site.pod(
            lambda pod: is_ready(pod) and container_status(pod)["restartCount"] == 1,
            "the pod to run again",
        )
        assert container_status(pod)["lastState"]["terminated"]["reason"] == "Unknown"
        site.cluster.client.delete(f"{site.base}/pods/{name}")
        site.pods(lambda pods: not pods, "the pod to be gone")
    finally:
        second.stop()
        site.cluster.client.delete("/api/v1/nodes/node-1")
