"""Rules of the house that no linter knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.support.projects import REPOSITORY

_CODE = ("gitopsd", "tests", "tools", "benchmarks")
_EXCUSE = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:)")
_REASONED = re.compile(
    r"# noqa: [A-Z0-9, ]+ - \S"
    r"|# type: ignore\[[a-z, -]+\]\s+# \S"
    r"|# pragma: no (?:cover|branch) - \S"
)
_UNRUN = {"skip", "skipif", "xfail", "importorskip", "flaky"}


def _sources(*folders: str) -> Iterator[Path]:
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if "fixtures" not in path.relative_to(REPOSITORY).parts:
                yield path


def _place(path: Path, line: int) -> str:
    return f"{path.relative_to(REPOSITORY)}:{line}"


def test_every_excuse_has_a_reason() -> None:
    """Each noqa, type: ignore and pragma names its rule and says why."""
    bare = [
        f"{_place(path, number)}: {line.strip()}"
        for path in _sources(*_CODE)
        if path != Path(__file__)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if _EXCUSE.search(line) and not _REASONED.search(line)
    ]

    assert bare == []


def _attributes(path: Path) -> Iterator[ast.Attribute]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            yield node


def test_every_test_runs() -> None:
    """No test is skipped, expected to fail or run again."""
    found = [
        _place(path, node.lineno)
        for path in _sources("tests")
        for node in _attributes(path)
        if node.attr in _UNRUN and ast.unparse(node.value) in ("pytest", "pytest.mark")
    ]

    assert found == []


def test_nothing_is_patched() -> None:
    """Tests replace no attribute of a module or class; they pass fakes in."""
    found = [
        _place(path, node.lineno)
        for path in _sources("tests")
        for node in _attributes(path)
        if node.attr in ("setattr", "delattr") or ast.unparse(node.value) in ("mocker", "mock")
    ]

    assert found == []
