"""The lock files: everything that pyproject.toml asks for, by hash, from no particular place."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.support.projects import REPOSITORY

_PIN = re.compile(
    r"^([A-Za-z0-9._-]+)==(\S+)((?: ;[^\\\n]*)?)((?: \\\n    --hash=sha256:\w{64})*)$"
)
_PLACES = ("://", "--index", "--extra-index", "--find-links", " @ ")


def _read_pins(name: str) -> dict[str, str]:
    """Read a lock file: canonical name -> version.

    Raises:
        AssertionError: A line is something else than a comment or a pin with hashes.
    """
    text = (REPOSITORY / "requirements" / name).read_text()
    lines = re.split(r"(?<!\\)\n", text)
    pins: dict[str, str] = {}
    for line in filter(None, lines):
        if line.startswith("#"):
            continue
        pin = _PIN.fullmatch(line)
        assert pin is not None, line
        assert pin[4], f"{pin[1]} has no hash"
        pins[canonicalize_name(pin[1])] = pin[2]
    return pins


def _project() -> dict[str, Any]:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text())


def _wanted_everywhere() -> list[str]:
    """List what the service, its extras and every group ask for."""
    project = _project()
    groups = project["dependency-groups"].values()
    listed = [entry for group in groups for entry in group if isinstance(entry, str)]
    extras = project["project"]["optional-dependencies"].values()
    return [
        *project["project"]["dependencies"],
        *(entry for extra in extras for entry in extra),
        *listed,
        *project["build-system"]["requires"],
    ]


@pytest.mark.parametrize("name", ["dev.txt", "run.txt", "build.txt"])
def test_no_lock_file_names_a_place(name: str) -> None:
    """Each machine takes the files from its own index; the hashes say which they are."""
    text = (REPOSITORY / "requirements" / name).read_text()

    assert [place for place in _PLACES if place in text] == []


@pytest.mark.parametrize(
    "name,wanted",
    [
        ("dev.txt", _wanted_everywhere()),
        ("run.txt", _project()["project"]["dependencies"]),
        ("build.txt", _project()["dependency-groups"]["build"]),
    ],
)
def test_everything_is_locked_by_hash(name: str, wanted: list[str]) -> None:
    """Every group and extra is there, in a version that pyproject.toml allows."""
    pins = _read_pins(name)
    for text in wanted:
        requirement = Requirement(text)
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{text} is not locked: run make lock"
        assert requirement.specifier.contains(version, prereleases=True), (text, version)


def test_the_image_gets_what_was_tested() -> None:
    """The lock files of the image hold the versions of the developers' one."""
    tested = _read_pins("dev.txt")
    shipped = _read_pins("run.txt") | _read_pins("build.txt")

    assert {name: tested.get(name) for name in shipped} == shipped
