"""Fields that a body has twice, simulated and real: one of them would be lost without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.raw_requests import MERGE, STRATEGIC, send

if TYPE_CHECKING:
    from tests.support.cluster_site import Site

APPLY = "application/apply-patch+yaml"
TWICE = (
    b'{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},'
    b'"data":{"a":"1","a":"2","b":"\\": "}}'
)
MADE_TWICE = TWICE.replace(b'"twice"', b'"made"')
PATCHED_TWICE = b'{"data":{"a":"1","a":"2"}}'
BAD_REQUEST = 400
WRITES = [
    pytest.param("POST", "", "application/json", TWICE, id="post"),
    pytest.param("PUT", "/made", "application/json", MADE_TWICE, id="put"),
    pytest.param("PATCH", "/made", MERGE, PATCHED_TWICE, id="merge"),
    pytest.param("PATCH", "/made", STRATEGIC, PATCHED_TWICE, id="strategic"),
    pytest.param("PATCH", "/twice", APPLY, TWICE, id="apply"),
]
REFUSED = 'strict decoding error: duplicate field "data.a"'
WARNED = r'299 - "duplicate field \"data.a\""'
REFUSED_IN_YAML = 'yaml: unmarshal errors:\n  line 1: key "a" already set in map'
WARNED_IN_YAML = r'299 - "line 1: key \"a\" already set in map"'


@pytest.mark.parametrize("method, name, content_type, body", WRITES)
def test_a_field_written_twice(
    cluster: Site, method: str, name: str, content_type: str, body: bytes
) -> None:
    """Refused strictly, warned of by default, not looked for when that is asked."""
    client = cluster.cluster.client
    maps = f"/api/v1/namespaces/{cluster.namespace}/configmaps"
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}}
    send(client, "POST", maps, made)
    path = f"{maps}{name}?dryRun=All&fieldManager=me&fieldValidation="
    strict, warned, ignored = (
        send(client, method, path + how, body, Content_Type=content_type)
        for how in ("Strict", "Warn", "Ignore")
    )
    yaml = content_type == APPLY
    assert strict.status >= BAD_REQUEST
    assert strict.body["message"].endswith(REFUSED_IN_YAML if yaml else REFUSED)
    assert warned.headers["warning"] == (WARNED_IN_YAML if yaml else WARNED)
    assert warned.status == ignored.status < BAD_REQUEST
    assert "warning" not in ignored.headers
    assert ignored.body["data"]["a"] == "2"
