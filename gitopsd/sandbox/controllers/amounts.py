"""Numbers that may be percentages: surge, unavailability, disruption. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json


def scaled(value: Json, total: int, *, up: bool, default: int = 0) -> int:
    """An int-or-percent as a number of `total`, a part rounded up or down.

    What is neither counts as `default`; validation keeps such values out.
    """
    if isinstance(value, bool):
        return default
    if isinstance(value, int | float):
        return int(value)
    if not isinstance(value, str) or not value.endswith("%"):
        return default
    try:
        percent = int(value[:-1])
    except ValueError:
        return default
    # Floor division rounds down; negated twice it rounds up.
    return -(-total * percent // 100) if up else total * percent // 100
