"""Mutation testing: which changes are made, and whether unnoticed ones are found."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from textwrap import dedent

import pytest

from tests.support.projects import run_module, write_project
from tools.mutants.sites import Function, build_mutant, select_mutants


def _changes(source: str) -> list[str]:
    text = dedent(source)
    made = [
        ast.unparse(build_mutant(text, mutant.number)) for mutant in select_mutants("x.py", text)
    ]
    return [" ; ".join(line.strip() for line in each.splitlines()) for each in made]


@pytest.mark.parametrize(
    "source, expected",
    [
        ("a < b", ["a <= b", "a >= b"]),
        ("a == b", ["a != b"]),
        ("x = a and b", ["x = a or b", "x = b", "x = a"]),
        ("x = not a", ["x = a"]),
        ("x = a + b", ["x = a - b"]),
        ("x += a", ["x -= a"]),
        ("x = True", ["x = False"]),
        ("x = 3", ["x = 4"]),
        ("x = 'Failed'", ["x = 'XXFailed'"]),
        ("forget(a)", ["pass"]),
        ("x = replace(a, b=c)", ["x = replace(a)"]),
        ("x = {a, b}", ["x = {b}", "x = {a}"]),
        ("x = {a: b}", ["x = {}"]),
        ("x = [a for a in b if a]", ["x = [a for a in b]"]),
        ("if a: x = b", ["if not a: ; x = b"]),
        ("for a in b: continue", ["for a in b: ; break"]),
        ("for a in b: break", ["for a in b: ; continue"]),
        (
            "match a:\n case b if c: x = d",
            ["match a: ; case b: ; x = d"],
        ),
        ("def f(): return a", ["def f(): ; return None"]),
        ("def f(a=1): pass", ["def f(a=2): ; pass"]),
    ],
)
def test_change(source: str, expected: list[str]) -> None:
    """Each construct is replaced by what a slip could have put there."""
    assert _changes(source) == expected


@pytest.mark.parametrize(
    "source",
    [
        "'''A docstring.'''",
        "x = 'a sentence for people'",
        "x = f'{a}: 1'",
        "raise Broken('code', 3)",
        "x: Literal['a']",
        "x: TypeAlias = a | b",
        "Name = NewType('Name', str)",
        "__all__ = ['a']",
        "if TYPE_CHECKING:\n import a",
        "@dataclass(frozen=True)\nclass A: pass",
        "def f(a: int | None) -> int | None: pass",
    ],
)
def test_nothing_to_notice(source: str) -> None:
    """What no test can or should notice is left alone."""
    assert _changes(source) == []


def test_mutant_knows_its_function() -> None:
    """A change inside a method names the outermost function and counts its decorators."""
    source = dedent("""
        class A:
            @property
            def b(self):
                def inner():
                    return 1
                return inner
    """)

    functions = {mutant.function for mutant in select_mutants("x.py", source)}

    assert functions == {Function("A.b", 3)}


_RULES = """
    LIMITS = {"small": 10, "large": 100}

    def fits(size, kind="small"):
        return size <= LIMITS[kind]

    def unused(size):
        return size + 1
"""

_TESTS = """
    import pytest
    from rules import fits

    @pytest.mark.parametrize("size, expected", [(9, True), (10, True), (11, False)])
    def test_fits(size, expected):
        assert fits(size) is expected
"""


def test_unnoticed_changes_fail_the_run(tmp_path: Path) -> None:
    """Survivors are named with their line, written to the report, and fail the run."""
    write_project(tmp_path, {"rules.py": _RULES, "tests/test_rules.py": _TESTS})

    ended = run_module(tmp_path, "tools.mutants", "rules.py", "--tests", "tests", "--jobs", "1")

    assert "survived: rules.py:2: constant: 100  ->  101" in ended.stdout
    assert "survived: rules.py:8: arithmetic: size + 1  ->  size - 1" in ended.stdout
    assert ended.returncode == 1
    report = json.loads((tmp_path / "build" / "mutants.json").read_text())
    ends = {(row["line"], row["change"]): (row["outcome"], row["by"]) for row in report["mutants"]}
    assert ends[5, "size <= LIMITS[kind]  ->  size < LIMITS[kind]"] == (
        "Killed",
        "tests/test_rules.py::test_fits[10-True]",
    )
    assert ends[2, "10  ->  11"] == ("Killed", "tests/test_rules.py::test_fits[11-False]")


def test_endless_mutant_is_noticed(tmp_path: Path) -> None:
    """A mutant that never ends is stopped and counts as killed."""
    rules = """
        def count(n):
            total = 0
            while n > 0:
                n -= 1
                total += 1
            return total
    """
    tests = """
        from rules import count

        def test_count():
            assert count(3) == 3
    """
    write_project(tmp_path, {"rules.py": rules, "tests/test_rules.py": tests})

    ended = run_module(tmp_path, "tools.mutants", "rules.py", "--tests", "tests")

    assert ended.returncode == 0, ended.stdout
    report = json.loads((tmp_path / "build" / "mutants.json").read_text())
    assert "TimedOut" in {row["outcome"] for row in report["mutants"]}


def test_failing_tests_are_said_first(tmp_path: Path) -> None:
    """Tests that fail without a mutant stop the run, which names them."""
    tests = """
        def test_broken():
            assert False
    """
    write_project(tmp_path, {"rules.py": _RULES, "tests/test_rules.py": tests})

    ended = run_module(tmp_path, "tools.mutants", "rules.py", "--tests", "tests")

    assert "tests/test_rules.py::test_broken" in ended.stderr
    assert ended.returncode == 1
