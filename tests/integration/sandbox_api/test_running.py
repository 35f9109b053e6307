"""``gitopsd sandbox`` as a process: how it starts, how it ends, and that two do not meet."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

from tests.support.cluster_site import Site
from tests.support.images import web_image
from tests.support.processes import wait_until
from tests.support.registry import RegistryServer
from tests.support.sandbox_server import SandboxServer

PROGRAM = str(Path(sys.prefix) / "bin" / "gitopsd")
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"}


def children_of(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    done = subprocess.run(
        ["ps", "--no-headers", "-o", "pid", "--ppid", str(pid)],
        capture_output=True,
        text=True,
        check=False,
    )
    return [int(word) for word in done.stdout.split()]


def test_it_says_where_it_is(tmp_path: Path) -> None:
    """The info file has everything a program needs, and only its owner may read it."""
    with SandboxServer.start(tmp_path) as server:
        info = tmp_path / "info.json"
        facts = json.loads(info.read_text())

        assert set(facts) == {"pid", "kubeconfig", "api", "control"}
        assert facts["pid"] == server.process.pid
        assert info.stat().st_mode & 0o077 == 0
        assert server.admin_kubeconfig.stat().st_mode & 0o077 == 0
        assert server.client.get("/version")["major"] == "1"


def test_sigterm_ends_it_with_nothing_left(tmp_path: Path) -> None:
    """Pods, their processes, its folder and its addresses are gone; watchers do not keep it."""
    with RegistryServer(tmp_path / "registry") as registry:
        folder = tmp_path / "sandbox"
        folder.mkdir()
        server = SandboxServer.start(folder, registry.url)
        site = Site(server, registry, "default")
        site.deploy(site.push(web_image("1", runtime="process"), "1").pinned)
        site.wait_available(1)
        pid, home = server.process.pid, server.admin_kubeconfig.parent
        children = children_of(pid)
        watching = socket.create_connection((str(server.client.address), server.client.port))

        begun = time.monotonic()
        code = server.process.stop(timedelta(seconds=15))

        watching.close()
        assert code == 0
        assert time.monotonic() - begun < 15
        assert children
        wait_until(
            lambda: not any(Path(f"/proc/{child}").exists() for child in children),
            what="the pod's process to end",
            within=timedelta(seconds=20),
        )
        assert not home.exists()


def test_two_run_side_by_side(tmp_path: Path) -> None:
    """Each has its own ports, its own addresses for pods, and its own objects."""
    with RegistryServer(tmp_path / "registry") as registry:
        folders = [tmp_path / name for name in ("a", "b")]
        for folder in folders:
            folder.mkdir()
        one, two = (SandboxServer.start(folder, registry.url) for folder in folders)
        with one, two:
            addresses = set()
            for server in (one, two):
                site = Site(server, registry, "default")
                site.deploy(site.push(web_image("1"), "1").pinned, replicas=2)
                site.wait_available(2)
                site.serve()
                site.wait_endpoints(2)
                assert site.ask("/health").status == 200
                addresses |= {pod["status"]["podIP"] for pod in site.pods(bool, "pods")}
            assert len(addresses) == 4


def test_a_taken_port_is_said_at_once() -> None:
    """It ends with 2 and a sentence that helps."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [PROGRAM, "sandbox", "--listen", f"127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env=ENVIRONMENT,
        )

    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "port 0 takes a free one" in done.stderr


def test_options_that_make_no_sense_are_said() -> None:
    """What is wrong, and what to write."""
    for arguments, words in (
        (["--listen", "nowhere"], "write HOST:PORT"),
        (["--registry", "127.0.0.1:1", "--registry", "127.0.0.1:2"], "name one"),
    ):
        done = subprocess.run(
            [PROGRAM, "sandbox", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env=ENVIRONMENT,
        )
        assert done.returncode == 2
        assert words in done.stderr


def test_images_of_a_host_come_from_where_they_shall(tmp_path: Path) -> None:
    """A host's name stands for the registry that was given for it; others are asked themselves."""
    with RegistryServer(tmp_path / "registry") as registry:
        folder = tmp_path / "sandbox"
        folder.mkdir()
        mirror = f"ghcr.test={registry.url}"
        with SandboxServer.start(folder, "", "--registry", mirror) as server:
            site = Site(server, registry, "default")
            pushed = site.push(web_image("1"), "1")
            repository = pushed.repository.partition("/")[2]

            site.deploy(f"ghcr.test/{repository}@{pushed.digest}")

            site.wait_available(1)
