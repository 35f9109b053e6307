"""The node agent against an API that gives it trouble, in the test's own process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.images import build_image, job_image, web_image

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.sandbox.conftest import Site
    from tests.support.images import Runtime


async def fetch(address: str, path: str = "/health") -> tuple[dict[str, object], str]:
    """The JSON that a pod answers, and who says it answered."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://{address}:8080{path}") as response,
    ):
        return await response.json(), response.headers["X-Served-By"]


@pytest.mark.parametrize("runtime", ["served", "process"])
async def test_a_bound_pod_runs_and_answers(site: Site, runtime: Runtime) -> None:
    """An API without strategic merge patches will do; the answer names pod and digest."""
    image = web_image("1", runtime=runtime)
    async with site.node():
        pod = await site.wait_ready(await site.bind(site.push(image)))

        answer, served_by = await fetch(pod["status"]["podIP"])

        assert answer == {"status": "healthy", "version": "1"}
        assert served_by == f"web {image.digest}"
        assert pod["status"]["phase"] == "Running"


async def test_the_node_is_registered_with_a_lease(site: Site) -> None:
    """The Node is Ready, says where its logs are, and its Lease names it."""
    async with site.node():
        node = site.api.objects["/api/v1/nodes/node-0"]
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"

        assert site.api.objects[f"{leases}/node-0"]["spec"]["holderIdentity"] == "node-0"
        assert node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"] > 0
        ready = [item for item in node["status"]["conditions"] if item["type"] == "Ready"]
        assert ready[0]["status"] == "True"


async def test_an_api_that_fails_at_the_start_is_asked_again(site: Site) -> None:
    """Registration waits for the API server, whatever it answers first."""
    site.api.failures.extend([503, 500, 429, 404])

    async with site.node():
        assert "/api/v1/nodes/node-0" in site.api.objects


async def test_an_outage_loses_no_status(site: Site) -> None:
    """What could not be written while the API server failed is written afterwards."""
    async with site.node():
        site.api.failures.extend([503] * 4)
        path = await site.bind(site.push(web_image("1")))

        await site.wait_ready(path)


@pytest.mark.parametrize("forget", [False, True])
async def test_a_pod_that_vanished_unseen_is_stopped(site: Site, *, forget: bool) -> None:
    """A watch that breaks, or is too old to go on, misses nothing."""
    async with site.node():
        path = await site.bind(site.push(web_image("1")))
        address = (await site.wait_ready(path))["status"]["podIP"]

        site.api.cut_watches(forget=forget)
        await site.api.remove(path)
        other = await site.bind(site.push(web_image("1")), name="other")
        await site.wait_ready(other)

        with pytest.raises(aiohttp.ClientConnectorError):
            await fetch(address)


async def test_a_deleted_pod_ends_gracefully(site: Site) -> None:
    """Its last status says how it ended; then the node removes the object."""
    async with site.node():
        path = await site.bind(site.push(web_image("1", onTerm={"code": 0, "afterSeconds": 0.2})))
        await site.wait_ready(path)
        await site.delete(path)
        await site.api.wait(
            lambda: "terminated" in site.container(path).get("state", {}), "the end"
        )
        last = site.api.objects[path]["status"]
        await site.api.wait(lambda: path not in site.api.objects, "the pod to be gone")

        assert last["phase"] == "Succeeded"
        assert site.container(path) == {}


async def test_another_pod_of_the_same_name_is_left_alone(site: Site) -> None:
    """A node that deletes a pod names its uid: the next one of that name survives."""
    async with site.node():
        image = site.push(web_image("1", onTerm={"ignore": True}))
        path = await site.bind(image)
        await site.wait_ready(path)
        await site.delete(path)
        await site.api.remove(path)
        await site.bind(image)

        await site.wait_ready(path)


@pytest.mark.parametrize("runtime", ["served", "process"])
async def test_a_new_agent_takes_the_pods_of_the_old_one_over(site: Site, runtime: Runtime) -> None:
    """Like after a reboot: same address, one restart more, the last state says why."""
    path = await site.bind(site.push(web_image("1", runtime=runtime)))
    async with site.node():
        before = await site.wait_ready(path)
    with pytest.raises(aiohttp.ClientConnectorError):
        await fetch(before["status"]["podIP"])

    async with site.node():
        await site.api.wait(
            lambda: site.container(path).get("restartCount") == 1 and site.is_ready(path),
            "the pod to run again",
        )

        assert site.api.objects[path]["status"]["podIP"] == before["status"]["podIP"]
        assert site.container(path)["lastState"]["terminated"]["exitCode"] == 255
        await fetch(before["status"]["podIP"])


async def test_a_finished_pod_is_not_run_again(site: Site, tmp_path: Path) -> None:
    """A new agent leaves pods alone that ran to their end."""
    written = tmp_path / "runs"
    image = site.push(job_image("7", append_to=str(written)))
    path = await site.bind(image, restartPolicy="Never")
    async with site.node():
        await site.api.wait(
            lambda: site.api.objects[path].get("status", {}).get("phase") == "Succeeded", "the end"
        )
    async with site.node():
        other = await site.bind(site.push(web_image("1")), name="other")
        await site.wait_ready(other)

        assert written.read_text() == "7\n"


async def test_a_failed_init_container_of_a_pod_that_never_restarts_fails_it(site: Site) -> None:
    """The app is never started."""
    broken = site.push(job_image("1", code=2), "init")
    path = await site.bind(
        site.push(web_image("1")),
        restartPolicy="Never",
        initContainers=[{"name": "prepare", "image": broken}],
    )
    async with site.node():
        await site.api.wait(
            lambda: site.api.objects[path].get("status", {}).get("phase") == "Failed", "the end"
        )

        assert site.container(path)["state"] == {"waiting": {"reason": "PodInitializing"}}


async def test_a_sidecar_runs_beside_the_app(site: Site) -> None:
    """An init container that always restarts does not hold the app back."""
    sidecar = site.push(build_image(version="1", behaviour={"ports": [9090]}), "sidecar")
    path = await site.bind(
        site.push(web_image("1")),
        initContainers=[{"name": "proxy", "image": sidecar, "restartPolicy": "Always"}],
    )
    async with site.node():
        pod = await site.wait_ready(path)

        assert "running" in pod["status"]["initContainerStatuses"][0]["state"]
