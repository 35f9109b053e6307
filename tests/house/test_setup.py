"""Setting up a clone says what the machine lacks, with the command that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bare_machine import BareMachine, make_bare_machine, without_place

_OLD = """\
case $1 in
    --version) echo "Python 3.9.2" ;;
    *) echo 3.9; exit 1 ;;
esac
"""
_BUSY = """\
case "$*" in
    *version_info*) echo 3.11 ;;
    "-m venv .venv")
        echo made >> made
        mkdir -p .venv/bin
        printf '#!/bin/sh\\nexit 0\\n' > .venv/bin/python
        chmod 755 .venv/bin/python ;;
esac
"""
_NO_INDEX = 'case "$*" in *install*) echo No matching distribution >&2; exit 1 ;; esac'


@pytest.fixture
def machine(tmp_path: Path) -> BareMachine:
    """A machine without Python, Go, Git and servers."""
    return make_bare_machine(tmp_path)


def _say(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0, done.stdout
    return done.stderr


@pytest.mark.parametrize("target", ["setup", "demo", "test", "lint"])
def test_without_python_the_packages_are_named(machine: BareMachine, target: str) -> None:
    """Every target that needs Python says that there is none, and how to get it."""
    said = _say(machine.run("make", target))

    assert "there is no python3 command" in said
    assert "sudo apt-get install python3.11 python3.11-venv" in said


def test_an_old_python_is_named_with_its_version(machine: BareMachine) -> None:
    """What is too old is said with its version, and with the packages that are new enough."""
    machine.write("python3", _OLD)
    said = _say(machine.run("make", "demo"))

    assert "needs Python 3.11 or newer, and python3 is Python 3.9.2" in said
    assert "sudo apt-get install python3.11 python3.11-venv" in said
    assert "make setup PYTHON=/path/to/python3" in said


def test_a_python_that_is_named_must_be_new_enough(machine: BareMachine) -> None:
    """PYTHON names the only one that is looked at."""
    machine.write("python3", _BUSY)
    machine.write("old", _OLD)
    said = _say(machine.run("make", "setup", "PYTHON=old"))

    assert "old is Python 3.9.2" in said
    assert "there is no python2 command" in _say(machine.run("make", "setup", "PYTHON=python2"))


def test_a_newer_python_beside_an_old_one_is_found(machine: BareMachine) -> None:
    """Where python3 is too old, python3.12 is taken without a word."""
    machine.write("python3", _OLD)
    machine.write("python3.12", _BUSY)

    assert machine.run("make", "setup").returncode == 0
    assert (machine.clone / "made").read_text() == "made\n"


def test_without_the_venv_module_its_package_is_named(machine: BareMachine) -> None:
    """Debian has ensurepip in a package of its own, one for each version of Python."""
    script = f"""\
        case "$*" in *ensurepip*) exit 1 ;; esac
        exec {sys.executable} "$@"
        """
    machine.write("python3", script)
    said = _say(machine.run("make", "setup"))

    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert f"sudo apt-get install python{version}-venv" in said
    assert not (machine.clone / ".venv").exists()


def test_without_an_index_of_packages_it_says_how_to_name_one(machine: BareMachine) -> None:
    """What pip said stands there, then what to do; the next run begins where this one ended."""
    machine.write("python3", _BUSY.replace("exit 0", _NO_INDEX))
    half = machine.clone / ".venv" / "bin"
    half.mkdir(parents=True)
    (half / "python").write_text("#!/bin/sh\nexit 1\n")
    (half / "python").chmod(0o755)
    said = _say(machine.run("make", "setup"))

    assert "No matching distribution" in said
    assert "export PIP_INDEX_URL=https://MIRROR/simple" in said
    assert not (machine.clone / ".venv" / ".locked").exists()
    assert "MIRROR" in _say(machine.run("make", "setup"))
    assert (machine.clone / "made").read_text() == "made\n"


def test_two_setups_at_once_make_one_environment(machine: BareMachine) -> None:
    """The second waits for the first, and finds it done."""
    machine.write("python3", _BUSY)
    both = [
        subprocess.Popen(["make", "setup"], cwd=machine.clone, env=machine.environment)
        for _ in range(2)
    ]

    assert [one.wait(20) for one in both] == [0, 0]
    assert (machine.clone / "made").read_text() == "made\n"
    assert machine.run("make", "--question", "setup").returncode == 0


def test_missing_servers_are_installed_by_one_command(machine: BareMachine) -> None:
    """Who is not root reads what is missing and the command to run as root."""
    machine.write("id", "echo 1000")
    machine.write("apt-get", "exit 1")
    said = _say(machine.run("make", "servers"))

    assert "missing test servers: git curl" in said
    assert "docker-registry" in said
    assert "\n  sudo make servers\n" in said


def test_servers_of_another_system_are_named(machine: BareMachine) -> None:
    """Where there is no apt-get, the programs are named for the system's own way."""
    said = _say(machine.run("make", "servers"))

    assert "missing test servers: git curl" in said
    assert "has no apt-get" in said


