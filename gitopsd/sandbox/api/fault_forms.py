"""Reads fault switches as people write them, and says what makes no sense in one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.errors import PermanentError
from gitopsd.sandbox.api.faults import Fault

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

LOWEST_CODE = 400
HIGHEST_CODE = 599
LONGEST_SECONDS = 86_400
_KNOWN = ("match", "code", "reason", "message", "retryAfter", "delay", "drop", "hang", "count")
_MATCHED = ("verb", "path", "userAgent", "user")
_VERBS = ("get", "list", "watch", "create", "update", "patch", "delete", "deletecollection")
_PATH_VERBS = ("post", "put", "head", "options")
"""Verbs of paths that are no resource, where they are no verb of a resource."""


class FaultError(PermanentError):
    """A fault cannot be read; the message says what is wrong with it."""

    reason = "BadRequest"


def parse_fault(wanted: Json) -> Fault:
    """Read a fault.

    Raises:
        FaultError: A field is unknown or has a value that makes no sense.
    """
    if not isinstance(wanted, Mapping):
        raise FaultError("a fault is a JSON object")
    match = wanted.get("match", {})
    if not isinstance(match, Mapping):
        raise FaultError(f"match is an object with {', '.join(_MATCHED)}")
    _refuse_unknown(wanted, match)
    code = int(_number(wanted, "code", lowest=LOWEST_CODE, highest=HIGHEST_CODE, whole=True) or 0)
    delay = _number(wanted, "delay", highest=LONGEST_SECONDS)
    after = _number(wanted, "retryAfter", highest=LONGEST_SECONDS)
    count = _number(wanted, "count", lowest=1, whole=True)
    fault = Fault(
        verbs=_parse_verbs(match.get("verb")),
        patterns={
            name: _compile(name, _text(match, name, f"match.{name}"))
            for name in match
            if name != "verb"
        },
        code=code,
        reason=_text(wanted, "reason", "reason"),
        message=_text(wanted, "message", "message"),
        retry_after=None if after is None else timedelta(seconds=after),
        delay=timedelta(seconds=delay or 0),
        drop=_flag(wanted, "drop"),
        hang=_flag(wanted, "hang"),
        left=None if count is None else int(count),
    )
    _refuse_senseless(fault)
    return fault


def _refuse_unknown(wanted: JsonObject, match: JsonObject) -> None:
    unknown = [name for name in sorted(wanted) if name not in _KNOWN]
    unknown += [f"match.{name}" for name in sorted(match) if name not in _MATCHED]
    if unknown:
        known = f"{', '.join(_KNOWN)}; in match: {', '.join(_MATCHED)}"
        raise FaultError(f"unknown fields: {', '.join(unknown)}. Known are: {known}")


def _refuse_senseless(fault: Fault) -> None:
    ends = sum(map(bool, (fault.code, fault.drop, fault.hang)))
    if not ends and not fault.delay:
        raise FaultError("this does nothing: give code, delay, drop or hang")
    if ends > 1:
        raise FaultError("code, drop and hang exclude each other: a request ends in one way")
    if not fault.code and (fault.reason or fault.message or fault.retry_after is not None):
        raise FaultError("reason, message and retryAfter are parts of an answer: give a code too")


def _number(
    wanted: JsonObject,
    name: str,
    *,
    lowest: int = 0,
    highest: int | None = None,
    whole: bool = False,
) -> float | None:
    value = wanted.get(name)
    if value is None:
        return None
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and not (whole and isinstance(value, float))
        and lowest <= value <= (value if highest is None else highest)
    )
    if not fits or not isinstance(value, int | float):
        kind = "a whole number" if whole else "a number of seconds"
        range_ = f"from {lowest}" if highest is None else f"from {lowest} to {highest}"
        raise FaultError(f"{name} is {kind} {range_}")
    return value


def _text(wanted: JsonObject, name: str, shown: str) -> str:
    value = wanted.get(name, "")
    if not isinstance(value, str):
        raise FaultError(f"{shown} is a text")
    return value


def _flag(wanted: JsonObject, name: str) -> bool:
    value = wanted.get(name, False)
    if not isinstance(value, bool):
        raise FaultError(f"{name} is true or false")
    return value


def _parse_verbs(value: Json) -> frozenset[str]:
    words = value.split(",") if isinstance(value, str) else value
    if words is None:
        return frozenset()
    if not isinstance(words, list):
        raise FaultError("match.verb is a verb or a list of verbs")
    verbs = frozenset(str(word).strip().lower() for word in words)
    unknown = sorted(verbs - {*_VERBS, *_PATH_VERBS})
    if unknown:
        raise FaultError(f"match.verb: {', '.join(unknown)}: known verbs are {', '.join(_VERBS)}")
    return verbs


def _compile(name: str, pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FaultError(f"match.{name} is no regular expression: {error}") from error
