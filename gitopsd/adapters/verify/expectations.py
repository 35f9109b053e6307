"""An answer held against what the check expects. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

import orjson

from gitopsd.adapters.json_path import MISSING, find_value, parse_json_path
from gitopsd.cluster_ports import (
    HttpAnswer,
)
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.manifests import Json
from gitopsd.kube.redaction import redact_text

_SHOWN_BYTES = 1000
_SHOWN_CHARACTERS = 100
_SHOWN_HEADERS = (
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "location",
    "retry-after",
    "server",
    "x-served-by",
)


def find_mismatch(check: HttpCheck, answer: HttpAnswer, latency: timedelta) -> str:
    """Say what is not as expected, in one clause; empty when all is.

    Args:
        check: What is expected.
        answer: What came back.
        latency: Duration of the whole attempt, body included.
    """
    if answer.status != check.status:
        target = answer.headers.get("location", "")
        moved = f", which sends on to {redact_text(target[:_SHOWN_CHARACTERS])}" if target else ""
        return f"answered {answer.status}{moved}; expected {check.status}"
    if answer.truncated:
        return f"the body is longer than {check.max_body_bytes} bytes"
    return _find_body_mismatch(check, answer) or _find_lateness(check, latency)


def _find_body_mismatch(check: HttpCheck, answer: HttpAnswer) -> str:
    encoding = answer.headers.get("content-encoding", "identity").lower()
    if (check.body_contains or check.json_path) and encoding != "identity":
        return f"the body is encoded ({encoding[:20]!r}) although that was not asked for"
    if check.body_contains and check.body_contains.encode() not in answer.body:
        return f"the body does not hold {check.body_contains[:_SHOWN_CHARACTERS]!r}"
    if not check.json_path:
        return ""
    try:
        document = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return "the body is not JSON"
    return next(filter(None, (_differs(document, *item) for item in check.json_path.items())), "")


def _differs(document: Json, path: str, expected: Json) -> str:
    found = find_value(document, parse_json_path(path))
    if found is MISSING:
        return f"the body has no {path}"
    # True equals 1 in Python; in JSON it does not.
    if found == expected and isinstance(found, bool) == isinstance(expected, bool):
        return ""
    return f"{path} is {_show(found)}, expected {_show(expected)}"


def _show(value: object) -> str:
    return redact_text(orjson.dumps(value).decode()[:_SHOWN_CHARACTERS])


def _find_lateness(check: HttpCheck, latency: timedelta) -> str:
    if check.max_latency is None or latency <= check.max_latency:
        return ""
    allowed = check.max_latency.total_seconds()
    return f"took {latency.total_seconds():.3g} s, allowed are {allowed:g} s"


def describe_answer(answer: HttpAnswer) -> Mapping[str, Json]:
    """Keep of an answer what a person wants to see, redacted."""
    shown = answer.body[:_SHOWN_BYTES].decode("utf-8", "replace")
    return {
        "status": answer.status,
        "headers": {
            name: redact_text(answer.headers[name][:_SHOWN_BYTES])
            for name in _SHOWN_HEADERS
            if name in answer.headers
        },
        "body": redact_text(shown).replace("\x00", "?"),
        "bytes": len(answer.body),
        "truncated": answer.truncated,
    }
