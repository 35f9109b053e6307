"""Label selectors: what they choose. Pure.

Rules: the API reference's LabelSelector; a Service's plain map is the same as ``matchLabels``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.fields import objects_at, text_at, text_map_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gitopsd.domain.manifests import JsonObject


def is_empty(selector: JsonObject) -> bool:
    """Whether a selector asks for nothing; what that means is the caller's to say."""
    return not text_map_at(selector, "matchLabels") and not objects_at(selector, "matchExpressions")


def matches(selector: JsonObject, labels: Mapping[str, str]) -> bool:
    """Whether labels have all that a LabelSelector asks for; an empty one is always content."""
    wanted = text_map_at(selector, "matchLabels")
    return has_all(wanted, labels) and all(
        _holds(requirement, labels) for requirement in objects_at(selector, "matchExpressions")
    )


def has_all(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every wanted label is there with its value."""
    return all(labels.get(key) == value for key, value in wanted.items())


def _holds(requirement: JsonObject, labels: Mapping[str, str]) -> bool:
    key = text_at(requirement, "key")
    values = texts_at(requirement, "values")
    value = labels.get(key)
    return compare(text_at(requirement, "operator"), value, values)


def compare(operator: str, value: str | None, values: tuple[str, ...]) -> bool:
    """Whether a value (None: there is none) passes ``In NotIn Exists DoesNotExist Gt Lt``."""
    match operator:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Gt" | "Lt":
            return _is_beyond(operator, value, values)
        case _:
            return False


def _is_beyond(operator: str, value: str | None, values: tuple[str, ...]) -> bool:
    try:
        have, bound = int(value or ""), int(values[0])
    except (ValueError, IndexError):
        return False
    return have > bound if operator == "Gt" else have < bound
