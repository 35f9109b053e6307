"""Conditions of a status: how they are found, set and dated. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.fields import objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


def conditions_of(item: JsonObject) -> list[JsonObject]:
    """``status.conditions``."""
    return list(objects_at(item, "status", "conditions"))


def find_condition(conditions: Sequence[JsonObject], kind: str) -> JsonObject | None:
    """The condition of a type; None when there is none."""
    return next((item for item in conditions if item.get("type") == kind), None)


def is_true(item: JsonObject, kind: str) -> bool:
    """Whether an object's condition of a type is True."""
    found = find_condition(conditions_of(item), kind)
    return found is not None and found.get("status") == TRUE


def make_condition(
    kind: str, status: str, reason: str, message: str, now: str, *, dates: Sequence[str] = ()
) -> dict[str, Json]:
    """A condition that began `now`; `dates` are further fields that say when, e.g. probes."""
    return {
        "type": kind,
        "status": status,
        **dict.fromkeys(dates, now),
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def without_condition(conditions: Sequence[JsonObject], kind: str) -> list[JsonObject]:
    """The conditions but for those of a type."""
    return [item for item in conditions if item.get("type") != kind]


def set_last(conditions: Sequence[JsonObject], new: JsonObject) -> list[JsonObject]:
    """The conditions with a new one at their end, as Deployments and ReplicaSets keep theirs.

    One that says the same (status and reason) stays as it is, its old message included; one of the
    same status keeps its lastTransitionTime.
    """
    kind = text_at(new, "type")
    old = find_condition(conditions, kind)
    if old is not None and _says_the_same(old, new):
        return list(conditions)
    return [*without_condition(conditions, kind), _keep_transition(old, new)]


def set_in_place(conditions: Sequence[JsonObject], new: JsonObject) -> list[JsonObject]:
    """The conditions with one of them said anew where it stands, or added.

    As ``meta.SetStatusCondition``: the time changes with the status alone.
    """
    kind = text_at(new, "type")
    old = find_condition(conditions, kind)
    if old is None:
        return [*conditions, new]
    kept = _keep_transition(old, new)
    return [kept if item is old else item for item in conditions]


def _says_the_same(old: JsonObject, new: JsonObject) -> bool:
    return all(old.get(field) == new.get(field) for field in ("status", "reason"))


def _keep_transition(old: JsonObject | None, new: JsonObject) -> JsonObject:
    if old is None or old.get("status") != new.get("status"):
        return new
    return {**new, "lastTransitionTime": old.get("lastTransitionTime")}
