"""Kubernetes events as values, from either of the two APIs that serve them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.kube.findings import latest
from gitopsd.kube.objects import created_at, mapping_at, string_at, time_at

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from gitopsd.domain.manifests import JsonObject

_CONTAINER = re.compile(r"\{([^{}]{1,63})\}")


@dataclass(frozen=True, slots=True)
class PodEvent:
    """One event, or one series of equal events.

    Attributes:
        reason: E.g. ``FailedMount``.
        message: What the reporter said.
        container: Container it is about; empty when it is about the whole object.
        first: When it was first seen; None when not recorded.
        last: When it was last seen; None when not recorded.
    """

    reason: str
    message: str
    container: str = ""
    first: datetime | None = None
    last: datetime | None = None

    @property
    def about_pull(self) -> bool:
        """Whether it holds a registry's or a runtime's words about a pull that failed."""
        return self.reason == "Failed" and self.message.startswith("Failed to pull image")

    def is_recent(self, now: datetime, age: timedelta) -> bool:
        """Whether it was last seen within `age` before `now`; unknown times are recent."""
        return self.last is None or now - self.last <= age


def parse_event(event: JsonObject) -> PodEvent:
    """Read an event of the core API or of ``events.k8s.io``."""
    about = _about(event)
    found = _CONTAINER.search(string_at(about, "fieldPath"))
    once = time_at(event, "eventTime")
    first = (
        time_at(event, "firstTimestamp")
        or time_at(event, "deprecatedFirstTimestamp")
        or once
        or created_at(event)
    )
    last = latest(
        time_at(event, "lastTimestamp"),
        time_at(event, "deprecatedLastTimestamp"),
        time_at(event, "series", "lastObservedTime"),
        once,
    )
    return PodEvent(
        reason=string_at(event, "reason"),
        message=string_at(event, "message") or string_at(event, "note"),
        container=found.group(1) if found else "",
        first=first,
        last=last or first,
    )


def _about(event: JsonObject) -> JsonObject:
    return mapping_at(event, "involvedObject") or mapping_at(event, "regarding")


def group_events(events: Iterable[JsonObject]) -> dict[str, tuple[PodEvent, ...]]:
    """Read events by the uid of the object they are about, oldest first.

    Events that do not say a uid are left out.
    """
    grouped: dict[str, list[PodEvent]] = {}
    for event in events:
        uid = string_at(_about(event), "uid")
        if uid:
            grouped.setdefault(uid, []).append(parse_event(event))
    return {uid: tuple(sorted(found, key=_age)) for uid, found in grouped.items()}


def _age(event: PodEvent) -> tuple[str, str, str]:
    last = event.last.isoformat() if event.last else ""
    return (last, event.reason, event.message)
