"""The first commands of the README, typed by somebody who has just found it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.documents import list_command_blocks, read_document
from tests.support.terminal import Terminal, make_origin, open_terminal

HOME = "https://github.com/OWNER/gitopsd.git"
DEMO, TESTS, *_ = list_command_blocks(read_document("README.md"))


@pytest.fixture(scope="module", name="terminal")
def open_one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    """A terminal from which this repository can be cloned."""
    folder = tmp_path_factory.mktemp("first")
    origin = folder / "gitopsd.git"
    ready_made = make_origin(origin)
    clone = folder / "home" / "gitopsd"
    terminal = open_terminal(folder / "home", {HOME: str(origin)}, **ready_made)
    terminal.environment["PYTHONPATH"] = str(clone)
    yield terminal
    assert _left_by_it(terminal) == []


def _left_by_it(terminal: Terminal) -> list[str]:
    """What is in the temporary folder, but for pytest's own, of which it keeps the last three."""
    names = [path.name for path in (terminal.directory / "tmp").iterdir()]
    return [name for name in names if not name.startswith("pytest-of-")]


@pytest.mark.timeout(400)
def test_the_first_two_commands_end_on_the_summary(terminal: Terminal) -> None:
    """A clone and `make demo` play every scenario and leave nothing in the temporary folder."""
    terminal.stands = terminal.directory
    shutil.rmtree(terminal.directory / "gitopsd", ignore_errors=True)
    said = terminal.type(DEMO)

    assert [line.split()[:2] for line in said.splitlines()[-5:]] == [
        ["ok", "good-release"],
        ["ok", "never-ready"],
        ["ok", "production-smoke-fails"],
        ["ok", "fix-overtakes-stuck"],
        ["ok", "image-push"],
    ]
    assert sorted(path.name for path in terminal.directory.glob("[!.]*")) == ["gitopsd", "tmp"]
    assert _left_by_it(terminal) == []


@pytest.mark.timeout(400)
def test_the_command_for_all_tests_runs_them(terminal: Terminal) -> None:
    """`make test` finds the servers and the control plane, and runs pytest; here on a few tests."""
    clone = terminal.directory / "gitopsd"
    if not clone.exists():
        terminal.type(DEMO.splitlines()[0])
    terminal.stands = clone
    terminal.environment["ARGS"] = "tests/unit/webhooks -q"
    said = terminal.type(TESTS)
    del terminal.environment["ARGS"]

    assert " passed" in said
    assert (clone / "build" / "junit" / "tests.xml").exists()
