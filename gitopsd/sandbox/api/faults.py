"""Fault switches: rules that make the API server fail for some requests, and only for these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import re

    from gitopsd.domain.manifests import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Facts:
    """What a fault can go by in a request.

    Attributes:
        verb: As in RBAC rules.
        path: Path and query.
        user_agent: The client.
        user: Who asks, before any impersonation.
        own: Whether it is a part of the cluster that asks: its node.
    """

    verb: str
    path: str
    user_agent: str
    user: str
    own: bool = False


@dataclass(slots=True)
class Fault:
    """One switch.

    Attributes:
        number: Names it, to take it away again; 0 until it is on.
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

    number: int = 0
    verbs: frozenset[str] = frozenset()
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
        """Whether a request is one of those that shall fail.

        The cluster's own node is let alone unless it is asked for by its name: whoever makes
        patches fail does not mean its heartbeat.
        """
        if facts.own and not {"user", "userAgent"} & {*self.patterns}:
            return False
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
        said = {"reason": self.reason, "message": self.message}
        shown |= {name: text for name, text in said.items() if text}
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

    def add(self, fault: Fault) -> Fault:
        """Switch one on: it gets its number."""
        self._last += 1
        fault.number = self._last
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
