"""What runs inside a pod: files, programs, probes, ports and logs, without a control plane."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import aiohttp
import pytest

from tests.support.images import build_image, crashing_image, web_image

if TYPE_CHECKING:
    from tests.integration.sandbox.conftest import Site

READS_FILES = b"""
import os, pathlib, sys
root = pathlib.Path(os.environ["CONTAINER_ROOT"])
for line in sorted(p.name + "=" + p.read_text() for p in (root / "etc/app").iterdir()):
    print(line)
print(pathlib.Path(sys.argv[1]).read_text(), os.getcwd() == str(root / "app"))
"""


async def test_files_of_configmaps_and_secrets_are_mounted(site: Site) -> None:
    """A program finds its volumes below its root, and its working directory is the image's."""
    files = {"/app/read.py": READS_FILES}
    image = build_image(
        version="1",
        behaviour={},
        runtime="process",
        entrypoint=["python3", "/app/read.py", "/etc/key/key"],
        files=files,
    )
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "key", "secret": {"secretName": "key"}},
    ]
    mounts = [
        {"name": "settings", "mountPath": "/etc/app"},
        {"name": "key", "mountPath": "/etc/key"},
    ]
    core = "/api/v1/namespaces/shop"
    await site.api.put(f"{core}/configmaps/settings", {"data": {"a": "1", "b": "2"}})
    async with site.node() as agent:
        path = await site.bind(
            site.push(image),
            restartPolicy="Never",
            volumes=volumes,
            container={"volumeMounts": mounts},
        )
        await site.api.wait(
            lambda: any(
                item.get("reason") == "FailedMount" and 'secret "key" not found' in item["message"]
                for item in site.api.objects.values()
            ),
            "the missing secret",
        )
        await site.api.put(f"{core}/secrets/key", {"data": {"key": "aHVzaA=="}})
        await site.api.wait(
            lambda: site.api.objects[path].get("status", {}).get("phase") == "Succeeded", "the end"
        )

        loop = agent.find_loop("shop", "web", "web")
        assert loop is not None
        assert loop.log is not None
        assert [line.text for line in loop.log.lines] == ["a=1", "b=2", "hush True"]


@pytest.mark.parametrize(
    "command, message",
    [
        (["no-such-program"], 'exec: "no-such-program": executable file not found in $PATH'),
        (["/app/nothing"], 'exec: "/app/nothing": executable file not found in $PATH'),
    ],
)
async def test_a_program_that_is_not_there_is_a_start_error(
    site: Site, command: list[str], message: str
) -> None:
    """Exit code 128 and StartError, with the words a container runtime uses."""
    async with site.node():
        image = site.push(web_image("1", runtime="process"), "process")
        path = await site.bind(image, restartPolicy="Never", container={"command": command})
        await site.api.wait(
            lambda: site.api.objects[path].get("status", {}).get("phase") == "Failed", "the end"
        )

        ended = site.container(path)["state"]["terminated"]
        assert (ended["exitCode"], ended["reason"]) == (128, "StartError")
        assert ended["message"] == message


async def test_an_image_without_anything_to_run_cannot_be_created(site: Site) -> None:
    """No entrypoint, no command, no behaviour."""
    async with site.node():
        image = build_image(version="1", behaviour={}, runtime="process", entrypoint=[""])
        path = await site.bind(site.push(image, "empty"), restartPolicy="Never")
        await site.api.wait(
            lambda: site.api.objects[path].get("status", {}).get("phase") == "Failed", "the end"
        )


async def test_a_registry_that_is_down_is_told_and_asked_again(site: Site) -> None:
    """Connection refused keeps the pod waiting; the registry's return lets it run."""
    image = site.push(web_image("down"), "down")
    site.registry.stop()
    try:
        async with site.node():
            path = await site.bind(image)
            await site.api.wait(
                lambda: (
                    site.container(path).get("state", {}).get("waiting", {}).get("reason")
                    == "ImagePullBackOff"
                ),
                "the back-off",
            )
            message = site.container(path)["state"]["waiting"]["message"]
            site.registry.start()
            await site.wait_ready(path)
    finally:
        site.registry.stop()
        site.registry.start()

    assert message.endswith("connect: connection refused")


async def test_an_image_that_must_not_be_pulled_is_waited_for(site: Site) -> None:
    """ImagePullPolicy Never asks no registry."""
    async with site.node():
        path = await site.bind(site.push(web_image("1")), container={"imagePullPolicy": "Never"})
        await site.api.wait(
            lambda: (
                site.container(path).get("state", {}).get("waiting", {}).get("reason")
                == "ErrImageNeverPull"
            ),
            "the refusal",
        )


