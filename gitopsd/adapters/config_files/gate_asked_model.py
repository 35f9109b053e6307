"""``external:``, ``prometheus:`` and ``checks:`` of a stage's gates: those that ask outside."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gitopsd.adapters.config_files.fields import (
    FileName,
    HttpUrl,
    Name,
    OwnerAndName,
    PositiveDuration,
    Section,
    refuse,
)
from gitopsd.adapters.config_files.metric_fields import (
    MetricCondition,
    MetricDuration,
    MetricQueryText,
)
from gitopsd.domain.asked_gates import (
    EVERY,
    TIMEOUT,
    ChecksGate,
    CommitOf,
    ExternalGate,
    Otherwise,
    PrometheusGate,
)
from gitopsd.domain.metrics import OnEmpty

_SHORTEST, _LONGEST = timedelta(seconds=5), timedelta(hours=1)
_LONGEST_TIMEOUT = timedelta(seconds=30)
_LONGEST_CHECK = 255
_OWN = "gitopsd/"


def _check_every(value: timedelta) -> timedelta:
    if not _SHORTEST <= value <= _LONGEST:
        raise refuse(
            "a gate is asked each 5 seconds at most, and each hour at least",
            "Write for example `30s` or `5m`",
        )
    return value


def _check_timeout(value: timedelta) -> timedelta:
    if value > _LONGEST_TIMEOUT:
        raise refuse("an answer is waited for at most 30 seconds", "Write for example `10s`")
    return value


Every = Annotated[PositiveDuration, AfterValidator(_check_every)]
"""How often something outside is asked."""

AnswerTimeout = Annotated[PositiveDuration, AfterValidator(_check_timeout)]
"""How long something outside may take to answer."""


class AskedSection(Section):
    """What the gates that ask outside have in common."""

    every: Every = Field(
        default=EVERY, description="How often it is asked; an answer counts three times as long"
    )


class ExternalSection(AskedSection):
    """``external:``: a service of yours says open, closed or refused."""

    url: HttpUrl = Field(description="Where it is asked", examples=["https://decide.example/gate"])
    secret_file: FileName = Field(
        description="File with the secret that requests are signed with",
        examples=["/run/secrets/gate"],
    )
    timeout: AnswerTimeout = Field(
        default=TIMEOUT, description="How long an answer may take, body included"
    )

    def to_domain(self) -> ExternalGate:
        """Make the frozen value."""
        return ExternalGate(
            url=self.url, secret_file=self.secret_file, every=self.every, timeout=self.timeout
        )


def _check_check_name(value: str) -> str:
    if not value.strip() or not value.isprintable() or len(value) > _LONGEST_CHECK:
        raise refuse(f"{value[:60]!r} is no name of a check", "Write it as GitHub shows it")
    if value.startswith(_OWN):
        raise refuse(
            f"{value[:60]!r} is gitopsd's own status, which waits for this gate",
            "Name the checks of the build",
        )
    return value


CheckName = Annotated[str, AfterValidator(_check_check_name)]


class ChecksSection(AskedSection):
    """``checks:``: check runs and statuses of a commit are good on GitHub."""

    commit: Annotated[list[CheckName], Field(min_length=1, max_length=50)] = Field(
        description="Names of check runs, or contexts of statuses", examples=["[ci/test]"]
    )
    of: Literal["config", "application"] = Field(
        default="config",
        description="The release's own commit, or those that its images were built from",
    )
    channel: Name | None = Field(
        default=None, description="GitHub channel whose credential is used; the only one if unset"
    )
    repository: OwnerAndName | None = Field(
        default=None, description="OWNER/NAME of the commit; the source's own if unset"
    )
    accept: list[Literal["neutral", "skipped"]] = Field(
        default=[], description="Conclusions that count as good beside `success`"
    )
    on_failure: Literal["wait", "refuse"] = Field(
        default="wait", description="What a check means that failed"
    )

    @model_validator(mode="after")
    def _check_repository(self) -> Self:
        if self.of == "application" and self.repository is None:
            raise refuse(
                "`of: application` needs `repository`",
                "Write `repository: OWNER/NAME` of what the images are built from",
            )
        return self

    def to_domain(self) -> ChecksGate:
        """Make the frozen value."""
        return ChecksGate(
            names=tuple(dict.fromkeys(self.commit)),
            of=CommitOf(self.of),
            channel=self.channel or "",
            repository=self.repository or "",
            accept=tuple(self.accept),
            on_failure=Otherwise(self.on_failure),
            every=self.every,
        )


class PrometheusSection(AskedSection):
    """``prometheus:``: a figure of a metric server must be as the condition says."""

    query: MetricQueryText = Field(
        description="PromQL that finds one series",
        examples=['sum(rate(errors_total{namespace="{{ namespace }}"}[5m]))'],
    )
    condition: MetricCondition = Field(description="What its figure must be", examples=["< 0.05"])
    cluster: Name | None = Field(
        default=None, description="Cluster whose `metrics` are asked; the stage's own if unset"
    )
    duration: MetricDuration = Field(
        alias="for", default=timedelta(0), description="For how long it must have been so"
    )
    on_empty: Literal["inconclusive", "zero"] = Field(
        default="inconclusive", description="What it means that the query finds nothing"
    )
    on_failure: Literal["wait", "refuse"] = Field(
        default="wait", description="What a figure means that is not as it must be"
    )
    on_inconclusive: Literal["wait", "refuse"] = Field(
        default="wait", description="What an answer means that tells nothing"
    )
    freshness: PositiveDuration = Field(
        default=timedelta(minutes=5), description="How old the newest sample may be"
    )
    timeout: AnswerTimeout = Field(default=TIMEOUT, description="How long an answer may take")

    def to_domain(self) -> PrometheusGate:
        """Make the frozen value."""
        return PrometheusGate(
            query=self.query,
            condition=self.condition,
            cluster=self.cluster or "",
            duration=self.duration,
            on_empty=OnEmpty(self.on_empty),
            on_failure=Otherwise(self.on_failure),
            on_inconclusive=Otherwise(self.on_inconclusive),
            freshness=self.freshness,
            every=self.every,
            timeout=self.timeout,
        )
