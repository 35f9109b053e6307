"""``prometheus:`` of a check: a figure of a metric server, measured several times."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from gitopsd.adapters.config_files.fields import Name, PositiveDuration, Section, refuse
from gitopsd.adapters.config_files.gate_asked_model import AnswerTimeout
from gitopsd.adapters.config_files.metric_fields import MetricCondition, MetricQueryText
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.metrics import Better, OnEmpty, Worsening

_SHARE_PATTERN = r"^([0-9]{1,5}(\.[0-9]{1,3})?)%$"
_SHARE = re.compile(_SHARE_PATTERN.replace("$", r"\Z"), re.ASCII)
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(minutes=10)
_LONGEST_ANALYSIS = timedelta(hours=2)
_SHOWN = 60
_OF_ITS_OWN = re.compile(r"\{\{\s*(commit|run)\s*\}\}")


def _parse_share(value: object) -> float:
    found = _SHARE.match(value) if isinstance(value, str) else None
    if found is None:
        raise refuse(f"{str(value)[:60]!r} is no share", "Write per cent, such as `10%`")
    return float(found[1]) / 100


def _check_interval(value: timedelta) -> timedelta:
    if not _SHORTEST <= value <= _LONGEST:
        raise refuse("measurements are 1 second to 10 minutes apart", "Write for example `10s`")
    return value


Share = Annotated[
    float,
    BeforeValidator(_parse_share),
    WithJsonSchema({"type": "string", "pattern": _SHARE_PATTERN}),
]


class CompareSection(Section):
    """``compare:``: how much worse than before the release a figure may be."""

    worse_than: Share = Field(
        description="Part of the former mean that the new one may be worse by", examples=["10%"]
    )
    better: Literal["lower", "higher"] = Field(
        default="lower", description="Which figures are the better ones"
    )
    least: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="Differences up to this count for nothing"
    )

    def to_domain(self) -> Worsening:
        """Make the frozen value."""
        return Worsening(self.worse_than, Better(self.better), self.least)


class AnalysisSection(Section):
    """``prometheus:`` of a check."""

    name: str = Field(default="", description="What people call the check")
    query: MetricQueryText = Field(
        description="PromQL that finds one series",
        examples=['sum(rate(errors_total{namespace="{{ namespace }}"}[1m]))'],
    )
    condition: MetricCondition | None = Field(
        default=None, description="What each figure must be", examples=["< 0.05"]
    )
    compare: CompareSection | None = Field(
        default=None, description="With what ran before the release"
    )
    cluster: Name | None = Field(
        default=None, description="Cluster whose `metrics` are asked; the stage's own if unset"
    )
    on_empty: Literal["inconclusive", "zero"] = Field(
        default="inconclusive", description="What it means that the query finds nothing"
    )
    interval: Annotated[PositiveDuration, AfterValidator(_check_interval)] = Field(
        default=timedelta(seconds=10), description="Time between two measurements"
    )
    count: Annotated[int, Field(ge=1, le=500)] = Field(
        default=6, description="Measurements that have to tell something"
    )
    failure_limit: Annotated[int, Field(ge=0, le=500)] = Field(
        default=0, description="How many of them may be bad"
    )
    inconclusive_limit: Annotated[int, Field(ge=0, le=500)] = Field(
        default=3, description="How many more may tell nothing"
    )
    timeout: AnswerTimeout = Field(
        default=timedelta(seconds=10), description="How long an answer may take"
    )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if self.condition is None and self.compare is None:
            raise refuse(
                "nothing is asked of the figure",
                'Write `condition: "< 0.05"`, or `compare: {worseThan: 10%}`, or both',
            )
        if self.failure_limit >= self.count:
            raise refuse("every measurement may be bad", "Let `failureLimit` be below `count`")
        if self.interval * (self.count + self.inconclusive_limit) > _LONGEST_ANALYSIS:
            raise refuse("the analysis takes longer than two hours", "Measure less, or more often")
        own = _OF_ITS_OWN.search(self.query)
        if self.compare is not None and own is not None:
            raise refuse(
                f"`{own[0]}` has no value for what ran before",
                "Leave it out, use `{{ release }}`, or leave `compare` out",
            )
        return self

    def to_domain(self) -> PrometheusCheck:
        """Make the frozen value."""
        return PrometheusCheck(
            name=self.name or " ".join(self.query.split())[:_SHOWN],
            query=self.query,
            condition=self.condition,
            worsening=self.compare.to_domain() if self.compare is not None else None,
            cluster=self.cluster or "",
            on_empty=OnEmpty(self.on_empty),
            interval=self.interval,
            count=self.count,
            failure_limit=self.failure_limit,
            inconclusive_limit=self.inconclusive_limit,
            timeout=self.timeout,
        )
