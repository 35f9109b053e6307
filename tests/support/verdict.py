"""The last line of a test run: ``N passed, M failed``, where a test that did not run has failed.

A skipped test looks green and proves nothing, so a skip, an expected failure, or a test dropped
without the caller's asking (``-k``, ``-m``, ``--deselect``, ``--lf``) counts among the failed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import pytest

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


def read_verdict(reporter: pytest.TerminalReporter, *, asked_to_deselect: bool) -> Verdict:
    """Reads the counts from what the terminal reporter collected."""
    stats = reporter.stats
    ends = ["skipped", "xfailed", "xpassed"]
    if not asked_to_deselect:
        ends.append("deselected")
    return Verdict(
        passed=len(stats.get("passed", [])),
        broken=len(stats.get("failed", [])) + len(stats.get("error", [])),
        unproven=tuple((end, len(stats[end])) for end in ends if stats.get(end)),
    )


class VerdictPlugin:
    """Prints the verdict after everything else and makes the exit status agree with it."""

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, object, object]:
        """Lets pytest report first, then has the last word."""
        result = yield
        config = session.config
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if reporter is None or hasattr(config, "workerinput"):  # a worker of pytest-xdist
            return result
        asked = any(config.getoption(name, None) for name in _ASKED_FOR)
        verdict = read_verdict(reporter, asked_to_deselect=asked)
        if session.exitstatus == pytest.ExitCode.OK and verdict.failed:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.ensure_newline()
        for line in verdict.lines():
            reporter.write_line(line)
        return result
