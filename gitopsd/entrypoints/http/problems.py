"""Errors as RFC 9457 problem documents: what happened, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from aiohttp import web

from gitopsd.domain.manifests import Json

CONTENT_TYPE = "application/problem+json"
TYPES = "https://gitopsd.io/problems/"

_REMEDIES = {
    400: "Correct the request; openapi.json describes every route.",
    401: "Send a valid token: Authorization: Bearer TOKEN. Make one with: gitopsd token create.",
    403: "Ask an admin for a role or group that allows it, in people.yaml or with another token.",
    404: "Check the name; lists show what there is.",
    405: "Use a method named by the Allow header.",
    408: "Send the whole request sooner.",
    409: "Look at the present state, then decide again.",
    413: "Send a smaller body.",
    415: "Send JSON: Content-Type: application/json.",
    422: "Correct the fields that are named.",
    429: "Wait as long as Retry-After says.",
    500: "This is a bug of gitopsd; it was reported. The log has more.",
    503: "Try again in a moment; /health says what is wrong.",
}


class ProblemError(Exception):
    """Ends a request with a problem document.

    Args:
        status: HTTP status.
        detail: What is wrong with this request, in one sentence without secrets.
        remedy: What to do; the usual advice for the status when left out.
        headers: Further headers.
        extra: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        remedy: str = "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Json] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.remedy = remedy or _REMEDIES.get(status, "")
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})


def describe_problem(error: ProblemError, instance: str) -> dict[str, Json]:
    """Write the document."""
    title = HTTPStatus(error.status).phrase
    return {
        "type": TYPES + title.lower().replace(" ", "-"),
        "title": title,
        "status": error.status,
        "detail": error.detail,
        "instance": instance,
        "remedy": error.remedy,
        **error.extra,
    }


def answer_problem(error: ProblemError, instance: str) -> web.Response:
    """Make the response."""
    return web.Response(
        status=error.status,
        body=json.dumps(describe_problem(error, instance)).encode(),
        headers={"Content-Type": CONTENT_TYPE, **error.headers},
    )
