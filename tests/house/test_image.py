"""The Dockerfile: what can be known of it without an engine that builds it."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.support.processes import inherited_environment
from tests.support.projects import REPOSITORY

_TEXT = (REPOSITORY / "Dockerfile").read_text()
_INSTRUCTION = re.compile(r"^([A-Z]+) ((?:.*\\\n)*.*)$", re.MULTILINE)
_FIRST_OF_ITS_OWN = 10_000
"""Numbers of users above this belong to nobody on a usual host."""
_LARGEST_WHEEL_BYTES = 10_000_000
"""Unpacked; ten times what it is."""


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


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the image installs, built as the image builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=REPOSITORY,
        env=inherited_environment("HOME", "PATH"),
        check=True,
        capture_output=True,
    )
    return next(folder.glob("*.whl"))


def test_its_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    """Every file: migrations, data, the example's manifests; no test, no history, no secret."""
    held = set(zipfile.ZipFile(wheel).namelist())
    tracked = subprocess.run(
        ["git", "ls-files", "gitopsd"], cwd=REPOSITORY, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    size = sum(entry.file_size for entry in zipfile.ZipFile(wheel).infolist())

    assert {name for name in tracked if (REPOSITORY / name).exists()} - held == set()
    assert {name.partition("/")[0].partition("-")[0] for name in held} == {"gitopsd"}
    assert not [name for name in held if re.search(r"(^|/)(tests?|\.git|\.env)(/|$)", name)]
    assert size < _LARGEST_WHEEL_BYTES


def test_its_context_is_small() -> None:
    """Nothing is sent to the builder that is not named: no history, no tests, no data."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()

    assert lines[0] == "*"
    assert not [line for line in lines if re.match(r"!(\.|tests|build|data|config)", line)]


_CONFINED = """\
for place in "$1:python" "$3:site" "$0/packages:packages"; do
    mount --bind "${place%:*}" "$0/${place##*:}"
    mount -o remount,bind,ro "$0/${place##*:}"
done
root=$0; cd "$root/data"
touch "$root/packages/new" 2>/dev/null && exit 9
exec env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="$root/python/lib" \
    PYTHONPATH="$root/packages" PYTHONDONTWRITEBYTECODE=1 \
    GITOPSD_DATA_DIR="$root/data" GITOPSD_CONFIG_DIR="$root/config" \
    setpriv $IDENTITY --no-new-privs sh -ec '
        python=$1; id -u
        "$python" -S -m gitopsd --version
        "$python" -S -m gitopsd migrate
    ' sh "$root/python/bin/$2"
"""


@pytest.mark.timeout(300)
def test_what_is_locked_is_enough_for_it(wheel: Path) -> None:
    """It starts with the packages of the lock file alone, on files that nobody can write.

    As in the image: the user's number, no home, no privileges, and only the data directory to
    write to. Whoever is not root cannot become that user and keeps his own.
    """
    site = Path(pytest.__file__).parents[1]
    base = Path(sys._base_executable)  # type: ignore[attr-defined] # there since 3.3
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        for name in ("packages", "config", "data", "python", "site"):
            (root / name).mkdir()
        for name in _list_locked():
            (root / "packages" / name).symlink_to(root / "site" / name)
        zipfile.ZipFile(wheel).extractall(root / "packages")
        user, _, group = _instructions("USER")[-1].partition(":")
        identity, unshare = "", ["unshare", "--map-root-user", "--mount"]
        if os.geteuid() == 0:
            root.chmod(0o755)
            os.chown(root / "data", int(user), int(group))
            identity = f"--reuid={user} --regid={group} --clear-groups"
            unshare = ["unshare", "--mount"]
        ran = subprocess.run(
            [*unshare, "sh", "-ec", _CONFINED, root, base.parents[1], base.name, site],
            env={"PATH": os.defpath, "IDENTITY": identity},
            capture_output=True,
            text=True,
            check=False,
        )
        database = (root / "data" / "gitopsd.db").exists()

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert identity == "" or ran.stdout.startswith(f"{user}\n")
    assert re.search(r"^gitopsd \d+\.\d+\.\d+$", ran.stdout, re.MULTILINE)
    assert "The database is up to date." in ran.stdout
    assert database


def _list_locked() -> set[str]:
    """List the files and folders of this environment's packages that requirements/run.txt names."""
    text = (REPOSITORY / "requirements" / "run.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9._-]+==[^\\\n]+)", text, re.MULTILINE)
    wanted = [Requirement(pin.strip()) for pin in pins]
    here = [one.name for one in wanted if one.marker is None or one.marker.evaluate()]
    files = [file for name in here for file in importlib.metadata.distribution(name).files or ()]
    return {file.parts[0] for file in files} - {"..", "__pycache__"}
