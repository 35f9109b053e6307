"""``gitopsd demo``, as a stranger starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from time import monotonic
from types import NoneType
from typing import Any

import pytest

from gitopsd.cli.demo.preparation import check_room
from gitopsd.errors import PermanentError
from tests.support.demo_runs import DemoRun, run_demo, run_demo_to_its_end
from tests.support.processes import wait_until

LONGEST = timedelta(minutes=2)
OUTCOMES = {
    "good-release": "VerifiedInProduction",
    "never-ready": "RestoredInStaging",
    "production-smoke-fails": "RestoredInProduction",
    "fix-overtakes-stuck": "Overtaken",
    "image-push": "VerifiedByDigest",
}
RELEASED = {"good-release", "fix-overtakes-stuck", "image-push"}
RESTORED = {"never-ready", "production-smoke-fails", "fix-overtakes-stuck"}
SECONDS = {"push_to_production_seconds": RELEASED, "fault_to_restored_seconds": RESTORED}


@pytest.fixture
def held() -> Iterator[DemoRun]:
    """A demo that plays nothing and stays up."""
    with run_demo("--hold") as demo:
        yield demo


@pytest.mark.timeout(600)
def test_two_demos_side_by_side_play_every_scenario() -> None:
    """Each comes out right, says so to programs, and leaves nothing; one alone has two minutes."""
    with ExitStack() as stack:
        demos = [stack.enter_context(run_demo("--headless", "--json")) for _ in range(2)]
        for demo in demos:
            code, result = demo.wait(LONGEST * len(demos))
            assert monotonic() - demo.began < LONGEST.total_seconds() * len(demos)
            assert (code, result["ok"]) == (0, True), demo.said
            assert result.keys() == {"ok", "scenarios"}
            assert list(result["scenarios"]) == list(OUTCOMES)
            assert "\x1b" not in demo.said
            assert "\r" not in demo.said
            for name, outcome in OUTCOMES.items():
                check_scenario(name, result["scenarios"][name], outcome)
            assert demo.leftovers() == []


def check_scenario(name: str, found: dict[str, Any], outcome: str) -> None:
    """Compare what a scenario says of itself with what it is to say."""
    assert found.keys() == {"ok", "outcome", *SECONDS}
    assert (found["ok"], found["outcome"]) == (True, outcome)
    for key, has_one in SECONDS.items():
        assert isinstance(found[key], float if name in has_one else NoneType), key


@pytest.mark.timeout(200)
@pytest.mark.parametrize(
    "victim",
    ["staging-cluster", "production-cluster", "registry", "git-host", "valkey", "gitopsd"],
)
def test_a_part_that_dies_ends_the_play_with_a_sentence(victim: str) -> None:
    """What is killed in the middle of a scenario makes it not ok, and is named as the cause."""
    with run_demo("--headless", "--json") as demo:
        pid = demo.info["pids"][victim]
        wait_until(
            lambda: "git push" in demo.said,
            what="a scenario to play",
            within=timedelta(seconds=60),
            servers=[demo.process],
        )
        os.kill(pid, signal.SIGKILL)
        code, result = demo.wait(timedelta(seconds=60))
        assert (code, result["ok"]) == (1, False)
        assert f"gitopsd demo: good-release: {victim} was killed by signal 9." in demo.said
        assert not any(played["ok"] for played in result["scenarios"].values())
        assert demo.leftovers() == []


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_demo_that_is_told_to_end_leaves_nothing(held: DemoRun, how: signal.Signals) -> None:
    """Asked, with Ctrl-C or without its terminal it ends well; no process and no file is left."""
    info = held.info
    assert {"api", "tokens", "git", "registry", "receiver", "clusters", "pids", "logs"} == set(info)
    assert set(info["tokens"]) == {"deployer", "approver", "author"}
    held.signal(how)
    assert held.process.popen.wait(30) == 0
    assert held.leftovers() == []
    assert not [pid for pid in info["pids"].values() if Path(f"/proc/{pid}").exists()]


@pytest.mark.timeout(120)
def test_a_demo_that_is_killed_takes_its_processes_along(held: DemoRun) -> None:
    """Even SIGKILL leaves no process behind."""
    assert held.info["pids"]
    held.signal(signal.SIGKILL)
    held.await_nothing_left()


@pytest.mark.timeout(120)
def test_a_held_demo_is_driven_with_ordinary_git(held: DemoRun) -> None:
    """What it holds can be cloned, and a commit that is pushed becomes the line's head."""
    info = held.info
    work = held.folder / "clone"
    run_git(held.folder, "clone", "--quiet", info["git"], str(work))
    (work / "base" / "namespace.yaml").write_text(
        (work / "base" / "namespace.yaml").read_text() + "    team: platform\n"
    )
    run_git(work, "commit", "--quiet", "--all", "--message", "Name the team")
    run_git(work, "push", "--quiet", "origin", "main")
    head = run_git(work, "rev-parse", "HEAD").strip()
    program = str(Path(sys.executable).parent / "kubectl")
    kubectl = [program, "--kubeconfig", info["clusters"]["staging"]["kubeconfig"]]
    wanted = [*kubectl, "get", "namespace", "ai-core-staging", "-o", "jsonpath={.metadata.labels}"]

    def arrived() -> bool:
        answer = subprocess.run(wanted, capture_output=True, text=True, check=False, timeout=20)
        return '"team":"platform"' in answer.stdout

    wait_until(arrived, what=f"staging to have {head}", within=timedelta(seconds=60))


def run_git(directory: Path, *words: str) -> str:
    """Run Git as a person does."""
    done = subprocess.run(
        ["git", *words], cwd=directory, capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout


def test_an_address_that_is_taken_is_said_at_once() -> None:
    """The demo names the address, and the command that takes another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run_demo_to_its_end("--headless", "--listen", address, environment={})
    assert done.returncode == 1
    assert address in done.stderr
    assert "gitopsd demo --listen 127.0.0.1:0" in done.stderr


def test_a_machine_without_git_is_told_how_to_get_it(tmp_path: Path) -> None:
    """Without Git nothing starts; the demo names the command that installs it."""
    done = run_demo_to_its_end("--headless", environment={"PATH": str(tmp_path)})
    assert done.returncode == 1
    assert "apt-get install git" in done.stderr


def test_a_folder_without_room_is_said_at_once(tmp_path: Path) -> None:
    """A temporary folder that cannot be written is named, with the command that helps."""
    with pytest.raises(PermanentError, match="TMPDIR="):
        check_room(tmp_path / "missing")
