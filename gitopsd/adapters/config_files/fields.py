"""Field types that the kinds share, each with its own words for what is wrong."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, ClassVar
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    PlainSerializer,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from gitopsd.errors import DeliveryError
from gitopsd.webhooks.payload import parse_ref
from gitopsd.webhooks.urls import parse_repository_url

_MAX_NAME_CHARACTERS = 63
_MAX_DURATION = timedelta(days=365)
_DURATION_PATTERN = r"^(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?(?:[0-9]+ms)?$"
_DURATION = re.compile(
    r"(?:(\d{1,6})d)?(?:(\d{1,6})h)?(?:(\d{1,6})m(?!s))?(?:(\d{1,6})s)?(?:(\d{1,9})ms)?", re.ASCII
)
# RFC 1123 label: what Kubernetes takes as a namespace, and as a label's value.
_LABEL_PATTERN = r"^[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$"
_LABEL = re.compile(_LABEL_PATTERN.replace("$", r"\Z"))
_KIND_PATTERN = r"^[A-Z][A-Za-z0-9]*$"
_KIND = re.compile(_KIND_PATTERN.replace("$", r"\Z"))
_GRANT_PATTERN = r"^[A-Z][A-Za-z0-9]*(?:/[A-Za-z0-9](?:[-.:A-Za-z0-9]*[A-Za-z0-9])?)?$"
_GRANT = re.compile(_GRANT_PATTERN.replace("$", r"\Z"))
_REPOSITORY_PATTERN = r"^[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}$"
_REPOSITORY = re.compile(_REPOSITORY_PATTERN.replace("$", r"\Z"))
_SUBJECT_PATTERN = r"^(?:group|user):[^\s:]+$"
_SUBJECT = re.compile(_SUBJECT_PATTERN.replace("$", r"\Z"))


class Section(BaseModel):
    """One mapping in a file: strict types, no unknown keys, camelCase names."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )

    NOT_YET: ClassVar[dict[str, str]] = {}
    """Keys that the design has and this version does not -> what to do meanwhile."""


def refuse(problem: str, remedy: str) -> PydanticCustomError:
    """Make the error of a validator: what is wrong, and what to write instead."""
    # The template holds no braces: values with braces in them would be taken for fields.
    return PydanticCustomError(
        "gitopsd", "{problem}. {remedy}", {"problem": problem, "remedy": remedy}
    )


def parse_duration(value: object) -> timedelta:
    """Read ``180s``, ``5m``, ``24h``, ``1h30m``, ``500ms``; a number without a unit is refused.

    Raises:
        PydanticCustomError: It is something else, or longer than a year.
    """
    if isinstance(value, timedelta):  # a default
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise refuse(f"{value} has no unit", f"Write `{value}s`, or `{value}m` for minutes")
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not value or found is None:
        raise refuse("this is no duration", "Write for example `30s`, `5m` or `1h30m`")
    days, hours, minutes, seconds, milliseconds = (int(part or 0) for part in found.groups())
    duration = timedelta(
        days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=milliseconds
    )
    if duration > _MAX_DURATION:
        raise refuse(f"{value} is longer than a year", "Write at most `365d`")
    return duration


def format_duration(duration: timedelta) -> str:
    """Write a duration as `parse_duration` reads it, in its largest whole unit."""
    milliseconds = duration // timedelta(milliseconds=1)
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)):
        if milliseconds and milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    return f"{milliseconds}ms" if milliseconds else "0s"


def _check_positive(value: timedelta) -> timedelta:
    if not value:
        raise refuse("the duration is zero", "Write for example `30s` or `5m`")
    return value


def _check_pattern(
    pattern: re.Pattern[str], what: str, remedy: str, longest: int = 253
) -> Callable[[str], str]:
    def check(value: str) -> str:
        if len(value) > longest:
            raise refuse(f"{what} is longer than {longest} characters", remedy)
        if not pattern.match(value):
            raise refuse(f"{value[:60]!r} is no {what}", remedy)
        return value

    return check


