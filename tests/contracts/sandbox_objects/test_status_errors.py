"""How refusals are worded: as apimachinery's errors are, with values as Go prints them."""

from __future__ import annotations

from typing import Any

import pytest

from gitopsd.sandbox.objects import status_errors as refusals
from gitopsd.sandbox.objects.go_text import go_syntax, go_text, go_type
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.status_errors import Cause, StatusError

SCHEMAS = Schemas.load()
DEPLOYMENTS, PODS = (
    next(found for found in SCHEMAS.resources() if found.plural == plural)
    for plural in ("deployments", "pods")
)
ABOUT_WEB = {"name": "web", "group": "apps", "kind": "deployments"}
OLD = "too old resource version: 1 (7)"


@pytest.mark.parametrize(
    "error,code,reason,message,details",
    [
        pytest.param(
            refusals.not_found(DEPLOYMENTS, "web"),
            404,
            "NotFound",
            'deployments.apps "web" not found',
            ABOUT_WEB,
            id="not-found",
        ),
        pytest.param(
            refusals.path_not_found(),
            404,
            "NotFound",
            "the server could not find the requested resource",
            {},
            id="path",
        ),
        pytest.param(
            refusals.already_exists(PODS, "a"),
            409,
            "AlreadyExists",
            'pods "a" already exists',
            {"name": "a", "kind": "pods"},
            id="exists",
        ),
        pytest.param(
            refusals.already_exists(PODS, "a", deleted=True),
            409,
            "AlreadyExists",
            'object is being deleted: pods "a" already exists',
            {"name": "a", "kind": "pods"},
            id="exists-still",
        ),
        pytest.param(
            refusals.conflict(DEPLOYMENTS, "web"),
            409,
            "Conflict",
            'Operation cannot be fulfilled on deployments.apps "web": the object has been '
            "modified; please apply your changes to the latest version and try again",
            ABOUT_WEB,
            id="stale",
        ),
        pytest.param(
            refusals.forbidden(PODS, "", 'User "x" cannot list resource "pods"'),
            403,
            "Forbidden",
            'pods is forbidden: User "x" cannot list resource "pods"',
            {"kind": "pods"},
            id="forbidden",
        ),
        pytest.param(
            refusals.unauthorized(), 401, "Unauthorized", "Unauthorized", None, id="nobody"
        ),
        pytest.param(refusals.expired(OLD), 410, "Expired", OLD, None, id="expired"),
        pytest.param(refusals.gone(OLD), 410, "Gone", OLD, None, id="gone"),
        pytest.param(
            refusals.method_not_allowed(DEPLOYMENTS),
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
            {"group": "apps", "kind": "deployments"},
            id="method",
        ),
        pytest.param(
            refusals.unsupported_media_type(("application/json", "application/yaml")),
            415,
            "UnsupportedMediaType",
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json, application/yaml",
            None,
            id="media-type",
        ),
        pytest.param(
            refusals.not_acceptable(("application/json",)),
            406,
            "NotAcceptable",
            "only the following media types are accepted: application/json",
            None,
            id="not-acceptable",
        ),
        pytest.param(
            refusals.not_implemented("exec"),
            501,
            "NotImplemented",
            "the sandbox does not do this: exec",
            None,
            id="not-implemented",
        ),
        pytest.param(
            refusals.too_many_requests("later", 3),
            429,
            "TooManyRequests",
            "later",
            {"retryAfterSeconds": 3},
            id="too-many",
        ),
    ],
)
def test_refusals(
    error: StatusError, code: int, reason: str, message: str, details: dict[str, Any] | None
) -> None:
    """Each is a Status with its code, reason, message and details."""
    expected: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": reason,
        "code": code,
    }
    if details is not None:
        expected["details"] = details
    assert error.body == expected


def test_a_fault_without_a_reason_names_none() -> None:
    """A patch that cannot be read is such a one."""
    assert "reason" not in refusals.internal("unable to read it").body


def test_causes_are_listed_in_brackets_and_once() -> None:
    """One cause stands for itself; of several the message names each once, the details all."""
    wrong = Cause("FieldValueInvalid", "Invalid value: 0: no", "spec.a")
    other = Cause("FieldValueRequired", "Required value", "spec.b")
    one = refusals.invalid("apps", "Deployment", "web", [wrong]).body
    many = refusals.invalid("", "Pod", "a", [wrong, other, wrong]).body

    assert one["message"] == 'Deployment.apps "web" is invalid: spec.a: Invalid value: 0: no'
    assert many["message"] == (
        'Pod "a" is invalid: [spec.a: Invalid value: 0: no, spec.b: Required value]'
    )
    assert many["details"] == {
        "name": "a",
        "kind": "Pod",
        "causes": [wrong.as_json(), other.as_json(), wrong.as_json()],
    }


def test_success_says_what_is_known() -> None:
    """Deletions are answered so."""
    plain = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    assert refusals.success() == plain
    assert refusals.success("done", {"uid": "1"}) == {
        **plain,
        "message": "done",
        "details": {"uid": "1"},
    }


@pytest.mark.parametrize(
    "value,kind,text,syntax",
    [
        (None, "<nil>", "<nil>", "interface {}(nil)"),
        (True, "bool", "true", "true"),
        (3, "int64", "3", "3"),
        (1.5, "float64", "1.5", "1.5"),
        ('a"b', "string", 'a"b', '"a\\"b"'),
        (["a", 1], "[]interface {}", "[a 1]", '[]interface {}{"a", 1}'),
        (
            {"b": "x", "a": None},
            "map[string]interface {}",
            "map[a:<nil> b:x]",
            'map[string]interface {}{"a":interface {}(nil), "b":"x"}',
        ),
    ],
)
def test_values_as_go_prints_them(value: Any, kind: str, text: str, syntax: str) -> None:  # noqa: ANN401 - any JSON
    """Their type, as text, and as a program would have them."""
    assert (go_type(value), go_text(value), go_syntax(value)) == (kind, text, syntax)
