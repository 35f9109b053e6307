"""The last line of a test run: ``N passed, M failed``, where a test that did not run has failed.

A skipped test looks green and proves nothing, so a skip, an expected failure, or a test dropped
without the caller's asking (``-k``, ``-m``, ``--deselect``, ``--lf``) counts among the failed.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

import pytest

_TOLD_LINES = 40
_ASKED_FOR = ("keyword", "markexpr", "deselect", "lf", "failedfirst", "stepwise")


@dataclass(frozen=True, slots=True)
class Verdict:
    """The counts of one run.

    Attributes:
        passed: Tests that ran and held.
        broken: Failures and errors.
        unproven: Tests that were there and did not run to a plain pass or fail, and how they ended.
    """

    passed: int
    broken: int
    unproven: tuple[tuple[str, int], ...]

    @property
    def failed(self) -> int:
        """Everything that is not a plain pass."""
        return self.broken + sum(count for _, count in self.unproven)

    def lines(self) -> list[str]:
        """The words for a terminal; the last line is the verdict."""
        reasons = [
            f"{count} {how}: every test must run, so they count as failed"
            for how, count in self.unproven
        ]
        return [*reasons, f"{self.passed} passed, {self.failed} failed"]


class _Worker(Protocol):
    """What pytest-xdist says of a worker that has ended."""

    workeroutput: dict[str, int]


def read_verdict(
    reporter: pytest.TerminalReporter, *, asked_to_deselect: bool, dropped_by_workers: int = 0
) -> Verdict:
    """Reads the counts from what the terminal reporter collected.

    Args:
        reporter: Has heard how each test ended.
        asked_to_deselect: The caller chose among the tests.
        dropped_by_workers: Tests that were left out where it does not hear of them.
    """
    stats = reporter.stats
    unproven = {end: len(stats.get(end, [])) for end in ("skipped", "xfailed", "xpassed")}
    if not asked_to_deselect:
        unproven["deselected"] = len(stats.get("deselected", [])) + dropped_by_workers
    return Verdict(
        passed=len(stats.get("passed", [])),
        broken=len(stats.get("failed", [])) + len(stats.get("error", [])),
        unproven=tuple((end, count) for end, count in unproven.items() if count),
    )


class VerdictPlugin:
    """Prints the verdict after everything else and makes the exit status agree with it."""

    def __init__(self, *, brief: bool = False) -> None:
        """Count from nothing.

        Args:
            brief: Say nothing of a test that passed, and at once why one did not. A log that a
                machine writes and cuts holds what matters then.
        """
        self._brief = brief
        self._is_worker = False
        self._dropped_here = 0
        self._dropped_by_workers: list[int] = []

    def pytest_configure(self, config: pytest.Config) -> None:
        """Learns whether this process is a worker of pytest-xdist, whose words nobody reads."""
        self._is_worker = hasattr(config, "workerinput")

    @pytest.hookimpl(tryfirst=True)
    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """Counts a test that passed without a word."""
        if self._brief and report.when == "call" and report.passed:
            return "passed", "", ""
        return None

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tells the end of a failure when it happens; all of it comes at the end of the run."""
        if self._brief and not self._is_worker and report.failed:
            told = "\n".join(report.longreprtext.splitlines()[-_TOLD_LINES:])
            sys.stderr.write(f"\n{report.nodeid} ({report.when}) failed:\n{told}\n")

    def pytest_deselected(self, items: list[pytest.Item]) -> None:
        """Counts what is left out in this process."""
        self._dropped_here += len(items)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: _Worker) -> None:
        """Hears what a worker left out; each worker collects, and leaves out, the same."""
        self._dropped_by_workers.append(node.workeroutput.get("dropped", 0))

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Lets pytest report first, then has the last word."""
        config = session.config
        told = getattr(config, "workeroutput", None)
        if told is not None:  # a worker of pytest-xdist
            told["dropped"] = self._dropped_here
        result = yield
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or told is not None:
            return result
        dropped = max([0, *self._dropped_by_workers])
        asked = any(config.getoption(name, None) for name in _ASKED_FOR)
        verdict = read_verdict(reporter, asked_to_deselect=asked, dropped_by_workers=dropped)
        if session.exitstatus == pytest.ExitCode.OK and verdict.failed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        for line in verdict.lines():
            reporter.write_line(line)
        return result