def _check_path(value: str) -> str:
    parts = value.split("/")
    if not value or value.startswith("/") or ".." in parts or "\\" in value or "\x00" in value:
        raise refuse(
            f"{value[:60]!r} is no path inside the repository",
            "Write a path from its top, such as `overlays/staging`, without `..`",
        )
    return value


def _check_repository_url(value: str) -> str:
    address = parse_repository_url(value)
    if address is None or not address.transport or value != value.strip():
        raise refuse(
            f"{value.rpartition('@')[2][:60]!r} is no repository address",
            "Write for example `https://git.example/team/app.git` or `git@host:team/app.git`",
        )
    if "://" in value and urlsplit(value).password is not None:
        raise refuse(
            "the address holds a password",
            "Put the password in a file and name that file in repositories/",
        )
    return value


def _check_branch(value: str) -> str:
    try:
        parse_ref(f"refs/heads/{value}")
    except DeliveryError:
        raise refuse(f"{value[:60]!r} is no branch name", "Write for example `main`") from None
    if value.startswith("refs/"):
        raise refuse(f"{value!r} is a full ref", "Write the branch alone, such as `main`")
    return value


def _check_file_name(value: str) -> str:
    if not value or "\n" in value or "\x00" in value:
        raise refuse(
            "this is no file name",
            "Secrets are named by their files: write a path such as `/run/secrets/webhook`",
        )
    return value


def _check_http_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
        parts = urlsplit("")
    if not usable or any(sign.isspace() for sign in value):
        raise refuse("this is no http or https address", "Write for example `https://host/path`")
    if parts.username is not None or parts.password is not None:
        raise refuse("the address holds credentials", "Write the address without them")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": _DURATION_PATTERN, "minLength": 2}),
]
"""A duration such as ``5m``; zero is allowed."""

PositiveDuration = Annotated[Duration, AfterValidator(_check_positive)]
"""A duration that is not zero."""

Name = Annotated[
    str,
    AfterValidator(
        _check_pattern(
            _LABEL,
            "name",
            "Write lower-case letters, digits and dashes, at most 63, such as `ai-core`",
            _MAX_NAME_CHARACTERS,
        )
    ),
    WithJsonSchema(
        {"type": "string", "pattern": _LABEL_PATTERN, "maxLength": _MAX_NAME_CHARACTERS}
    ),
]
"""A name that Kubernetes takes as a namespace and as a label's value."""

Kind = Annotated[
    str,
    AfterValidator(_check_pattern(_KIND, "kind", "Write a kind such as `ClusterRole`")),
    WithJsonSchema({"type": "string", "pattern": _KIND_PATTERN}),
]
"""A Kubernetes kind."""

Grant = Annotated[
    str,
    AfterValidator(
        _check_pattern(
            _GRANT,
            "kind",
            "Write a kind such as `ClusterRole`, or one object of it: `ClusterRole/reader`",
            2 * 253,
        )
    ),
    WithJsonSchema({"type": "string", "pattern": _GRANT_PATTERN}),
]
"""A Kubernetes kind, or one object of it by name."""

Subject = Annotated[
    str,
    AfterValidator(_check_pattern(_SUBJECT, "subject", "Write `group:NAME` or `user:SUBJECT`")),
    WithJsonSchema({"type": "string", "pattern": _SUBJECT_PATTERN}),
]
"""Who: ``group:NAME`` or ``user:SUBJECT``."""

OwnerAndName = Annotated[
    str,
    AfterValidator(_check_pattern(_REPOSITORY, "repository", "Write `OWNER/NAME` as GitHub does")),
    WithJsonSchema({"type": "string", "pattern": _REPOSITORY_PATTERN}),
]
"""A repository on GitHub."""

RepositoryPath = Annotated[str, AfterValidator(_check_path)]
RepositoryUrl = Annotated[str, AfterValidator(_check_repository_url)]
Branch = Annotated[str, AfterValidator(_check_branch)]
FileName = Annotated[str, AfterValidator(_check_file_name)]
HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
