"""Commands in containers, through the API server and its node: simulated and real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.cluster_ports import ApiRefusal, Cluster, CommandOutput, PodCommand
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.cluster_site import is_ready
from tests.support.images import web_image
from tests.support.widening import grant, let_impersonate

if TYPE_CHECKING:
    from tests.contracts.cluster.conftest import Plane
    from tests.support.cluster_site import Site

EXEC = {"apiGroups": [""], "resources": ["pods/exec"]}
PROGRAM = ("python3", "-c")
SCRIPT = "import sys; print('all is well'); print('but not quite', file=sys.stderr); sys.exit({})"


@pytest.fixture
async def clusters(plane: Plane, site: Site) -> AsyncIterator[ConfiguredClusters]:
    """The adapter against the cluster, with the right to run commands in the site."""
    rules = [{**EXEC, "verbs": ["get", "create"]}]
    grant(plane.access, "exec", rules, namespace=site.namespace)
    made = ConfiguredClusters(lambda: plane.specs, MemoryTelemetry())
    yield made
    await made.close()


async def run(
    cluster: Cluster, site: Site, pod: str, *words: str, container: str = "web", seconds: float = 20
) -> CommandOutput | ApiRefusal:
    """Run a command; rights that were given just now take a moment."""
    command = PodCommand(site.namespace, pod, container, words, timedelta(seconds=seconds), 4096)
    output = await cluster.run_command(command)
    while isinstance(output, ApiRefusal) and output.code == 403 and "system:" in output.message:
        output = await cluster.run_command(command)
    return output


@pytest.mark.timeout(60)
async def test_a_command_tells_its_exit_code_and_both_its_streams(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """What it prints does not matter for how it ended, and words reach it as they are."""
    site.deploy(site.push(web_image("1", runtime="process"), "1").pinned)
    pod = site.pod(is_ready, "a ready pod")["metadata"]["name"]
    cluster = clusters.get("gitopsd")

    good = await run(cluster, site, pod, *PROGRAM, SCRIPT.format(0))
    bad = await run(cluster, site, pod, *PROGRAM, SCRIPT.format(1))
    odd = await run(cluster, site, pod, *PROGRAM, "import sys; print(sys.argv[1:])", "a b", "&=ü;")
    long = await run(cluster, site, pod, *PROGRAM, "print('x' * 100_000)")

    said, trouble = b"all is well\n", b"but not quite\n"
    assert good == CommandOutput(0, said, trouble)
    assert bad == CommandOutput(1, said, trouble)
    assert odd == CommandOutput(0, "['a b', '&=ü;']\n".encode(), b"")
    assert isinstance(long, CommandOutput)
    assert (long.exit_code, long.stdout) == (0, b"x" * 4096)


@pytest.mark.timeout(60)
async def test_a_command_that_cannot_be_seen_to_its_end_has_no_exit_code(
    site: Site, clusters: ConfiguredClusters
) -> None:
    """No such program, and one that takes longer than it may."""
    site.deploy(site.push(web_image("1", runtime="process"), "1").pinned)
    pod = site.pod(is_ready, "a ready pod")["metadata"]["name"]
    cluster = clusters.get("gitopsd")

    none = await run(cluster, site, pod, "no-such-program")
    wait = "import threading; threading.Event().wait(30)"
    late = await run(cluster, site, pod, *PROGRAM, f"print('begun', flush=True); {wait}", seconds=1)

    assert isinstance(none, CommandOutput)
    assert none.exit_code is None
    assert "executable file not found" in none.message
    assert isinstance(late, CommandOutput)
    assert (late.exit_code, late.timed_out) == (None, True)


@pytest.mark.timeout(60)
async def test_refusals_are_the_servers_own(site: Site, clusters: ConfiguredClusters) -> None:
    """No such pod, no such container, and nobody's right to run anything."""
    access = site.cluster
    site.deploy(site.push(web_image("1", exec={"true": 0}), "1").pinned)
    pod = site.pod(is_ready, "a ready pod")["metadata"]["name"]
    cluster = clusters.get("gitopsd")
    access.make_account(site.namespace, "looker", [{**EXEC, "verbs": ["get"]}])
    let_impersonate(access, site.namespace)
    looker = clusters.get("gitopsd", service_account="looker", namespace=site.namespace)

    assert await run(cluster, site, pod, "true") == CommandOutput(0)
    gone = await run(cluster, site, "none", "true")
    other = await run(cluster, site, pod, "true", container="none")
    command = PodCommand(site.namespace, pod, "web", ("true",), timedelta(seconds=20))
    denied = await looker.run_command(command)

    assert isinstance(gone, ApiRefusal)
    assert (gone.code, gone.reason) == (404, "NotFound")
    assert isinstance(other, ApiRefusal)
    assert other.code == 400
    assert "none" in other.message
    assert isinstance(denied, ApiRefusal)
    assert denied.code == 403
