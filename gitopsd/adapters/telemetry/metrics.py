"""Metrics for Prometheus, and where reports of bugs go; implements ``ports.Telemetry``."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from gitopsd.adapters.telemetry.sentry import report_error
from gitopsd.kube.redaction import redact_clause

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

APP_INFO = "gitopsd_app_info"
APP_INFO_LABELS = ("application", "stage", "sync", "health", "release")

MAX_SERIES = 2000
"""Series of one metric; further label values count together as ``other``."""

_OTHER = "other"
_MAX_LABEL_CHARACTERS = 100
_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_LONG = (0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)

_RECORD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Shape:
    """How a metric looks.

    Attributes:
        meaning: Help text.
        labels: Label names.
        buckets: Upper bounds in seconds; empty for a counter.
    """

    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


SHAPES: Mapping[str, _Shape] = {
    "gitopsd_run_total": _Shape("Runs that ended", ("application", "stage", "kind", "phase")),
    "gitopsd_step_duration_seconds": _Shape("Duration of a step", ("step",), _LONG),
    "gitopsd_deliveries_total": _Shape("Webhook deliveries", ("receiver", "event", "result")),
    "gitopsd_rollbacks_total": _Shape("Rollbacks begun", ("application", "stage", "reason")),
    "gitopsd_push_to_live_seconds": _Shape(
        "From the first hint of a release to its certification", ("application", "stage"), _LONG
    ),
    "gitopsd_queue_wait_seconds": _Shape("How long due work waited", (), _SHORT),
    "gitopsd_git_request_duration_seconds": _Shape("Duration of a Git fetch", (), _SHORT),
    "gitopsd_cluster_requests_total": _Shape("Requests to API servers", ("code",)),
    "gitopsd_notification_failures_total": _Shape(
        "Messages that a channel did not take; they are sent again", ("channel",)
    ),
    "gitopsd_notifications_dropped_total": _Shape("Messages that were given up", ("channel",)),
    "gitopsd_event_loop_lag_seconds": _Shape("How late the event loop was", (), _SHORT),
}
"""The metrics that dashboards may rely on."""


class PrometheusTelemetry:
    """Counts and measures into a registry of its own."""

    def __init__(self) -> None:
        # Otherwise each counter has a second series that tells when it began.
        disable_created_metrics()  # type: ignore[no-untyped-call] # the package leaves it untyped
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._applications = _ApplicationCollector()
        self._registry.register(self._applications)
        self._metrics: dict[str, Counter | Histogram] = {}
        self._labels: dict[str, tuple[str, ...]] = {}
        self._series: dict[str, set[tuple[str, ...]]] = {}
        self._refused: set[str] = set()
        for name, shape in SHAPES.items():
            self._make(name, shape)

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter. Never raises: a wrong use is logged once."""
        metric = self._find(name, labels, ())
        if isinstance(metric, Counter):
            metric.inc()
        elif metric is not None:
            self._refuse(name, "it is no counter")

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record a value in a histogram. Never raises: a wrong use is logged once."""
        metric = self._find(name, labels, _SHORT)
        if isinstance(metric, Histogram):
            metric.observe(value)
        elif metric is not None:
            self._refuse(name, "it is no histogram")

    def report(self, error: BaseException, **context: str) -> None:
        """Report a bug: to the log, and to Sentry when that is set up."""
        extra = {f"{key}_" if key in _RECORD else key: value for key, value in context.items()}
        _LOG.error("a bug: %s", redact_clause(repr(error)), exc_info=error, extra=extra)
        report_error(error, context)

    def set_applications(self, rows: Iterable[Mapping[str, str]]) -> None:
        """Replace what `gitopsd_app_info` says.

        Args:
            rows: One for each stage, with the labels of `APP_INFO_LABELS`.
        """
        self._applications.rows = tuple(
            tuple(_clip(row.get(label, "")) for label in APP_INFO_LABELS) for row in rows
        )

    def render(self) -> bytes:
        """Write all metrics in Prometheus' text format, version 0.0.4."""
        return generate_latest(self._registry)

    def _find(
        self, name: str, labels: Mapping[str, str], buckets: tuple[float, ...]
    ) -> Counter | Histogram | None:
        try:
            metric = self._metrics.get(name) or self._make(
                name, _Shape("Undocumented", tuple(sorted(labels)), buckets)
            )
            values = self._select_series(name, labels)
            return metric.labels(**values) if values else metric
        except ValueError as error:
            self._refuse(name, str(error))
            return None

    def _refuse(self, name: str, problem: str) -> None:
        if name not in self._refused:
            self._refused.add(name)
            _LOG.error("metric %s is used wrongly: %s", name, problem)

    def _make(self, name: str, shape: _Shape) -> Counter | Histogram:
        if not all(_NAME.fullmatch(word) for word in (name, *shape.labels)):
            raise ValueError("its name, or one of its labels, is no name")
        made: Counter | Histogram
        if shape.buckets:
            made = Histogram(
                name, shape.meaning, shape.labels, buckets=shape.buckets, registry=self._registry
            )
        else:
            made = Counter(name, shape.meaning, shape.labels, registry=self._registry)
        self._metrics[name] = made
        self._labels[name] = shape.labels
        return made

    def _select_series(self, name: str, labels: Mapping[str, str]) -> dict[str, str]:
        """Keep the number of series bounded, whatever the label values are."""
        expected = self._labels[name]
        if set(labels) != set(expected):
            raise ValueError(f"it has the labels {expected}, not {tuple(labels)}")
        values = tuple(_clip(labels[label]) for label in expected)
        series = self._series.setdefault(name, set())
        if values not in series and len(series) >= MAX_SERIES:
            values = (_OTHER,) * len(expected)
        series.add(values)
        return dict(zip(expected, values, strict=True))


class _ApplicationCollector:
    """Tells what the stages are like now; a stage that is gone is gone from here too."""

    def __init__(self) -> None:
        self.rows: tuple[tuple[str, ...], ...] = ()

    def collect(self) -> Iterable[Metric]:
        """Make the metric at the time of asking."""
        family = GaugeMetricFamily(APP_INFO, "Applications and stages", labels=APP_INFO_LABELS)
        for row in self.rows:
            family.add_metric(row, 1)
        yield family


def _clip(value: str) -> str:
    return str(value)[:_MAX_LABEL_CHARACTERS].encode("utf-8", "replace").decode()
