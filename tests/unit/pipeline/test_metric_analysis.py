"""Several measurements of one figure, and what ran before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.checks import PrometheusCheck, compute_longest
from gitopsd.domain.metrics import (
    Better,
    Comparison,
    Condition,
    Measured,
    MetricAnswer,
    MetricWindow,
    OnEmpty,
    Sample,
    Series,
    Unclear,
    Worsening,
)
from gitopsd.pipeline.metric_analysis import (
    Analysis,
    judge_analysis,
    plan_baseline,
    plan_window,
    select_baseline,
    select_measurements,
)

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
STEP = timedelta(seconds=10)
FEW = Condition(Comparison.LESS, 0.05)
CHECK = PrometheusCheck("errors", "errors", FEW, count=4, failure_limit=1, inconclusive_limit=2)
COMPARED = replace(CHECK, worsening=Worsening(0.1))
WINDOW = MetricWindow(NOON + STEP, NOON + 4 * STEP, STEP)


def figures(*values: float | None) -> tuple[Sample | None, ...]:
    """Measurements from the first on; None for one that tells nothing."""
    return tuple(
        Sample(NOON + (number + 1) * STEP, one) if one is not None else None
        for number, one in enumerate(values)
    )


def answer(*samples: Sample | None, ranged: bool = True) -> MetricAnswer:
    """One series of those that are there."""
    return MetricAnswer(ranged, (Series({}, tuple(one for one in samples if one is not None)),))


def judge(
    *values: float | None,
    check: PrometheusCheck = CHECK,
    before: Measured | Unclear | None = None,
    complete: bool = False,
) -> Analysis:
    """What these measurements mean."""
    return judge_analysis(check, figures(*values), before, complete=complete)


def was(*values: float) -> Measured:
    """What was measured before."""
    return Measured(tuple(one for one in figures(*values) if one is not None))


@pytest.mark.parametrize(
    "seconds, number",
    [(0, 0), (9.9, 0), (10, 1), (19, 1), (20, 2), (59, 5), (60, 6), (600, 6)],
)
def test_moments_come_one_after_the_other(seconds: float, number: int) -> None:
    """Counted from the begin, whenever it is looked; as many as may be needed, and no more."""
    window = plan_window(CHECK, NOON, NOON + timedelta(seconds=seconds))
    wanted = MetricWindow(NOON + STEP, NOON + number * STEP, STEP) if number else None
    assert window == wanted


def test_moments_are_whole_milliseconds() -> None:
    """As the API takes them, so that the answer's times can be compared."""
    odd = NOON + timedelta(microseconds=1234)
    window = plan_window(CHECK, odd, odd + 2 * STEP)
    assert window is not None
    assert window.start == NOON + timedelta(milliseconds=1) + STEP


def test_without_a_begin_the_last_moments_count() -> None:
    """As when a check is repeated: what was measured a moment ago is measured again."""
    last = MetricWindow(NOON - 3 * STEP, NOON, STEP)
    assert plan_window(CHECK, None, NOON) == last
    assert plan_baseline(CHECK, NOON) == last
    single = replace(CHECK, count=1)
    assert plan_window(single, None, NOON) == MetricWindow(NOON, NOON, STEP)


def test_it_may_take_as_long_as_its_measurements() -> None:
    """Those that tell nothing included."""
    assert compute_longest(CHECK) == 6 * STEP + CHECK.timeout


def test_each_moment_has_its_figure() -> None:
    """One that is missing, no number or infinite tells nothing."""
    odd = figures(0.1, float("nan"), None, float("inf"))
    assert select_measurements(answer(*odd), WINDOW, OnEmpty.INCONCLUSIVE) == figures(
        0.1, None, None, None
    )


def test_what_is_missing_may_be_zero() -> None:
    """If so configured; no number stays no number."""
    odd = figures(0.1, float("nan"), None, 0.2)
    zero = OnEmpty.ZERO
    assert select_measurements(answer(*odd), WINDOW, zero) == figures(0.1, None, 0.0, 0.2)
    nothing = MetricAnswer(ranged=True)
    assert select_measurements(nothing, WINDOW, zero) == figures(0.0, 0.0, 0.0, 0.0)
    assert select_measurements(nothing, WINDOW, OnEmpty.INCONCLUSIVE) == (None,) * 4


def test_one_moment_is_measured_too() -> None:
    """The first, when no second has come."""
    window = MetricWindow(NOON + STEP, NOON + STEP, STEP)
    found = select_measurements(answer(*figures(0.1), ranged=False), window, OnEmpty.ZERO)
    assert found == figures(0.1)


def test_an_answer_that_cannot_be_believed_is_none() -> None:
    """Several series, warnings, other moments, or one moment twice."""
    good = figures(0.1, 0.2, 0.3, 0.4)
    two = MetricAnswer(ranged=True, series=(*answer(*good).series, *answer(*good).series))
    warned = replace(answer(*good), warnings=("store b is away",))
    other = answer(*good, Sample(NOON + 5 * STEP, 0.1))
    twice = answer(*good, good[-1])
    said = [
        select_measurements(one, WINDOW, OnEmpty.INCONCLUSIVE)
        for one in (two, warned, other, twice)
    ]
    assert said == [
        Unclear("the query finds 2 series instead of one: join them, with sum() say"),
        Unclear("the answer may be a part only: store b is away"),
        Unclear("the samples are of another time"),
        Unclear("the samples are of another time"),
    ]


