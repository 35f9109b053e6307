"""What a metric server may answer, and what it may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import isinf, isnan

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import MetricAnswer, Sample, Series, Unclear
from gitopsd.pipeline.metric_answers import parse_answer

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
AT = NOON.timestamp()
MARK = "0011"
ODD = "the metric server's answer is not to be used: "


def series(value: Json = None, **labels: Json) -> dict[str, Json]:
    """One series of a vector, marked."""
    metric: dict[str, Json] = {"gitopsd_question": MARK, **labels}
    return {"metric": metric, "value": [AT, "1"] if value is None else value}


def answered(result: Json, kind: Json = "vector", **more: Json) -> dict[str, Json]:
    """An answer that says success."""
    return {"status": "success", "data": {"resultType": kind, "result": result}, **more}


def parse(document: Json, *, ranged: bool = False) -> MetricAnswer | Unclear:
    """Read it as the answer to the marked query."""
    return parse_answer(document, ranged=ranged, mark=MARK)


def test_a_vector_is_read() -> None:
    """Labels without the mark, time to the millisecond, and the figure."""
    found = parse(answered([series([AT + 0.25, "-1.5e-3"], job="api"), series()]))
    late = NOON + timedelta(milliseconds=250)
    assert found == MetricAnswer(
        ranged=False,
        series=(
            Series({"job": "api"}, (Sample(late, -0.0015),)),
            Series({}, (Sample(NOON, 1.0),)),
        ),
    )


def test_a_range_is_read() -> None:
    """All samples in the order they came in."""
    one: Json = {"metric": {"gitopsd_question": MARK}, "values": [[AT, "1"], [AT + 10, "2.5"]]}
    assert parse(answered([one], "matrix"), ranged=True) == MetricAnswer(
        ranged=True,
        series=(Series({}, (Sample(NOON, 1.0), Sample(NOON + timedelta(seconds=10), 2.5))),),
    )


def test_nothing_is_an_answer_too() -> None:
    """What it means is judged elsewhere; notes that are no warnings do not matter."""
    assert parse(answered([], infos=["the metric might not be a counter"])) == MetricAnswer(
        ranged=False
    )


def test_figures_may_be_none() -> None:
    """They are read as what they are, and judged elsewhere."""
    found = parse(answered([series([AT, text]) for text in ("NaN", "+Inf", "-Inf", "Inf")]))
    assert isinstance(found, MetricAnswer)
    figures = [one.samples[0].figure for one in found.series]
    assert isnan(figures[0])
    assert [isinf(one) and one > 0 for one in figures[1:]] == [True, False, True]


def test_warnings_are_kept() -> None:
    """The answer may be a part only."""
    found = parse(answered([], warnings=["store unreachable", 5]))
    assert isinstance(found, MetricAnswer)
    assert found.warnings == ("store unreachable", "5")


def test_an_error_says_what_the_server_says() -> None:
    """A query that it cannot read is its author's to mend."""
    told = {"status": "error", "errorType": "bad_data", "error": "parse error: unexpected end"}
    assert parse(told) == Unclear(
        "the metric server answered bad_data: parse error: unexpected end"
    )


@pytest.mark.parametrize(
    "labels", [{}, {"gitopsd_question": "0022"}, {"__name__": "up", "job": "other"}]
)
def test_the_answer_to_another_query_is_none(labels: Json) -> None:
    """Each series carries the mark that was sent; what does not was asked by somebody else."""
    other: Json = {"metric": labels, "value": [AT, "0"]}
    assert parse(answered([series(), other])) == Unclear(f"{ODD}it is the answer to another query")


@pytest.mark.parametrize(
    "document, problem",
    [
        (None, "it is no JSON object"),
        ([], "it is no JSON object"),
        ({}, "it is neither success nor error"),
        ({"status": "success"}, "it is neither success nor error"),
        ({"status": "ok", "data": {}}, "it is neither success nor error"),
        (answered([], "scalar"), "it is a scalar, not a vector"),
        (answered([], "matrix"), "it is a matrix, not a vector"),
        (answered([], None), "it is a None, not a vector"),
        (answered({}), "its result is no list"),
        (answered(["up"]), "a series is no object"),
        (answered([{"value": [AT, "1"]}]), "a series has no labels"),
        (answered([series(job=1)]), "a label is no text"),
        (answered([{**series(), "histogram": []}]), "it holds a histogram, not a figure"),
        (answered([series([AT])]), "a value is no pair of time and text"),
        (answered([series([AT, "1", "2"])]), "a value is no pair of time and text"),
        (answered([series([AT, 1])]), "a value is no pair of time and text"),
        (answered([series([True, "1"])]), "a value is no pair of time and text"),
        (answered([series("1")]), "a value is no pair of time and text"),
        (answered([series([-1, "1"])]), "a value has no time"),
        (answered([series([1e15, "1"])]), "a value has no time"),
        (answered([series([AT, "1_0"])]), "'1_0' is no figure"),
        (answered([series([AT, "nan"])]), "'nan' is no figure"),
        (answered([series([AT, ""])]), "'' is no figure"),
        (answered([series([AT, " 1"])]), "' 1' is no figure"),
        (answered([], warnings="partial"), "its warnings are no list"),
    ],
)
def test_what_is_no_answer_is_not_used(document: Json, problem: str) -> None:
    """It says which part of it is wrong."""
    assert parse(document) == Unclear(f"{ODD}{problem}")


@pytest.mark.parametrize(
    "one, problem",
    [
        (series(), "a series has no values"),
        ({**series(), "values": {}}, "a series has no values"),
        ({**series(), "values": [[AT, None]]}, "a value is no pair of time and text"),
        ({**series(), "histograms": []}, "it holds a histogram, not a figure"),
    ],
)
def test_a_range_has_values(one: Json, problem: str) -> None:
    """A vector inside of a range is none."""
    assert parse(answered([one], "matrix"), ranged=True) == Unclear(f"{ODD}{problem}")
