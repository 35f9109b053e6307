"""Which figures are believed, and when they are as they must be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.metrics import (
    Better,
    Comparison,
    Condition,
    Measured,
    MetricAnswer,
    MetricVerdict,
    MetricWindow,
    OnEmpty,
    Sample,
    Series,
    Unclear,
    Worsening,
)
from gitopsd.pipeline.metric_judging import (
    judge_condition,
    judge_worsening,
    make_window,
    select_samples,
)

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
MOMENT = make_window(NOON, timedelta(0))
RANGE = make_window(NOON, 5 * MINUTE)
FRESH = 5 * MINUTE
FEW = Condition(Comparison.LESS, 0.05)


def answer(*samples: Sample, ranged: bool = False) -> MetricAnswer:
    """One series with these samples."""
    return MetricAnswer(ranged, (Series({}, samples),))


def select(
    found: MetricAnswer, window: MetricWindow = MOMENT, on_empty: OnEmpty = OnEmpty.INCONCLUSIVE
) -> Measured | Unclear:
    """Select what can be believed."""
    return select_samples(found, window, on_empty=on_empty, freshness=FRESH)


def whole(figure: float = 0.01, *, without: tuple[int, ...] = ()) -> tuple[Sample, ...]:
    """Samples of the whole range but for some."""
    return tuple(
        Sample(RANGE.start + number * RANGE.step, figure)
        for number in range(31)
        if number not in without
    )


def measured(*figures: float) -> Measured:
    """Figures ten seconds apart, the last at noon."""
    count = len(figures) - 1
    return Measured(
        tuple(Sample(NOON - (count - n) * 10 * SECOND, one) for n, one in enumerate(figures))
    )


@pytest.mark.parametrize(
    "duration, step",
    [
        (SECOND, SECOND),
        (MINUTE, 2 * SECOND),
        (5 * MINUTE, 10 * SECOND),
        (24 * 60 * MINUTE, MINUTE),
    ],
)
def test_a_range_is_looked_at_in_steps(duration: timedelta, step: timedelta) -> None:
    """Thirty, but never shorter than a second nor longer than a minute."""
    late = NOON + timedelta(microseconds=999)
    assert make_window(late, duration) == MetricWindow(NOON - duration, NOON, step)


def test_one_fresh_figure_is_believed() -> None:
    """Of the moment that was asked for, give or take."""
    for age in (timedelta(0), FRESH, -FRESH):
        sample = Sample(NOON - age, 3.0)
        assert select(answer(sample)) == Measured((sample,))


def test_a_whole_range_is_believed() -> None:
    """One sample that was lost does no harm."""
    assert select(answer(*whole()), RANGE) == Measured(whole())
    assert select(answer(*whole(without=(7,))), RANGE) == Measured(whole(without=(7,)))


def test_a_query_that_finds_nothing_tells_nothing() -> None:
    """Unless its author has said that nothing is zero."""
    for empty in (MetricAnswer(ranged=False), answer()):
        assert select(empty) == Unclear("the query finds nothing")
        assert select(empty, on_empty=OnEmpty.ZERO) == Measured((Sample(NOON, 0.0),))


def test_several_series_tell_nothing() -> None:
    """Which of them is meant nobody has said."""
    two = MetricAnswer(ranged=False, series=(Series({"a": "1"}, ()), Series({"a": "2"}, ())))
    sentence = "the query finds 2 series instead of one: join them, with sum() say"
    assert select(two) == Unclear(sentence)
    assert select(two, on_empty=OnEmpty.ZERO) == Unclear(sentence)


def test_a_warned_answer_tells_nothing() -> None:
    """A part of the data may be better, or worse, than all of it."""
    part = MetricAnswer(
        ranged=False, series=(Series({}, (Sample(NOON, 0.0),)),), warnings=("store b is away",)
    )
    assert select(part) == Unclear("the answer may be a part only: store b is away")


@pytest.mark.parametrize(
    "figure, said", [(float("nan"), "nan"), (float("inf"), "inf"), (-float("inf"), "-inf")]
)
def test_no_number_tells_nothing(figure: float, said: str) -> None:
    """Zero divided by zero, or anything by zero; also once in a range."""
    assert select(answer(Sample(NOON, figure))) == Unclear(f"{said} at 12:00:00 UTC is no figure")
    odd = (*whole()[:30], Sample(NOON, figure))
    assert select(answer(*odd), RANGE) == Unclear(f"{said} at 12:00:00 UTC is no figure")


@pytest.mark.parametrize(
    "age, said",
    [
        (60 * MINUTE, "60m old: of 2026-01-05 11:00:00 UTC"),
        (5 * MINUTE + SECOND, "5m old: of 2026-01-05 11:54:59 UTC"),
        (-6 * MINUTE, "6m ahead: of 2026-01-05 12:06:00 UTC"),
    ],
)
def test_a_figure_of_another_time_tells_nothing(age: timedelta, said: str) -> None:
    """An hour-old sample was true an hour ago; one from tomorrow never was."""
    assert select(answer(Sample(NOON - age, 0.0))) == Unclear(f"the newest sample is {said}")


def test_samples_of_another_range_tell_nothing() -> None:
    """Earlier ones than were asked for, in the wrong order, twice, or several of a moment."""
    early = Sample(RANGE.start - 6 * MINUTE, 0.01)
    one, two = Sample(NOON - SECOND, 0.0), Sample(NOON, 0.0)
    assert select(answer(early, *whole()), RANGE) == Unclear("the samples are of another time")
    assert select(answer(two, one), RANGE) == Unclear("the samples are out of order")
    assert select(answer(two, two), RANGE) == Unclear("the samples are out of order")
    assert select(answer(one, two)) == Unclear("there are several samples of one moment")


@pytest.mark.parametrize(
    "lost, said",
    [
        (tuple(range(20)), "11:56:40 UTC: they cover 100s of 5m"),
        (tuple(range(20, 31)), "11:59:05 UTC: they cover 3m of 5m"),
        ((7, 8, 9), "11:56:20 UTC: they cover 5m of 5m"),
    ],
)
def test_a_range_with_a_hole_tells_nothing(lost: tuple[int, ...], said: str) -> None:
    """At its begin, at its end or within: nobody knows. Who says so may take it for zero."""
    found = answer(*whole(without=lost), ranged=True)
    assert select(found, RANGE) == Unclear(f"there are no samples at {said}")
    filled = select(found, RANGE, OnEmpty.ZERO)
    assert isinstance(filled, Measured)
    times = [one.at for one in filled.samples]
    assert times == sorted(times)
    assert [one.figure for one in filled.samples].count(0.0) == 1


@pytest.mark.parametrize(
    "condition, good, bad",
    [
        (Condition(Comparison.LESS, 0.05), 0.0499, 0.05),
        (Condition(Comparison.AT_MOST, 0.05), 0.05, 0.0501),
        (Condition(Comparison.MORE, -1), -0.9, -1),
        (Condition(Comparison.AT_LEAST, 99.9), 99.9, 99.89),
        (Condition(Comparison.EQUAL, 1), 1.0, 1.0001),
        (Condition(Comparison.OTHER, 0), 2, 0),
    ],
)
def test_a_figure_is_compared_with_the_bound(condition: Condition, good: float, bad: float) -> None:
    """The bound itself counts as the sign says."""
    assert judge_condition(measured(good), condition) == MetricVerdict(
        passed=True, sentence=f"{good:g} is {condition}", figure=f"{good:g}"
    )
    assert judge_condition(measured(bad), condition) == MetricVerdict(
        passed=False, sentence=f"{bad:g} is not {condition}", figure=f"{bad:g}"
    )


def test_every_sample_of_a_range_must_be_good() -> None:
    """One bad moment is enough, and is named."""
    assert judge_condition(measured(0.01, 0.02, 0.03), FEW) == MetricVerdict(
        passed=True, sentence="0.03 is < 0.05, as all of 3 samples of 20s", figure="0.03"
    )
    assert judge_condition(measured(0.01, 0.0731234567, 0.03), FEW) == MetricVerdict(
        passed=False, sentence="0.0731235 at 11:59:50 UTC is not < 0.05", figure="0.0731235"
    )


@pytest.mark.parametrize(
    "now, before, limit, passed",
    [
        (1.1, 1.0, Worsening(0.1), True),
        (1.11, 1.0, Worsening(0.1), False),
        (0.5, 1.0, Worsening(0.1), True),
        (0.95, 1.0, Worsening(0.1, Better.HIGHER), True),
        (0.89, 1.0, Worsening(0.1, Better.HIGHER), False),
        (2.0, 1.0, Worsening(0.1, Better.HIGHER), True),
        (0.001, 0.0, Worsening(0.1), False),
        (0.001, 0.0, Worsening(0.1, least=0.001), True),
        (0.0, 0.0, Worsening(0.0), True),
        (-0.8, -1.0, Worsening(0.1), False),
        (-1.05, -1.0, Worsening(0.1, Better.HIGHER), True),
    ],
)
def test_a_figure_may_not_be_much_worse_than_before(
    now: float, before: float, limit: Worsening, *, passed: bool
) -> None:
    """By a share of what it was; below zero too; small differences can be let through."""
    assert judge_worsening(measured(now), measured(before), limit).passed is passed


def test_means_are_compared() -> None:
    """A single peak decides neither side; the sentence says both figures."""
    verdict = judge_worsening(measured(0.02, 0.04), measured(0.01, 0.03), Worsening(0.1))
    assert verdict == MetricVerdict(
        passed=False,
        sentence="0.03 is worse than the 0.02 of before by more than 10%",
        figure="0.03",
    )
    verdict = judge_worsening(measured(0.02), measured(0.02), Worsening(0.1))
    assert verdict.sentence == "0.02 is not worse than the 0.02 of before"
