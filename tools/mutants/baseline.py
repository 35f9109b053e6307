"""The tests on the unbroken code: do they pass, how long do they take, which lines do they run?"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import coverage
import pytest


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the unbroken code showed.

    Attributes:
        failed: Tests that do not pass without a mutant; nothing can be learned then.
        seconds: How long each test takes.
        lines: For each file, for each line, the tests that run it.
    """

    failed: tuple[str, ...]
    seconds: Mapping[str, float]
    lines: Mapping[str, Mapping[int, frozenset[str]]]

    def tests_of_line(self, path: str, line: int, statement: int) -> frozenset[str]:
        """The tests that run a line of a file, or the statement's first line.

        A folded constant on a line of its own leaves no trace there.
        """
        lines = self.lines.get(path, {})
        return lines.get(line) or lines.get(statement) or frozenset()

    def tests_of_file(self, path: str) -> frozenset[str]:
        """The tests that run anything inside a function of a file."""
        return frozenset().union(*self.lines.get(path, {}).values())


def with_following(
    items: Sequence[pytest.Item],
) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    """Pairs each test with the next one, which pytest needs to know what to tear down."""
    yield from zip_longest(items, items[1:])


@dataclass(slots=True, eq=False)  # pytest keeps plug-ins by identity
class BaselinePlugin:
    """A pytest plug-in that runs every test once, each under its own coverage context."""

    root: Path
    paths: tuple[str, ...]
    target: Path
    seconds: dict[str, float] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Adds up the phases of a test."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.outcome != "passed":
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Notices a file that cannot be imported."""
        if report.failed:
            self.failed.append(report.nodeid)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Runs the collected tests in place of pytest's own loop."""
        sources = [str(self.root / path) for path in self.paths]
        tracer = coverage.Coverage(data_file=None, config_file=False, include=sources)
        tracer.start()
        for item, following in with_following(session.items):
            tracer.switch_context(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        tracer.stop()
        self._save(tracer.get_data())
        return True

    def _save(self, data: coverage.CoverageData) -> None:
        lines = {
            path: {
                line: [context for context in contexts if context]
                for line, contexts in data.contexts_by_lineno(str(self.root / path)).items()
            }
            for path in self.paths
        }
        text = json.dumps({"failed": self.failed, "seconds": self.seconds, "lines": lines})
        self.target.write_text(text)


def load_baseline(path: Path) -> Baseline:
    """Reads what :class:`BaselinePlugin` wrote."""
    saved = json.loads(path.read_text())
    return Baseline(
        failed=tuple(saved["failed"]),
        seconds=saved["seconds"],
        lines={
            name: {int(line): frozenset(tests) for line, tests in lines.items()}
            for name, lines in saved["lines"].items()
        },
    )
