"""The API server's refusals, parsed and classified."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.domain.manifests import Json
from gitopsd.kube.statuses import (
    MAX_RETRY_AFTER,
    Cause,
    Status,
    StatusKind,
    classify,
    is_retryable,
    parse_status,
)
from tests.support.hostile import HOSTILE

CONFLICT = Cause("FieldManagerConflict", ".spec.replicas", 'conflict with "kubectl-edit"')


def test_a_status_is_read() -> None:
    """Reason, message, causes; the code is that of the answer."""
    body: Json = {
        "kind": "Status",
        "code": 200,
        "reason": "Conflict",
        "message": "Apply failed with 1 conflict",
        "details": {
            "causes": [
                {
                    "reason": "FieldManagerConflict",
                    "field": ".spec.replicas",
                    "message": 'conflict with "kubectl-edit"',
                },
                {},
                "odd",
            ]
        },
    }
    assert parse_status(409, body) == Status(
        409, "Conflict", "Apply failed with 1 conflict", (CONFLICT, Cause()), None
    )


@pytest.mark.parametrize("body", [None, 3, [], {}, {"message": 3, "details": "odd"}])
def test_what_is_no_status_says_nothing(body: Json) -> None:
    """A proxy's answer of another shape has a code and no words."""
    assert parse_status(502, body) == Status(502)


def test_the_groups_of_whoever_asked_are_left_out() -> None:
    """A message is cut to a clause later, and these stand before what it is about."""
    said = (
        'roles "a" is forbidden: user "system:serviceaccount:gitopsd:gitopsd" '
        '(groups=["system:serviceaccounts" "system:authenticated"]) is attempting to grant'
    )
    assert parse_status(403, {"message": said}).message == (
        'roles "a" is forbidden: user "system:serviceaccount:gitopsd:gitopsd" '
        "is attempting to grant"
    )


def test_plain_text_is_the_message() -> None:
    """Some servers, and proxies, answer without JSON."""
    assert parse_status(503, "no endpoints") == Status(503, message="no endpoints")


@pytest.mark.parametrize(
    "header, body, patience",
    [
        ("", None, None),
        ("7", None, timedelta(seconds=7)),
        ("0", None, timedelta(0)),
        ("-1", None, None),
        ("soon", None, None),
        ("", {"details": {"retryAfterSeconds": 5}}, timedelta(seconds=5)),
        ("7", {"details": {"retryAfterSeconds": 5}}, timedelta(seconds=7)),
        ("soon", {"details": {"retryAfterSeconds": 5}}, timedelta(seconds=5)),
        ("600", None, timedelta(minutes=10)),
        ("601", None, timedelta(minutes=10)),
        ("999999999", None, timedelta(minutes=10)),
    ],
)
def test_patience_is_read_and_bounded(header: str, body: Json, patience: timedelta | None) -> None:
    """The header first, then the body; never more than ten minutes."""
    assert parse_status(429, body, header).retry_after == patience
    assert timedelta(minutes=10) == MAX_RETRY_AFTER


