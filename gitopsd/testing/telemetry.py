"""Telemetry in memory."""

from __future__ import annotations

from collections import Counter


class MemoryTelemetry:
    """Adds up what was counted, observed and reported.

    Attributes:
        counts: (name, sorted labels) -> how often.
        observations: (name, sorted labels) -> values in order.
        reports: Reported errors with their context, in order.
    """

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, tuple[tuple[str, str], ...]]] = Counter()
        self.observations: dict[tuple[str, tuple[tuple[str, str], ...]], list[float]] = {}
        self.reports: list[tuple[BaseException, dict[str, str]]] = []

    def count(self, name: str, **labels: str) -> None:
        """Add one."""
        self.counts[name, tuple(sorted(labels.items()))] += 1

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Keep a value."""
        self.observations.setdefault((name, tuple(sorted(labels.items()))), []).append(value)

    def report(self, error: BaseException, **context: str) -> None:
        """Keep an error."""
        self.reports.append((error, context))

    def total(self, name: str) -> int:
        """Add up a counter over all its labels."""
        return sum(number for (known, _), number in self.counts.items() if known == name)
