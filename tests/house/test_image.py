"""The Dockerfile: what can be known of it without an engine that builds it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

from tests.support.processes import inherited_environment
from tests.support.projects import REPOSITORY

_TEXT = (REPOSITORY / "Dockerfile").read_text()
_INSTRUCTION = re.compile(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.MULTILINE)
_FIRST_OF_ITS_OWN = 10_000
"""Numbers of users above this belong to nobody on a usual host."""


def _instructions(name: str) -> list[str]:
    """List the arguments of an instruction, joined to one line each."""
    found = _INSTRUCTION.finditer(_TEXT)
    return [re.sub(r"\s*\\\n\s*", " ", match[2]) for match in found if match[1] == name]


def test_every_base_is_named_by_its_digest() -> None:
    """What is built tomorrow starts from the same bytes as today."""
    stages: set[str] = set()
    bases = [line.split() for line in _instructions("FROM")]
    for base, *name in bases:
        pinned = re.fullmatch(r"[a-z]+:[\w.-]+@sha256:[0-9a-f]{64}", base)
        assert pinned or base in stages, base
        stages.update(name[1:])
    assert len(bases) > 1


def test_every_package_is_named_by_its_hash() -> None:
    """Nothing is installed by name alone, nothing is compiled, and pip does not come along."""
    installs = [
        command.strip()
        for run in _instructions("RUN")
        for command in run.split("&&")
        if "pip install" in command
    ]
    assert installs
    for command in installs:
        by_hash = "--require-hashes" in command and "--only-binary :all:" in command
        own = "--no-index" in command and "--no-deps" in command
        assert by_hash or own, command
    assert "pip uninstall --yes pip" in _TEXT


def test_it_runs_as_nobody_of_the_host() -> None:
    """The user is a number, as `runAsNonRoot` needs it, and no user of a usual host."""
    user = _instructions("USER")[-1]

    assert all(int(number) > _FIRST_OF_ITS_OWN for number in user.split(":"))
    assert _instructions("ARG") == [f"USER_ID={user.split(':')[0]}"]


def test_what_it_copies_is_there_and_not_ignored() -> None:
    """Each source of a COPY from the build context exists and passes `.dockerignore`."""
    allowed = {
        line.removeprefix("!")
        for line in (REPOSITORY / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for line in _instructions("COPY"):
        if line.startswith("--from="):
            continue
        for source in line.split()[:-1]:
            assert (REPOSITORY / source).exists(), source
            passes = [name for name in allowed if source == name or source.startswith(f"{name}/")]
            assert passes, f"{source} is not let through by .dockerignore"


def test_it_copies_what_the_wheel_is_made_of() -> None:
    """Folders that pyproject.toml puts into the wheel are in the build's context."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    folders = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    copied = {source for line in _instructions("COPY") for source in line.split()[:-1]}
    assert set(folders) <= copied


def test_its_kustomize_is_the_one_that_is_tested() -> None:
    """The image renders with the kustomize that the pinned kubectl holds."""
    said = subprocess.run(
        [Path(sys.executable).with_name("kubectl"), "version", "--client"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    module = (REPOSITORY / "tools" / "kustomize" / "go.mod").read_text()

    tested = re.search(r"Kustomize Version: (v\S+)", said)
    built = re.search(r"sigs\.k8s\.io/kustomize/kustomize/v5 (v\S+)", module)
    assert tested is not None
    assert built is not None
    assert built[1] == tested[1]


def test_its_wheel_holds_every_file_and_runs(tmp_path: Path) -> None:
    """What the image installs is the whole package: migrations, data, the command."""
    environment = inherited_environment("HOME", "PATH")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path],
        cwd=REPOSITORY,
        env=environment,
        check=True,
        capture_output=True,
    )
    wheel = next(tmp_path.glob("*.whl"))
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "gitopsd"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    assert {name for name in tracked if (REPOSITORY / name).exists()} - held == set()

    venv.create(tmp_path / "venv", system_site_packages=False, with_pip=False)
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(site)
    (site / "locked.pth").write_text(
        f"{next(Path(sys.prefix).glob('lib/python*/site-packages'))}\n"
    )
    ran = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-m", "gitopsd", "--version"],
        cwd=tmp_path,
        env=environment,
        check=True,
        capture_output=True,
        text=True,
    )
    assert re.fullmatch(r"gitopsd \d+\.\d+\.\d+\n", ran.stdout)
