"""What the harness promises: it ends what it starts, and says what it needs."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tests.support.netns import ClusterNetwork, remove_stale_networks
from tests.support.processes import (
    ServerEndedError,
    ServerProcess,
    WaitTimeoutError,
    is_mark_alive,
    process_mark,
    wait_until,
)

_REPOSITORY = Path(__file__).parents[2]
_SOON = timedelta(seconds=20)
_CRASHING_RUN = """
import os, signal, sys
from pathlib import Path
from tests.support.netns import ClusterNetwork
from tests.support.processes import ServerProcess
network = ClusterNetwork.create()
server = ServerProcess.start("idle", ["sleep", "600"], Path(sys.argv[1]), prefix=network.prefix)
print(network.namespace, server.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def network() -> Iterator[ClusterNetwork]:
    """A network without a cluster."""
    made = ClusterNetwork.create()
    yield made
    made.close()


def _is_running(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits for its new parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def test_two_networks_do_not_overlap(network: ClusterNetwork) -> None:
    """A second network is made of addresses that the first does not have."""
    other = ClusterNetwork.create()
    try:
        assert not network.network.overlaps(other.network)
    finally:
        other.close()


def test_parts_of_a_network_do_not_overlap(network: ClusterNetwork) -> None:
    """Machine, API server, nodes, services and pods have addresses of their own in one network."""
    parts = (network.nodes, network.services, network.pods)
    for one, other in itertools.combinations(parts, 2):
        assert not one.overlaps(other)
    for address in (network.host_address, network.api_address):
        assert address in network.network
        assert not any(address in part for part in parts)
    assert all(part.subnet_of(network.network) for part in parts)


def test_closing_a_network_ends_what_runs_in_it(network: ClusterNetwork, tmp_path: Path) -> None:
    """A process left inside is killed by its id, and closing again is harmless."""
    server = ServerProcess.start("idle", ["sleep", "600"], tmp_path / "log", prefix=network.prefix)
    wait_until(lambda: _entered(server, network), what="the process to be inside", within=_SOON)
    network.close()
    network.close()
    assert server.stop() == -signal.SIGKILL
    assert not network.is_there


def _entered(server: ServerProcess, network: ClusterNetwork) -> bool:
    namespace = Path(f"/run/netns/{network.namespace}").stat().st_ino
    return Path(f"/proc/{server.pid}/ns/net").stat().st_ino == namespace


def test_a_crashed_run_leaves_nothing_after_the_next_start(tmp_path: Path) -> None:
    """Servers die with a killed test process; its network goes when the next one is made."""
    crashed = subprocess.run(
        [sys.executable, "-c", _CRASHING_RUN, str(tmp_path / "log")],
        cwd=_REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert crashed.returncode == -signal.SIGKILL, crashed.stderr
    namespace, pid = crashed.stdout.split()
    wait_until(lambda: not _is_running(int(pid)), what="the server to die", within=_SOON)
    remove_stale_networks()
    assert not (Path("/run/netns") / namespace).exists()


def test_a_mark_outlives_no_process() -> None:
    """A process is alive by its mark; another one's start time under its id is not."""
    mark = process_mark()
    assert is_mark_alive(f"folder-{mark}-x")
    assert not is_mark_alive(f"folder-{mark}0-x")
    assert is_mark_alive("a folder of somebody else")


def test_waiting_names_what_it_waited_for() -> None:
    """A condition that does not come true ends in an error that says which."""
    with pytest.raises(WaitTimeoutError, match=r"waited 0\.05 s for rain"):
        wait_until(lambda: False, what="rain", within=timedelta(milliseconds=50))


def test_waiting_ends_with_the_server(tmp_path: Path) -> None:
    """A server that ends while it is waited for is told with its code and its last words."""
    server = ServerProcess.start("brief", ["sh", "-c", "echo no room; exit 3"], tmp_path / "log")
    with pytest.raises(ServerEndedError, match=r"brief ended with 3(.|\n)*no room"):
        wait_until(lambda: False, what="anything", within=_SOON, servers=[server])
    assert server.stop() == 3


def test_a_server_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    """What does not end when asked to is killed after the grace."""
    script = "trap '' TERM; echo ready; while :; do wait; sleep 600; done"
    server = ServerProcess.start("deaf", ["sh", "-c", script], tmp_path / "log")
    wait_until(
        lambda: "ready" in server.tail(), what="it to listen", within=_SOON, servers=[server]
    )
    assert server.stop(grace=timedelta(milliseconds=50)) == -signal.SIGKILL


def test_without_the_programs_a_sentence_says_how_to_build_them(tmp_path: Path) -> None:
    """A user whose cache is empty is told the command."""
    result = subprocess.run(
        ["sh", "tests/envtest/build.sh", "--where"],
        cwd=_REPOSITORY,
        env={"PATH": os.defpath, "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert "build it with: make envtest" in result.stderr


def test_programs_of_ones_own_are_used_when_complete(tmp_path: Path) -> None:
    """KUBEBUILDER_ASSETS overrides what is built, and a missing program in it is named."""

    def find() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "tests/envtest/build.sh"],
            cwd=_REPOSITORY,
            env={"PATH": os.defpath, "KUBEBUILDER_ASSETS": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )

    programs = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
    for name in programs[:3]:
        (tmp_path / name).touch(mode=0o755)
    assert "has no executable kube-scheduler" in find().stderr
    (tmp_path / programs[3]).touch(mode=0o755)
    assert find().stdout.splitlines()[-1] == str(tmp_path)


def test_without_rights_a_sentence_says_what_is_needed() -> None:
    """Who may not make network namespaces is told what to run, not shown a stack of errors."""
    script = (
        "import ctypes\n"
        "from tests.support.netns import ClusterNetwork, NetworkError\n"
        "version_3 = (ctypes.c_uint32 * 2)(0x20080522, 0)\n"
        "assert ctypes.CDLL(None).capset(version_3, (ctypes.c_uint32 * 6)()) == 0\n"
        "try: ClusterNetwork.create()\n"
        "except NetworkError as error: print(error)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=_REPOSITORY, capture_output=True, text=True, check=False
    )
    assert "needs a network namespace, which this user may not make" in result.stdout, result.stderr
    assert "sh tools/own-network.sh" in result.stdout
