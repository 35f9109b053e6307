"""Judges metrics: which answer can be believed, and whether its figures are as they must be.

What cannot be believed is no verdict: no series or several, a figure that is no number or
infinite, samples that are old, of another time, or with gaps between them, and warnings, since
the answer may be a part only.
"""

from __future__ import annotations

import itertools
from datetime import datetime, timedelta
from math import isfinite

from gitopsd.domain.metrics import (
    Better,
    Condition,
    Measured,
    MetricAnswer,
    MetricVerdict,
    MetricWindow,
    OnEmpty,
    Sample,
    Unclear,
    Worsening,
)

SAMPLES = 30
"""Intervals that a range is looked at in, as far as `SHORTEST_STEP` and `LONGEST_STEP` allow."""

SHORTEST_STEP = timedelta(seconds=1)
LONGEST_STEP = timedelta(minutes=1)

GAP = 2
"""Steps that may lie between two samples of a range, and at its ends."""

ROUNDING = 1e-9
"""Share by which figures may differ from what they stand for, since they are sums of fractions."""


def make_window(end: datetime, duration: timedelta) -> MetricWindow:
    """Make the window of a duration that ends at a moment; zero for that moment alone.

    Times are whole milliseconds, as the API takes them.
    """
    end = end.replace(microsecond=end.microsecond // 1000 * 1000)
    if not duration:
        return MetricWindow(end, end)
    step = max(SHORTEST_STEP, min(duration / SAMPLES, LONGEST_STEP))
    return MetricWindow(end - duration, end, step)


def select_samples(
    answer: MetricAnswer, window: MetricWindow, *, on_empty: OnEmpty, freshness: timedelta
) -> Measured | Unclear:
    """Select the figures that can be believed.

    Args:
        answer: What was answered.
        window: The time that was asked for.
        on_empty: What it means that there is no series, or that it has gaps.
        freshness: How far the newest sample may be from the end of the window.
    """
    if answer.warnings:
        return Unclear(f"the answer may be a part only: {answer.warnings[0]}")
    if len(answer.series) > 1:
        count = len(answer.series)
        return Unclear(f"the query finds {count} series instead of one: join them, with sum() say")
    samples = answer.series[0].samples if answer.series else ()
    if not samples:
        if on_empty is OnEmpty.ZERO:
            return Measured((Sample(window.end, 0.0),))
        return Unclear("the query finds nothing")
    problem = _find_problem(samples, window, freshness)
    if problem:
        return Unclear(problem)
    gap = _find_gap(samples, window)
    if gap is None:
        return Measured(samples)
    if on_empty is OnEmpty.ZERO:
        filled = (*samples, Sample(gap, 0.0))
        return Measured(tuple(sorted(filled, key=lambda one: one.at)))
    covered, whole = samples[-1].at - samples[0].at, window.end - window.start
    return Unclear(
        f"there are no samples at {_say_time(gap)}: they cover {_say(covered)} of {_say(whole)}"
    )


def judge_condition(measured: Measured, condition: Condition) -> MetricVerdict:
    """Judge whether every figure is as the condition says; the first that is not decides."""
    several = len(measured.samples) > 1
    for one in measured.samples:
        if not condition.holds(one.figure):
            when = f" at {_say_time(one.at)}" if several else ""
            figure = say_figure(one.figure)
            return MetricVerdict(
                passed=False, sentence=f"{figure}{when} is not {condition}", figure=figure
            )
    figure = say_figure(measured.samples[-1].figure)
    if several:
        span = _say(measured.samples[-1].at - measured.samples[0].at)
        count = len(measured.samples)
        sentence = f"{figure} is {condition}, as all of {count} samples of {span}"
        return MetricVerdict(passed=True, sentence=sentence, figure=figure)
    return MetricVerdict(passed=True, sentence=f"{figure} is {condition}", figure=figure)


def judge_worsening(now: Measured, before: Measured, limit: Worsening) -> MetricVerdict:
    """Judge whether the mean of now is not much worse than that of before."""
    rise = now.mean - before.mean
    worse = rise if limit.better is Better.LOWER else -rise
    allowed = max(limit.share * abs(before.mean), limit.least)
    allowed += ROUNDING * max(abs(now.mean), abs(before.mean))
    figure, former = say_figure(now.mean), say_figure(before.mean)
    bound = f"{100 * limit.share:g}%"
    if worse > allowed:
        sentence = f"{figure} is worse than the {former} of before by more than {bound}"
        return MetricVerdict(passed=False, sentence=sentence, figure=figure)
    return MetricVerdict(
        passed=True, sentence=f"{figure} is not worse than the {former} of before", figure=figure
    )


def say_figure(figure: float) -> str:
    """Say a figure with six digits at most."""
    return f"{figure:.6g}"


def _find_problem(samples: tuple[Sample, ...], window: MetricWindow, freshness: timedelta) -> str:
    times = [one.at for one in samples]
    if any(later <= earlier for earlier, later in itertools.pairwise(times)):
        return "the samples are out of order"
    if len(samples) > 1 and not window.ranged:
        return "there are several samples of one moment"
    age = window.end - times[-1]
    if abs(age) > freshness:
        side = "old" if age > timedelta(0) else "ahead"
        return f"the newest sample is {_say(age)} {side}: of {times[-1]:%Y-%m-%d %H:%M:%S} UTC"
    if times[0] < window.start - max(freshness, window.step):
        return "the samples are of another time"
    for one in samples:
        if not isfinite(one.figure):
            return f"{one.figure} at {_say_time(one.at)} is no figure"
    return ""


def _find_gap(samples: tuple[Sample, ...], window: MetricWindow) -> datetime | None:
    """Find where a range has no samples; None when it is covered."""
    if not window.ranged:
        return None
    longest = GAP * window.step
    edges = [window.start, *(one.at for one in samples), window.end]
    for earlier, later in itertools.pairwise(edges):
        if later - earlier > longest:
            return earlier + (later - earlier) / 2
    return None


def _say(duration: timedelta) -> str:
    seconds = abs(duration).total_seconds()
    minutes = seconds / 60
    return f"{seconds:.0f}s" if seconds < 2 * 60 else f"{minutes:.0f}m"


def _say_time(at: datetime) -> str:
    return f"{at:%H:%M:%S} UTC"
