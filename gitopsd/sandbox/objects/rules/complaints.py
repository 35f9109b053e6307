"""Collects what is wrong with an object, worded as k8s.io/apimachinery ``validation/field``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from gitopsd.domain.manifests import Json
from gitopsd.sandbox.objects.status_errors import Cause


def spoken(value: Json) -> str:
    """A value as it stands in a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int | float):
        return str(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Complaints:
    """What is wrong so far, in the order in which it was found."""

    def __init__(self) -> None:
        self.causes: list[Cause] = []

    def _add(self, reason: str, path: str, words: str, why: str = "") -> None:
        self.causes.append(Cause(reason, f"{words}: {why}" if why else words, path))

    def required(self, path: str, why: str = "") -> None:
        """Something is missing."""
        self._add("FieldValueRequired", path, "Required value", why)

    def invalid(self, path: str, value: Json, why: str) -> None:
        """A value cannot be."""
        self._add("FieldValueInvalid", path, f"Invalid value: {spoken(value)}", why)

    def mistyped(self, path: str, value: Json, why: str) -> None:
        """A value is of another type."""
        self._add("FieldValueTypeInvalid", path, f"Invalid value: {spoken(value)}", why)

    def forbidden(self, path: str, why: str) -> None:
        """A field may not be there, or may not change."""
        self._add("FieldValueForbidden", path, "Forbidden", why)

    def duplicate(self, path: str, value: Json) -> None:
        """A value is there twice."""
        self._add("FieldValueDuplicate", path, f"Duplicate value: {spoken(value)}")

    def not_found(self, path: str, value: Json) -> None:
        """A name refers to nothing."""
        self._add("FieldValueNotFound", path, f"Not found: {spoken(value)}")

    def too_long(self, path: str, limit: int) -> None:
        """There is too much of it."""
        self._add("FieldValueTooLong", path, "Too long", f"may not be more than {limit} bytes")

    def unsupported(self, path: str, value: Json, supported: Iterable[str]) -> None:
        """A value is none of those that there are."""
        listed = ", ".join(f'"{item}"' for item in supported)
        words = f"Unsupported value: {spoken(value)}"
        self._add("FieldValueNotSupported", path, words, f"supported values: {listed}")

    def immutable(self, path: str, new: Json, old: Json) -> None:
        """Complain when a field that may not change did."""
        if new != old:
            self.invalid(path, new, "field is immutable")


def items(value: Json, path: str) -> list[tuple[str, Mapping[str, Json]]]:
    """The objects in a list with their paths."""
    if not isinstance(value, list):
        return []
    return [
        (f"{path}[{index}]", item if isinstance(item, Mapping) else {})
        for index, item in enumerate(value)
    ]