def test_it_goes_on_until_enough_was_measured() -> None:
    """Under way so far, with what was seen."""
    assert judge() == Analysis(passed=False, sentence="0 of 4 measurements so far", underway=True)
    assert judge(0.01, 0.06, 0.02) == Analysis(
        passed=False, sentence="3 of 4 measurements so far, the last 0.02", underway=True
    )


def test_enough_good_ones_pass() -> None:
    """Up to the limit of bad ones."""
    assert judge(0.01, 0.06, 0.02, 0.03) == Analysis(
        passed=True, sentence="0.03 after 4 measurements, 3 of them < 0.05"
    )


def test_too_many_bad_ones_fail_at_once() -> None:
    """The rest is not waited for."""
    assert judge(0.06, 0.01, 0.07) == Analysis(
        passed=False, sentence="0.06, 0.07 is not < 0.05: 2 of 3 measurements (allowed are 1)"
    )
    strict = replace(CHECK, failure_limit=0)
    assert judge(0.06, check=strict) == Analysis(
        passed=False, sentence="0.06 is not < 0.05: 1 of 1 measurements"
    )


def test_what_tells_nothing_is_made_up_for() -> None:
    """Further measurements take its place, up to its own limit."""
    assert judge(0.01, None, 0.02, None, 0.03).underway
    assert judge(0.01, None, 0.02, None, 0.03, 0.04).passed is True


def test_too_much_that_tells_nothing_is_no_verdict() -> None:
    """Neither good nor bad: a person is called, and nothing is rolled back."""
    said = "only 2 of 4 measurements tell something, 3 do not, the last 0.02"
    assert judge(0.01, None, 0.02, None, None) == Analysis(passed=None, sentence=said, spent=True)
    said = "only 1 of 4 measurements tell something, 0 do not, the last 0.01"
    assert judge(0.01, complete=True) == Analysis(passed=None, sentence=said, spent=True)


def test_definite_failures_count_whatever_is_missing() -> None:
    """Two bad ones are two bad ones."""
    assert judge(0.06, None, None, None, 0.06).passed is False


def test_further_measurements_than_wanted_change_nothing() -> None:
    """The first that tell something decide, whenever it is looked."""
    assert judge(0.01, 0.02, 0.03, 0.04, 0.9, 0.9).passed is True


def test_fine_now_and_worse_than_before_fails() -> None:
    """All figures are below the bound, and the mean is four times that of before."""
    answered = judge(0.04, 0.04, 0.04, 0.04, check=COMPARED, before=was(0.01, 0.01))
    assert answered == Analysis(
        passed=False, sentence="0.04 is worse than the 0.01 of before by more than 10%"
    )


def test_as_good_as_before_passes() -> None:
    """Within the share that is allowed."""
    answered = judge(0.01, 0.011, 0.011, 0.01, check=COMPARED, before=was(0.01))
    assert answered == Analysis(passed=True, sentence="0.0105 is not worse than the 0.01 of before")


def test_the_bound_counts_beside_the_comparison() -> None:
    """Better than a bad past is not good."""
    assert judge(0.06, 0.06, check=COMPARED, before=was(0.9)).passed is False


def test_a_comparison_alone_asks_nothing_else() -> None:
    """Any figure will do that is not worse."""
    rate = replace(CHECK, condition=None, worsening=Worsening(0.1, Better.HIGHER))
    assert judge(95, 96, 97, 96, check=rate, before=was(97)).passed is True
    assert judge(80, 80, 80, 80, check=rate, before=was(97)).passed is False
    assert judge(80, 80, 80, 80, check=rate) == Analysis(
        passed=True, sentence="80 after 4 measurements"
    )


def test_a_first_release_is_compared_with_nothing() -> None:
    """There was nothing before."""
    assert judge(0.04, 0.04, 0.04, 0.04, check=COMPARED).passed is True


def test_an_unknown_past_is_no_verdict() -> None:
    """What it was may have been better."""
    answered = judge(
        0.04, 0.04, 0.04, 0.04, check=COMPARED, before=Unclear("the query finds nothing")
    )
    assert answered == Analysis(
        passed=None, sentence="what was before is not known: the query finds nothing"
    )


def test_the_past_needs_half_of_its_moments() -> None:
    """Less says too little about it."""
    assert select_baseline(figures(0.1, None, 0.2, None)) == Measured(
        (Sample(NOON + STEP, 0.1), Sample(NOON + 3 * STEP, 0.2))
    )
    few = Unclear("1 of 4 measurements tell something")
    assert select_baseline(figures(0.1, None, None, None)) == few
    assert select_baseline(()) == Unclear("0 of 0 measurements tell something")
    assert select_baseline(few) == few