async def test_exec_probes_ask_the_program(site: Site) -> None:
    """A served image answers commands by its label, a process by running them."""
    served = site.push(web_image("1", exec={"check ready": 0}), "served")
    process = site.push(web_image("1", runtime="process"), "process")
    async with site.node():
        first = await site.bind(
            served,
            name="served",
            container={"readinessProbe": {"exec": {"command": ["check", "ready"]}}},
        )
        second = await site.bind(
            process,
            name="process",
            container={"readinessProbe": {"exec": {"command": ["python3", "-c", "print(1)"]}}},
        )
        third = await site.bind(
            process,
            name="unready",
            container={
                "readinessProbe": {
                    "exec": {"command": ["python3", "-c", "raise SystemExit('not yet')"]},
                    "periodSeconds": 1,
                }
            },
        )
        await site.wait_ready(first)
        await site.wait_ready(second)
        await site.api.wait(
            lambda: any(
                item.get("message") == "Readiness probe failed: not yet"
                for item in site.api.objects.values()
            ),
            "the failed probe",
        )

        assert not site.is_ready(third)


async def test_two_containers_cannot_listen_on_one_port(site: Site) -> None:
    """As in a real pod the second one fails to bind, and says so."""
    image = site.push(web_image("1"))
    async with site.node() as agent:
        path = await site.bind(image)
        pod = site.api.objects[path]
        containers = [
            {"name": "one", "image": image},
            {"name": "two", "image": image},
        ]
        twin = f"{path}-twin"
        await site.api.put(
            twin, {"spec": {**pod["spec"], "containers": containers, "restartPolicy": "Never"}}
        )
        await site.api.wait(
            lambda: any(
                status["state"].get("terminated", {}).get("exitCode") == 1
                for status in site.api.objects[twin].get("status", {}).get("containerStatuses", [])
            ),
            "one of them to fail",
        )

        logs = [agent.find_loop("shop", "web-twin", name) for name in ("one", "two")]
        said = [
            line.text for loop in logs if loop is not None and loop.log for line in loop.log.lines
        ]
        assert any("address already in use" in line for line in said)


async def test_logs_are_followed_until_the_end(site: Site) -> None:
    """A reader gets what is there, then what comes, and an end when the container ends."""
    async with site.node() as agent:
        image = web_image("1", exits=[{"code": 0, "afterSeconds": 0.3, "log": ["bye"]}])
        path = await site.bind(site.push(image), restartPolicy="Never")
        await site.wait_ready(path)
        port = site.api.objects["/api/v1/nodes/node-0"]["status"]["daemonEndpoints"][
            "kubeletEndpoint"
        ]["Port"]
        base = f"https://127.0.0.1:{port}/containerLogs/shop"
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{base}/web/web?follow=true", ssl=False) as response,
            session.get(f"{base}/nobody/web", ssl=False) as nobody,
            session.get(f"{base}/web/web?previous=true", ssl=False) as previous,
        ):
            assert await response.text() == "web 1 starts\nbye\n"
            assert nobody.status == 404
            assert previous.status == 400
            said = 'previous terminated container "web" in pod "web" not found'
            assert await previous.text() == said
        assert agent.find_loop("shop", "web", "other") is None


async def test_bodies_and_statuses_pass_the_front(site: Site) -> None:
    """A child's answers arrive unchanged but for the header, whatever the method."""
    async with site.node():
        image = web_image("1", runtime="process", smoke_statuses=[418])
        pod = await site.wait_ready(await site.bind(site.push(image)))
        url = f"http://{pod['status']['podIP']}:8080"
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/smoke", data=b"x" * 100_000) as teapot,
            session.head(f"{url}/health") as head,
            session.get(f"{url}/nothing?x=1") as missing,
        ):
            assert teapot.status == 418
            assert json.loads(await teapot.read()) == {"smoke": "1"}
            assert head.status == 200
            assert missing.status == 404
            assert missing.headers["X-Served-By"].startswith("web sha256:")


async def test_a_crashing_child_leaves_nothing_behind(site: Site) -> None:
    """Exit code and log are kept, the private directories go with the pod."""
    async with site.node() as agent:
        image = crashing_image("1", code=4, runtime="process")
        path = await site.bind(site.push(image))
        await site.api.wait(lambda: site.container(path).get("restartCount", 0) >= 2, "restarts")
        assert site.container(path)["lastState"]["terminated"]["exitCode"] == 4
        await site.delete(path)
        await site.api.wait(lambda: path not in site.api.objects, "the pod to be gone")
        await site.wait_for_tasks(agent)

        assert list((agent._settings.directory / "pods").iterdir()) == []
