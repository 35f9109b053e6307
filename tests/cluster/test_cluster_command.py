"""The cluster that people start by hand."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest

from tests.support.processes import ServerProcess, inherited_environment, wait_until

_REPOSITORY = Path(__file__).parents[2]


_ENVIRONMENT = ("HOME", "KUBEBUILDER_ASSETS", "PATH", "XDG_CACHE_HOME")


def _start(info: Path, log: Path) -> ServerProcess:
    command = [sys.executable, "-m", "tests.support.cluster", "--info", str(info)]
    environment = {"PYTHONPATH": str(_REPOSITORY), **inherited_environment(*_ENVIRONMENT)}
    return ServerProcess.start("cluster", command, log, environment=environment)


def _kubectl(kubeconfig: str, *arguments: str) -> str:
    result = subprocess.run(
        [Path(sys.prefix) / "bin" / "kubectl", f"--kubeconfig={kubeconfig}", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout + result.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_when_asked(end: signal.Signals, tmp_path: Path) -> None:
    """The file names a cluster with a node and a registry; a signal ends them and the file."""
    info = tmp_path / "info.json"
    server = _start(info, tmp_path / "log")
    try:
        wait_until(info.exists, what="the file", within=timedelta(seconds=60), servers=[server])
        said = json.loads(info.read_text(encoding="utf-8"))
        node = _kubectl(said["kubeconfig"], "wait", "--for=condition=Ready", f"node/{said['node']}")
        assert node == f"node/{said['node']} condition met\n"
        whoami = _kubectl(said["gitopsdKubeconfig"], "auth", "whoami")
        assert "system:serviceaccount:gitopsd:gitopsd" in whoami
        with urlopen(f"http://{said['registry']}/v2/") as answer:
            assert answer.status == 200
        assert said["pid"] == server.pid
        assert all(Path(f"/proc/{pid}").exists() for pid in said["pids"].values())
        server.popen.send_signal(end)
        assert server.popen.wait(timeout=20) == 0
    finally:
        server.stop()
    assert not any(Path(f"/proc/{pid}").exists() for pid in said["pids"].values())
    assert not info.exists()
    assert not (Path("/run/netns") / said["network"]["namespace"]).exists()
    assert Path(said["audit"]).exists()
