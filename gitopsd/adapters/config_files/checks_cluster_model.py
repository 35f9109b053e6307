"""Checks inside the cluster: ``job:`` and ``command:``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from gitopsd.adapters.config_files.check_kind_model import CheckKindSection
from gitopsd.adapters.config_files.fields import Name, PositiveDuration, refuse
from gitopsd.domain.checks import CommandCheck, JobCheck

LONGEST_COMMAND = timedelta(seconds=60)
_WORKLOAD = re.compile(
    r"(?:Deployment|StatefulSet|DaemonSet)/[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?"
)
_LABEL_KEY = re.compile(
    r"(?:[a-z0-9](?:[-.a-z0-9]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?"
)
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[-._A-Za-z0-9]{0,61}[A-Za-z0-9])?)?")


def _check_workload(value: str) -> str:
    if _WORKLOAD.fullmatch(value) is None:
        raise refuse(
            f"{value[:60]!r} is no workload whose pods can be asked",
            "Write `Deployment/NAME`, `StatefulSet/NAME` or `DaemonSet/NAME`",
        )
    return value


def _check_labels(value: dict[str, str]) -> dict[str, str]:
    for key, text in value.items():
        if _LABEL_KEY.fullmatch(key) is None or _LABEL_VALUE.fullmatch(text) is None:
            raise refuse(
                f"{key[:60]}={text[:60]} is no label", "Write `app: api`, as the pods have it"
            )
    return value


def _check_words(value: list[str]) -> list[str]:
    if not value[0] or any("\x00" in word for word in value):
        raise refuse("this is no command", "Write its program and arguments: `[./check, --all]`")
    return value


Workload = Annotated[str, AfterValidator(_check_workload)]
Labels = Annotated[dict[str, str], AfterValidator(_check_labels), Field(min_length=1)]
Words = Annotated[list[str], Field(min_length=1, max_length=64), AfterValidator(_check_words)]


class JobSection(CheckKindSection):
    """``job:`` of a check."""

    template: Name = Field(
        description="Name of a Job in the overlay, annotated `gitopsd.io/hook: Verify`",
        examples=["smoke"],
    )
    within: PositiveDuration | None = Field(  # type: ignore[assignment]  # a Job is not tried again unless asked
        default=None, description="For how long a Job that failed is tried again; never if unset"
    )
    timeout: PositiveDuration = Field(default=timedelta(minutes=5), description="Bound of one Job")
    successes: Annotated[int, Field(ge=1, le=10)] = Field(default=1, description="In a row")

    def to_domain(self) -> JobCheck:
        """Make the frozen value."""
        return JobCheck(
            name=self.name or f"job {self.template}",
            template=self.template,
            within=self.within or timedelta(0),
            timeout=self.timeout,
            successes=self.successes,
        )


class CommandSection(CheckKindSection):
    """``command:`` of a check."""

    command: Words = Field(
        description="Program and arguments; no shell is involved",
        examples=[["./manage.py", "check", "--deploy"]],
    )
    workload: Workload | None = Field(
        default=None,
        description="Workload in whose newest ready pod it runs",
        examples=["Deployment/api"],
    )
    selector: Labels | None = Field(
        default=None, description="Labels of the pod, instead of a workload"
    )
    container: Name | None = Field(default=None, description="Container; the first if unset")
    exit_code: Annotated[int, Field(ge=0, le=255)] = Field(
        default=0, description="Exit status that is expected"
    )
    stdout_contains: str = Field(
        default="", max_length=4096, description="Text that its output must hold"
    )

    @model_validator(mode="after")
    def _check_whole(self) -> Self:
        if (self.workload is None) == (self.selector is None):
            raise refuse(
                "a command runs in a pod of a workload or of a selector",
                "Write `workload: Deployment/NAME`, or `selector:` with labels",
            )
        if self.timeout > LONGEST_COMMAND:
            raise refuse(
                "a command may take 60s at most",
                "Write a shorter `timeout:`, or run what takes longer as a `job:`",
            )
        return self

    def to_domain(self) -> CommandCheck:
        """Make the frozen value."""
        return CommandCheck(
            name=self.name or f"command {self.command[0]}",
            command=tuple(self.command),
            workload=self.workload or "",
            selector=self.selector or {},
            container=self.container or "",
            exit_code=self.exit_code,
            stdout_contains=self.stdout_contains,
            within=self.within,
            timeout=self.timeout,
            successes=self.successes,
        )
