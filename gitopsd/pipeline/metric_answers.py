"""Reads what a server with Prometheus' HTTP API answered, and believes no more than it must.

Source: Prometheus documentation, "HTTP API", sections "Format overview" and "Expression queries".
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import MetricAnswer, Sample, Series, Unclear
from gitopsd.pipeline.metric_queries import MARK_LABEL

_FIGURE = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_SPECIAL = {"NaN": float("nan"), "+Inf": float("inf"), "Inf": float("inf"), "-Inf": -float("inf")}
_LATEST = 253_402_300_799  # the last second of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN = 200


class _OddError(ValueError):
    """The answer is not what the API answers."""


def parse_answer(document: Json, *, ranged: bool, mark: str) -> MetricAnswer | Unclear:
    """Read an answer.

    Args:
        document: The JSON that was answered.
        ranged: Whether a range was asked for.
        mark: What each series has to carry, see `gitopsd.pipeline.metric_queries.mark_query`.
    """
    if not isinstance(document, Mapping):
        return _odd("it is no JSON object")
    status = document.get("status")
    if status == "error":
        kind, words = document.get("errorType"), document.get("error")
        return Unclear(f"the metric server answered {kind}: {words}"[:_SHOWN])
    data = document.get("data")
    if status != "success" or not isinstance(data, Mapping):
        return _odd("it is neither success nor error")
    wanted = "matrix" if ranged else "vector"
    kind, result = data.get("resultType"), data.get("result")
    if kind != wanted:
        return _odd(f"it is a {str(kind)[:40]}, not a {wanted}")
    if not isinstance(result, list):
        return _odd("its result is no list")
    try:
        series = tuple(_read_series(one, ranged=ranged, mark=mark) for one in result)
        warnings = _read_warnings(document.get("warnings"))
    except _OddError as error:
        return _odd(str(error))
    return MetricAnswer(ranged, series, warnings)


def _odd(what: str) -> Unclear:
    return Unclear(f"the metric server's answer is not to be used: {what}")


def _read_series(one: Json, *, ranged: bool, mark: str) -> Series:
    if not isinstance(one, Mapping):
        raise _OddError("a series is no object")
    if "histogram" in one or "histograms" in one:
        raise _OddError("it holds a histogram, not a figure")
    labels = one.get("metric")
    if not isinstance(labels, Mapping):
        raise _OddError("a series has no labels")
    read = {}
    for name, value in labels.items():
        if not isinstance(value, str):
            raise _OddError("a label is no text")
        read[name] = value
    if read.pop(MARK_LABEL, "") != mark:
        raise _OddError("it is the answer to another query")
    given = one.get("values") if ranged else [one.get("value")]
    if not isinstance(given, list):
        raise _OddError("a series has no values")
    return Series(read, tuple(map(_read_sample, given)))


def _read_sample(given: Json) -> Sample:
    match given:
        case [int() | float() as seconds, str() as text] if not isinstance(seconds, bool):
            pass
        case _:
            raise _OddError("a value is no pair of time and text")
    if not 0 <= seconds <= _LATEST:
        raise _OddError("a value has no time")
    at = _EPOCH + timedelta(milliseconds=round(seconds * 1000))
    if text in _SPECIAL:
        return Sample(at, _SPECIAL[text])
    if not _FIGURE.fullmatch(text):
        raise _OddError(f"{text[:40]!r} is no figure")
    return Sample(at, float(text))


def _read_warnings(given: Json) -> tuple[str, ...]:
    if given is None:
        return ()
    if not isinstance(given, list):
        raise _OddError("its warnings are no list")
    return tuple(str(one)[:_SHOWN] for one in given)
