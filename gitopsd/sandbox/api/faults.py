"""Fault switches: rules that make the API server fail for some requests, and only for these."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.errors import PermanentError
from gitopsd.sandbox.fields import field_at, flag_at, number_at, object_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

_KNOWN = frozenset(
    {"match", "code", "reason", "message", "retryAfter", "delay", "drop", "hang", "count"}
)
_MATCHED = frozenset({"verb", "path", "userAgent", "user"})
LOWEST_CODE = 400
HIGHEST_CODE = 599


class FaultError(PermanentError):
    """A fault cannot be read; the message says what is wrong with it."""

    reason = "BadRequest"


@dataclass(frozen=True, slots=True)
class Facts:
    """What a fault can go by in a request.

    Attributes:
        verb: As in RBAC rules.
        path: Path and query.
        user_agent: The client.
        user: Who asks, before any impersonation.
    """

    verb: str
    path: str
    user_agent: str
    user: str


@dataclass(slots=True)
class Fault:
    """One switch.

    Attributes:
        number: Names it, to take it away again.
        verbs: Only these; empty: any.
        patterns: Regular expressions that must be found in the fact of that name.
        code: Answered status; 0: the request is served.
        reason: Kubernetes' word for it in the answer; empty: the usual one for the code.
        message: What the answer says.
        retry_after: Sent as ``Retry-After``.
        delay: Waited first.
        drop: Close the connection without an answer.
        hang: Never answer.
        left: How many more requests it is for; None: all.
    """

    number: int
    verbs: frozenset[str]
    patterns: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    code: int = 0
    reason: str = ""
    message: str = ""
    retry_after: timedelta | None = None
    delay: timedelta = timedelta(0)
    drop: bool = False
    hang: bool = False
    left: int | None = None

    def concerns(self, facts: Facts) -> bool:
        """Whether a request is one of those that shall fail."""
        if self.verbs and facts.verb not in self.verbs:
            return False
        said = {"path": facts.path, "userAgent": facts.user_agent, "user": facts.user}
        return all(pattern.search(said[name]) for name, pattern in self.patterns.items())

    def describe(self) -> JsonObject:
        """As the control address shows it."""
        shown: dict[str, Json] = {"id": self.number}
        match: dict[str, Json] = {name: item.pattern for name, item in self.patterns.items()}
        if self.verbs:
            match["verb"] = sorted(self.verbs)
        shown["match"] = match
        if self.code:
            shown["code"] = self.code
        if self.retry_after is not None:
            shown["retryAfter"] = self.retry_after.total_seconds()
        if self.delay:
            shown["delay"] = self.delay.total_seconds()
        for name, value in (("drop", self.drop), ("hang", self.hang)):
            if value:
                shown[name] = True
        if self.left is not None:
            shown["count"] = self.left
        return shown


class Faults:
    """The switches that are on, oldest first: the first that concerns a request decides."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._last = 0

    def add(self, wanted: Json) -> Fault:
        """Switch one on.

        Raises:
            FaultError: It cannot be read.
        """
        fault = parse_fault(wanted, self._last + 1)
        self._last = fault.number
        self._faults.append(fault)
        return fault

    def remove(self, number: int | None) -> int:
        """Switch one off, or all; returns how many were on. Safe to repeat."""
        kept = [item for item in self._faults if number is not None and item.number != number]
        gone = len(self._faults) - len(kept)
        self._faults = kept
        return gone

    def describe(self) -> list[JsonObject]:
        """Those that are on."""
        return [item.describe() for item in self._faults]

    def claim(self, facts: Facts) -> Fault | None:
        """The fault for a request, counted; None for most requests."""
        for fault in self._faults:
            if not fault.concerns(facts):
                continue
            if fault.left is not None:
                fault.left -= 1
                if fault.left <= 0:
                    self._faults.remove(fault)
            return fault
        return None


def parse_fault(wanted: Json, number: int) -> Fault:
    """Read a fault.

    Raises:
        FaultError: A field is unknown or has a value that makes no sense.
    """
    if not isinstance(wanted, Mapping):
        raise FaultError("a fault is a JSON object")
    match = object_at(wanted, "match")
    unknown = sorted({*wanted} - _KNOWN) + [f"match.{name}" for name in sorted({*match} - _MATCHED)]
    if unknown:
        known = ", ".join(sorted(_KNOWN)) + "; in match: " + ", ".join(sorted(_MATCHED))
        raise FaultError(f"unknown fields: {', '.join(unknown)}. Known are: {known}")
    code = int(number_at(wanted, "code"))
    if code and not LOWEST_CODE <= code <= HIGHEST_CODE:
        raise FaultError(f"code {code} is no error: use {LOWEST_CODE} to {HIGHEST_CODE}")
    after = field_at(wanted, "retryAfter")
    count = field_at(wanted, "count")
    return Fault(
        number=number,
        verbs=_parse_verbs(match.get("verb")),
        patterns={name: _compile(name, text_at(match, name)) for name in match if name != "verb"},
        code=code,
        reason=text_at(wanted, "reason"),
        message=text_at(wanted, "message"),
        retry_after=None if after is None else timedelta(seconds=number_at(wanted, "retryAfter")),
        delay=timedelta(seconds=number_at(wanted, "delay")),
        drop=flag_at(wanted, "drop"),
        hang=flag_at(wanted, "hang"),
        left=None if count is None else int(number_at(wanted, "count")),
    )


def _parse_verbs(value: Json) -> frozenset[str]:
    if isinstance(value, str):
        return frozenset(word.strip().lower() for word in value.split(",") if word.strip())
    if isinstance(value, Sequence):
        return frozenset(str(word).lower() for word in value)
    return frozenset()


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FaultError(f"match.{name} is no regular expression: {error}") from error
