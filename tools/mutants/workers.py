"""Mutants against tests, in two ways.

What lies in a function is swapped in place: the tests are collected once, each mutant gets a fork
in which the function's code object is another one. What runs at import time (tables, defaults,
enums) needs a fresh import: each such mutant gets a pytest run of its own.
"""

from __future__ import annotations

import gc
import importlib.abc
import importlib.machinery
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from typing import TextIO

import pytest

from tools.mutants.baseline import Baseline, with_following
from tools.mutants.children import Outcome, Result, run_in_child
from tools.mutants.sites import Function, Mutant, build_mutant

QUIET = (
    "-q",
    "--hypothesis-profile=mutants",
    *("-p", "no:randomly", "-p", "no:logging"),
    *("-o", "cache_dir=build/mutants/cache"),
    # Plug-ins are imported once, in the process that forks.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
    # Files that no test runs are a finding, said in the table.
    *("-W", "ignore::coverage.exceptions.CoverageWarning"),
)
"""Options of every pytest run here: the order is chosen, and nothing is kept."""

_SPARE_SECONDS = 5.0
_SLOWER = 5.0
_IMPORT_SECONDS = 20.0


@dataclass(slots=True)
class Killers:
    """Remembers which tests noticed mutants of a file, so that they are asked first."""

    counts: dict[tuple[str, str], int] = field(default_factory=dict)

    def note(self, path: str, test: str) -> None:
        """Counts one mutant that a test noticed."""
        self.counts[path, test] = self.counts.get((path, test), 0) + 1

    def order(self, path: str, tests: Iterable[str], baseline: Baseline) -> list[str]:
        """Sorts tests: those that noticed most in this file, then the fastest."""
        return sorted(
            tests,
            key=lambda test: (
                -self.counts.get((path, test), 0),
                baseline.seconds.get(test, 0.0),
                test,
            ),
        )


@dataclass(slots=True)
class Report:
    """Writes one line of JSON per finished mutant."""

    stream: TextIO

    def write(self, mutant: Mutant, result: Result) -> None:
        """Appends a verdict at once, so that a reader sees progress."""
        row = [mutant.path, mutant.number, result.outcome.value, result.note]
        self.stream.write(json.dumps(row) + "\n")
        self.stream.flush()


class FirstFailure:
    """A pytest plug-in that remembers the first test that fails."""

    def __init__(self) -> None:
        self.test = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Takes note of anything but a pass."""
        if report.outcome != "passed" and not self.test:
            self.test = report.nodeid


def _nested_code(code: CodeType, function: Function) -> CodeType | None:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if (constant.co_qualname, constant.co_firstlineno) == (
                function.qualname,
                function.line,
            ):
                return constant
            found = _nested_code(constant, function)
            if found is not None:
                return found
    return None


def _compile(root: Path, mutant: Mutant) -> CodeType:
    file = root / mutant.path
    tree = build_mutant(file.read_text(), mutant.number)
    return compile(tree, str(file), "exec", dont_inherit=True)


def _longest(tests: Sequence[str], baseline: Baseline) -> float:
    return _SPARE_SECONDS + _SLOWER * sum(baseline.seconds.get(test, 0.0) for test in tests)


@dataclass(slots=True, eq=False)  # pytest keeps plug-ins by identity
class SwapPlugin:
    """A pytest plug-in that runs mutants of functions in place of the tests themselves."""

    root: Path
    mutants: Sequence[Mutant]
    tests: frozenset[str]
    baseline: Baseline
    report: Report
    killers: Killers = field(default_factory=Killers)
    functions: dict[tuple[str, Function], list[FunctionType]] = field(default_factory=dict)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Forks once per mutant from a process that has collected everything."""
        items = {item.nodeid: item for item in session.items if item.nodeid in self.tests}
        self._index_functions()
        gc.freeze()
        for mutant in self.mutants:
            tests = self._tests_of(mutant) & items.keys()
            chosen = self.killers.order(mutant.path, tests, self.baseline)
            result = self._try_mutant(mutant, [items[test] for test in chosen])
            if result.note:
                self.killers.note(mutant.path, result.note)
            self.report.write(mutant, result)
        return True

    def _tests_of(self, mutant: Mutant) -> frozenset[str]:
        return self.baseline.tests_of_line(mutant.path, mutant.line, mutant.statement)

    def _index_functions(self) -> None:
        for each in gc.get_objects():
            if isinstance(each, FunctionType):
                code = each.__code__
                key = code.co_filename, Function(code.co_qualname, code.co_firstlineno)
                self.functions.setdefault(key, []).append(each)

    def _try_mutant(self, mutant: Mutant, items: Sequence[pytest.Item]) -> Result:
        if mutant.function is None or not items:
            return Result(Outcome.Survived)
        code = _nested_code(_compile(self.root, mutant), mutant.function)
        targets = self.functions.get((str(self.root / mutant.path), mutant.function))
        if code is None or not targets:
            return Result(Outcome.NotRun)

        def work() -> Result:
            for target in targets:
                target.__code__ = code
            return _run_items(items)

        return run_in_child(work, _longest([item.nodeid for item in items], self.baseline))


def _run_items(items: Sequence[pytest.Item]) -> Result:
    first = FirstFailure()
    items[0].config.pluginmanager.register(first)
    for item, following in with_following(items):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if first.test:
            return Result(Outcome.Killed, first.test)
    return Result(Outcome.Survived)


class _MutantLoader(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, code: CodeType) -> None:
        super().__init__(name, path)
        self._code = code

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - the loader's signature
        return self._code


class MutantFinder(importlib.abc.MetaPathFinder):
    """Imports one module from changed code and leaves all others alone."""

    def __init__(self, name: str, path: Path, code: CodeType) -> None:
        self._name = name
        self._path = path
        self._code = code

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answers for the changed module only."""
        del path, target
        if fullname != self._name:
            return None
        loader = _MutantLoader(fullname, str(self._path), self._code)
        locations = [str(self._path.parent)] if self._path.name == "__init__.py" else None
        return importlib.machinery.ModuleSpec(
            fullname, loader, origin=str(self._path), is_package=locations is not None
        )


class OrderPlugin:
    """A pytest plug-in that keeps the chosen tests, in the chosen order."""

    def __init__(self, tests: Sequence[str]) -> None:
        self._rank = {test: rank for rank, test in enumerate(tests)}

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Drops and sorts what was collected."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self._rank),
            key=lambda item: self._rank[item.nodeid],
        )


def _module_name(path: str) -> str:
    parts = Path(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_import_mutant(root: Path, mutant: Mutant, tests: Sequence[str], seconds: float) -> Result:
    """Runs tests in a fresh import of the project with one module changed.

    The calling process must not have imported the project yet.
    """
    if not tests:
        return Result(Outcome.Survived)

    def work() -> Result:
        code = _compile(root, mutant)
        name = _module_name(mutant.path)
        sys.meta_path.insert(0, MutantFinder(name, root / mutant.path, code))
        first = FirstFailure()
        files = sorted({test.partition("::")[0] for test in tests})
        status = pytest.main([*QUIET, "-x", *files], plugins=[first, OrderPlugin(tests)])
        if status == pytest.ExitCode.OK:
            return Result(Outcome.Survived)
        return Result(Outcome.Killed, first.test)

    return run_in_child(work, seconds)


def longest_import_run(tests: Sequence[str], baseline: Baseline) -> float:
    """How many seconds a run with a fresh import may take."""
    return _IMPORT_SECONDS + _longest(tests, baseline)
