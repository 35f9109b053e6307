"""Analyses a figure over several measurements: how many were bad, and is it worse than before.

Measurements lie an interval apart. They are asked for as one range, so that asking again, by
whichever process, measures the same moments again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import isfinite

from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.metrics import (
    Measured,
    MetricAnswer,
    MetricVerdict,
    MetricWindow,
    OnEmpty,
    Sample,
    Unclear,
)
from gitopsd.pipeline.metric_judging import judge_worsening, say_figure


@dataclass(frozen=True, slots=True)
class Analysis:
    """How an analysis stands.

    Attributes:
        passed: True, False, or None when nothing can be told.
        sentence: Why, in one clause with the figures.
        underway: Whether measurements are missing that are still to come.
        spent: Whether too many of them told nothing, which no further one makes up for.
    """

    passed: bool | None
    sentence: str
    underway: bool = False
    spent: bool = False


def plan_window(
    check: PrometheusCheck, since: datetime | None, now: datetime
) -> MetricWindow | None:
    """Plan which moments are measured; None while the first is still to come.

    Args:
        check: The analysis.
        since: When it began; None for the last measurements up to now.
        now: The present.
    """
    step = check.interval
    if since is None:
        end = _whole(now)
        return MetricWindow(end - step * (check.count - 1), end, step)
    begin, passed = _whole(since), (now - _whole(since)) // step
    number = min(passed, check.count + check.inconclusive_limit)
    if number < 1:
        return None
    return MetricWindow(begin + step, begin + step * number, step)


def plan_baseline(check: PrometheusCheck, until: datetime) -> MetricWindow:
    """Plan which moments before a release are measured for comparison."""
    return plan_window(check, None, until) or MetricWindow(until, until)


def select_measurements(
    answer: MetricAnswer, window: MetricWindow, on_empty: OnEmpty
) -> tuple[Sample | None, ...] | Unclear:
    """Select one figure for each moment of a window; None for one that tells nothing."""
    if answer.warnings:
        return Unclear(f"the answer may be a part only: {answer.warnings[0]}")
    if len(answer.series) > 1:
        count = len(answer.series)
        return Unclear(f"the query finds {count} series instead of one: join them, with sum() say")
    samples = answer.series[0].samples if answer.series else ()
    found = {one.at: one for one in samples}
    number = (window.end - window.start) // window.step + 1 if window.ranged else 1
    moments = [window.start + window.step * index for index in range(number)]
    if found.keys() - set(moments) or len(found) < len(samples):
        return Unclear("the samples are of another time")
    empty = {at: Sample(at, 0.0) for at in moments} if on_empty is OnEmpty.ZERO else {}
    measured = [found.get(at, empty.get(at)) for at in moments]
    return tuple(one if one is not None and isfinite(one.figure) else None for one in measured)


def judge_analysis(
    check: PrometheusCheck,
    measured: Sequence[Sample | None],
    before: Measured | Unclear | None,
    *,
    complete: bool,
) -> Analysis:
    """Judge measurements.

    Args:
        check: The analysis.
        measured: One for each moment so far, oldest first; None for one that tells nothing.
        before: The figures of before the release, or why they are not known; None when there is
            nothing to compare with.
        complete: Whether no more moments are to come than these.
    """
    told = [one for one in measured if one is not None][: check.count]
    unclear = len(measured) - len([one for one in measured if one is not None])
    bad = [
        one for one in told if check.condition is not None and not check.condition.holds(one.figure)
    ]
    if len(bad) > check.failure_limit:
        return Analysis(passed=False, sentence=_say_bad(check, bad, len(told)))
    if len(told) < check.count:
        return _judge_missing(check, told, unclear, complete=complete)
    sentence = _say_good(check, told, bad)
    if check.worsening is None or before is None:
        return Analysis(passed=True, sentence=sentence)
    if isinstance(before, Unclear):
        return Analysis(passed=None, sentence=f"what was before is not known: {before.sentence}")
    verdict: MetricVerdict = judge_worsening(Measured(tuple(told)), before, check.worsening)
    return Analysis(verdict.passed, verdict.sentence)


def select_baseline(measured: Sequence[Sample | None] | Unclear) -> Measured | Unclear:
    """Select the figures of before: at least half of the moments have to tell something."""
    if isinstance(measured, Unclear):
        return measured
    told = tuple(one for one in measured if one is not None)
    if 2 * len(told) < len(measured) or not told:
        return Unclear(f"{len(told)} of {len(measured)} measurements tell something")
    return Measured(told)


def _judge_missing(
    check: PrometheusCheck, told: Sequence[Sample], unclear: int, *, complete: bool
) -> Analysis:
    said = f"{len(told)} of {check.count} measurements"
    last = f", the last {say_figure(told[-1].figure)}" if told else ""
    if unclear > check.inconclusive_limit or complete:
        sentence = f"only {said} tell something, {unclear} do not{last}"
        return Analysis(passed=None, sentence=sentence, spent=True)
    return Analysis(passed=False, sentence=f"{said} so far{last}", underway=True)


def _say_bad(check: PrometheusCheck, bad: Sequence[Sample], told: int) -> str:
    figures = ", ".join(say_figure(one.figure) for one in bad[:3])
    more = f" (allowed are {check.failure_limit})" if check.failure_limit else ""
    return f"{figures} is not {check.condition}: {len(bad)} of {told} measurements{more}"


def _say_good(check: PrometheusCheck, told: Sequence[Sample], bad: Sequence[Sample]) -> str:
    last = say_figure(told[-1].figure)
    if check.condition is None:
        return f"{last} after {len(told)} measurements"
    good = len(told) - len(bad)
    return f"{last} after {len(told)} measurements, {good} of them {check.condition}"


def _whole(at: datetime) -> datetime:
    """Cut to whole milliseconds, as the API takes times."""
    return at - timedelta(microseconds=at.microsecond % 1000)
