"""``prometheus:`` of a check: measures again and again, and compares with what was before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

from gitopsd.adapters.prometheus.measuring import MetricQuery, MetricReader
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import Measured, MetricWindow, Sample, Unclear
from gitopsd.pipeline.metric_analysis import (
    Analysis,
    judge_analysis,
    plan_baseline,
    plan_window,
    select_baseline,
    select_measurements,
)
from gitopsd.ports import CheckAttempt, CheckTarget, Clock


class MetricAnalyst:
    """Makes analyses.

    Args:
        reader: Measures.
        clock: Tells which moments have come.
    """

    def __init__(self, reader: MetricReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def run(self, check: PrometheusCheck, target: CheckTarget) -> CheckAttempt:
        """Measure what has come so far, and judge it. Never raises.

        Safe to repeat: the same moments are asked for again.
        """
        begin = self._clock.monotonic()
        window = plan_window(check, target.since, self._clock.now())
        evidence: dict[str, Json] = {}
        if window is None:
            analysis = Analysis(passed=False, sentence="the first is still to come", underway=True)
            return _attempt(analysis, evidence, timedelta(0), None)
        measured = await self._measure(check, target, window, target.values, evidence, "now")
        if isinstance(measured, Unclear):
            # Moments stay where they are: what could not be asked now is asked for later.
            analysis = Analysis(None, measured.sentence, underway=target.since is not None)
            return _attempt(analysis, evidence, self._since(begin), measured.retry_after)
        before = await self._measure_before(check, target, evidence)
        longest = check.count + check.inconclusive_limit
        complete = target.since is None or len(measured) >= longest
        analysis = judge_analysis(check, measured, before, complete=complete)
        if target.since is None:  # the next time other moments are measured
            analysis = replace(analysis, spent=False)
        return _attempt(analysis, evidence, self._since(begin), None)

    async def _measure_before(
        self, check: PrometheusCheck, target: CheckTarget, evidence: dict[str, Json]
    ) -> Measured | Unclear | None:
        baseline = target.baseline
        if check.worsening is None or baseline is None:
            return None
        window = plan_baseline(check, baseline.until)
        values = {**target.values, "release": baseline.release}
        found = await self._measure(check, target, window, values, evidence, "before")
        return select_baseline(found)

    async def _measure(
        self,
        check: PrometheusCheck,
        target: CheckTarget,
        window: MetricWindow,
        values: Mapping[str, str],
        evidence: dict[str, Json],
        name: str,
    ) -> tuple[Sample | None, ...] | Unclear:
        wanted = MetricQuery(
            cluster=check.cluster or target.cluster,
            query=check.query,
            values=values,
            timeout=check.timeout,
        )
        reading = await self._reader.read(wanted, window)
        evidence[name] = reading.evidence
        if isinstance(reading.found, Unclear):
            return reading.found
        return select_measurements(reading.found, window, check.on_empty)

    def _since(self, begin: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - begin)


def _attempt(
    analysis: Analysis,
    evidence: Mapping[str, Json],
    latency: timedelta,
    retry_after: timedelta | None,
) -> CheckAttempt:
    return CheckAttempt(
        passed=analysis.passed,
        message=analysis.sentence,
        evidence=dict(evidence),
        latency=latency,
        retry_after=retry_after,
        underway=analysis.underway,
        spent=analysis.spent,
    )
