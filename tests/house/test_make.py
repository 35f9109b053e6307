"""The Makefile and the script that guards merges."""

from __future__ import annotations

import re
import subprocess

from tests.support.documents import read_document
from tests.support.projects import REPOSITORY


def test_make_alone_lists_every_target() -> None:
    """The default target prints help and does nothing; each target says what it is for."""
    printed = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=REPOSITORY,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = dict(re.findall(r"^  make ([a-z0-9-]+) +(\S.*)$", printed, re.MULTILINE))
    joined = read_document("Makefile").replace("\\\n", " ")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", joined, re.MULTILINE)

    assert set(listed) == set(phony.split())
    assert len(printed.splitlines()) == len(listed)


def test_what_guards_merges_runs_the_readers_commands() -> None:
    """The script lints, and then runs the very command that the README gives for the tests."""
    steps = re.findall(r"^step ([a-z-]+)$", read_document(".ci/run"), re.MULTILINE)

    assert re.search(r"^ {4}make test\b", read_document("README.md"), re.MULTILINE)
    assert steps.index("lint") < steps.index("test")
    assert steps[-1] == "test"


def test_the_licence_is_the_one_that_is_named() -> None:
    """Apache-2.0, whole, and in the package's metadata."""
    text = read_document("LICENSE")

    assert "Apache License\n" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert 'license = "Apache-2.0"' in read_document("pyproject.toml")