@pytest.mark.parametrize(
    "status, kind, retryable",
    [
        (Status(400, message="bad"), StatusKind.BAD_REQUEST, False),
        (
            Status(400, message='strict decoding error: unknown field "spec.replica"'),
            StatusKind.UNKNOWN_FIELD,
            False,
        ),
        (Status(400, message='unknown field "x"'), StatusKind.UNKNOWN_FIELD, False),
        (
            Status(400, message='admission webhook "p" denied the request: no'),
            StatusKind.DENIED,
            False,
        ),
        (Status(401), StatusKind.UNAUTHORIZED, False),
        (Status(403, message="cannot patch"), StatusKind.FORBIDDEN, False),
        (
            Status(403, message='pods "x" is forbidden: exceeded quota: small'),
            StatusKind.QUOTA,
            False,
        ),
        (
            Status(403, message="ValidatingAdmissionPolicy 'p' denied request: no"),
            StatusKind.DENIED,
            False,
        ),
        (
            Status(403, message='is forbidden: violates PodSecurity "restricted:latest"'),
            StatusKind.DENIED,
            False,
        ),
        (
            Status(403, message="x", causes=(Cause(), Cause("NamespaceTerminating"))),
            StatusKind.NAMESPACE_TERMINATING,
            True,
        ),
        (
            Status(403, causes=(Cause("NamespaceTerminating"),)),
            StatusKind.NAMESPACE_TERMINATING,
            True,
        ),
        (Status(403, causes=(Cause(),)), StatusKind.FORBIDDEN, False),
        (
            Status(403, message="in namespace shop because it is being terminated"),
            StatusKind.NAMESPACE_TERMINATING,
            True,
        ),
        (Status(404, message='pods "x" not found'), StatusKind.NOT_FOUND, False),
        (
            Status(404, message='namespaces "shop" not found'),
            StatusKind.NAMESPACE_MISSING,
            False,
        ),
        (
            Status(404, message="the server could not find the requested resource"),
            StatusKind.NO_SUCH_KIND,
            False,
        ),
        (Status(405), StatusKind.REFUSED, False),
        (Status(408), StatusKind.UNAVAILABLE, True),
        (Status(409, "Conflict"), StatusKind.CONFLICT, False),
        (Status(409, "Conflict", causes=(Cause(), CONFLICT)), StatusKind.FIELD_CONFLICT, False),
        (Status(409, causes=(CONFLICT,)), StatusKind.FIELD_CONFLICT, False),
        (Status(409, causes=(Cause(),)), StatusKind.CONFLICT, False),
        (Status(409, "AlreadyExists"), StatusKind.ALREADY_EXISTS, False),
        (Status(410, "Expired"), StatusKind.EXPIRED, False),
        (Status(413), StatusKind.TOO_LARGE, False),
        (Status(422, "Invalid", "spec.x: Invalid value"), StatusKind.INVALID, False),
        (Status(422, "Invalid", "policy denied request"), StatusKind.DENIED, False),
        (Status(429), StatusKind.THROTTLED, True),
        (Status(499), StatusKind.REFUSED, False),
        (Status(500, message="etcd"), StatusKind.UNAVAILABLE, True),
        (
            Status(500, message='Internal error occurred: failed calling webhook "p": timeout'),
            StatusKind.WEBHOOK_UNREACHABLE,
            True,
        ),
        (
            Status(500, message="typed patch object: .x: field not declared in schema"),
            StatusKind.UNKNOWN_FIELD,
            False,
        ),
        (
            Status(500, message="typed live object: .x: field not declared in schema"),
            StatusKind.STALE_FIELDS,
            False,
        ),
        (
            Status(500, message="manager for existing fields: .x: field not declared in schema"),
            StatusKind.STALE_FIELDS,
            False,
        ),
        (Status(502), StatusKind.UNAVAILABLE, True),
        (Status(503), StatusKind.UNAVAILABLE, True),
        (Status(504), StatusKind.UNAVAILABLE, True),
        (Status(302), StatusKind.REFUSED, False),
    ],
)  # fmt: skip
def test_refusals_are_classified(status: Status, kind: StatusKind, *, retryable: bool) -> None:
    """Each kind that is handled differently, and whether asking again can help."""
    assert classify(status) is kind
    assert is_retryable(status) is retryable


@given(st.integers(0, 999), HOSTILE, st.text(max_size=12))
def test_no_answer_makes_the_parser_raise(code: int, body: Json, header: str) -> None:
    """Whatever a server answers, it is of some kind."""
    assert classify(parse_status(code, body, header)) in StatusKind


def test_the_kinds_have_stable_names() -> None:
    """They are stored, shown and counted."""
    assert [kind.value for kind in StatusKind] == [
        "Unauthorized",
        "Forbidden",
        "Denied",
        "QuotaExceeded",
        "NamespaceTerminating",
        "NamespaceMissing",
        "NoSuchKind",
        "NotFound",
        "FieldConflict",
        "AlreadyExists",
        "Conflict",
        "Expired",
        "Invalid",
        "UnknownField",
        "StaleManagedFields",
        "TooLarge",
        "BadRequest",
        "Throttled",
        "WebhookUnreachable",
        "Unavailable",
        "Refused",
    ]