def test_without_go_the_command_that_unpacks_it_is_named(machine: BareMachine) -> None:
    """Building the control plane says which Go it takes, from where, and where it looked."""
    command = without_place(Path("/usr/local/go"), ["make", "envtest"])
    said = _say(machine.run(*command))

    assert "there is no go command, in /usr/local/go neither" in said
    assert "curl -fsSL https://go.dev/dl/go1." in said
    assert "| sudo tar -C /usr/local -xz" in said


def test_an_old_go_is_named_with_its_version(machine: BareMachine) -> None:
    """A distribution's old Go is not tried: it would fail after a while, in words of its own."""
    machine.write("go", "echo go1.19.8")
    said = _say(machine.run("make", "envtest"))

    assert f"{machine.programs}/go is go1.19.8" in said
    assert "curl -fsSL https://go.dev/dl/go1." in said


def test_a_build_that_fails_says_where_modules_come_from(machine: BareMachine) -> None:
    """What Go said stands there, then what to do; nothing half built is kept."""
    machine.write(
        "go",
        """\
        case $1 in
            env) echo go9.0.0 ;;
            *) echo "dial tcp: no route to host" >&2; exit 1 ;;
        esac
        """,
    )
    said = _say(machine.run("make", "envtest"))

    assert "no route to host" in said
    assert "set GOPROXY and run make again" in said
    kept = machine.home / ".cache" / "gitopsd" / "envtest"
    assert [path.name for path in kept.iterdir()] == ["lock"]


def test_who_may_not_make_networks_is_told_how_to(machine: BareMachine) -> None:
    """An ordinary user reads the setting in the way, if it is one, and the command for root."""
    machine.write("id", "echo 1000")
    machine.write("unshare", "exit 1")
    said = _say(machine.run("sh", "tools/own-network.sh", "true"))

    assert "an ordinary user may not make one here" in said
    assert "\n  sudo make test\n" in said


def test_root_without_the_right_runs_where_it_is(machine: BareMachine) -> None:
    """In a container that keeps the right from root, tests run in the network that is there."""
    machine.write("id", "echo 0")
    machine.write("unshare", "exit 1")

    assert machine.run("sh", "tools/own-network.sh", "sh", "-c", "exit 7").returncode == 7


def test_a_command_of_its_own_network_sees_loopback_alone(machine: BareMachine) -> None:
    """It has an address of its own and a /run of its own; files are those of the machine."""
    for name in ("unshare", "mount", "ip", "ls", "test"):
        machine.link(name)
    script = "ip -oneline address | cut -d ' ' -f 2 | sort -u; ls /run; test -e Makefile"
    done = machine.run("sh", "tools/own-network.sh", "sh", "-c", script)

    assert done.returncode == 0, done.stderr
    # The second is what mount itself notes there.
    assert done.stdout.split() in (["lo"], ["lo", "mount"])
