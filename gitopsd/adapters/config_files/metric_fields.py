"""Fields that gates and checks on metrics share."""

from __future__ import annotations

import re
from datetime import timedelta
from math import isfinite
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from gitopsd.adapters.config_files.fields import Duration, refuse
from gitopsd.domain.metrics import Comparison, Condition
from gitopsd.pipeline.metric_queries import PLACEHOLDERS, find_query_problem

_LONGEST_QUERY = 10_000
_LONGEST_RANGE = timedelta(days=1)
_CONDITION_PATTERN = r"^\s*(<=|>=|==|!=|<|>)\s*([+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?)\s*$"
_CONDITION = re.compile(_CONDITION_PATTERN.replace("$", r"\Z"), re.ASCII)


def _parse_condition(value: object) -> Condition:
    found = _CONDITION.match(value) if isinstance(value, str) else None
    if found is None or not isfinite(float(found[2])):
        raise refuse(
            f"{str(value)[:60]!r} is no condition",
            "Write one of < <= > >= == != and a number, such as `< 0.05`",
        )
    return Condition(Comparison(found[1]), float(found[2]))


def _check_query(value: str) -> str:
    problem = find_query_problem(value)
    if problem:
        raise refuse(
            problem, f"There are {', '.join(f'`{{{{ {one} }}}}`' for one in PLACEHOLDERS)}"
        )
    if len(value) > _LONGEST_QUERY:
        raise refuse(
            f"the query is longer than {_LONGEST_QUERY} characters",
            "Make it a recording rule, and ask for that",
        )
    return value


def _check_range(value: timedelta) -> timedelta:
    if value > _LONGEST_RANGE:
        raise refuse("a range is a day at most", "Write at most `24h`")
    return value


MetricCondition = Annotated[
    Condition,
    BeforeValidator(_parse_condition),
    PlainSerializer(str),
    WithJsonSchema({"type": "string", "pattern": _CONDITION_PATTERN}),
]
"""What a figure must be, as ``< 0.05``."""

MetricQueryText = Annotated[str, AfterValidator(_check_query)]
"""PromQL with placeholders of the closed list."""

MetricDuration = Annotated[Duration, AfterValidator(_check_range)]
"""For how long something must have been so."""
