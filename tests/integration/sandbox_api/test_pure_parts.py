"""Parts of the API server that only compute: paths, spans, columns, versions, faults, bodies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.sandbox.api.paths import Asked, parse_request
from gitopsd.sandbox.api.printing.json_path import find_path
from gitopsd.sandbox.api.printing.spans import say_since, say_span
from gitopsd.sandbox.api.protobuf import ProtobufError, decode_protobuf
from gitopsd.sandbox.api.served import version_rank
from gitopsd.sandbox.running import parse_registries

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RBAC = "rbac.authorization.k8s.io"


@pytest.mark.parametrize(
    "seconds, said",
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (600, "10m"),
        (3 * 3600 - 1, "179m"),
        (3 * 3600, "3h"),
        (3 * 3600 + 61, "3h1m"),
        (8 * 3600 + 61, "8h"),
        (48 * 3600, "2d"),
        (49 * 3600, "2d1h"),
        (8 * 86400 + 3600, "8d"),
        (730 * 86400, "2y"),
        (731 * 86400, "2y1d"),
        (9 * 365 * 86400, "9y"),
    ],
)
def test_a_span_is_said_in_two_units_at_most(seconds: int, said: str) -> None:
    """The longer it is, the fewer."""
    assert say_span(timedelta(seconds=seconds)) == said


def test_no_timestamp_is_unknown() -> None:
    """So kubectl shows it."""
    assert say_since("", NOW) == "<unknown>"
    assert say_since("2025-12-31T23:59:00Z", NOW) == "60s"


def test_api_versions_are_ranked_as_kubernetes_prefers_them() -> None:
    """Stable before beta before alpha, higher before lower, other names last."""
    ranked = ["v10", "v2", "v1", "v1beta10", "v1beta2", "v1alpha1", "foo"]

    assert sorted(sorted(ranked), key=version_rank) == ranked


@pytest.mark.parametrize(
    "method, path, asked",
    [
        ("GET", "/api/v1/pods", Asked("list", "", "", "v1", "", "pods")),
        ("GET", "/api/v1/namespaces/a", Asked("get", "", "", "v1", "a", "namespaces", "a")),
        (
            "PUT",
            "/api/v1/namespaces/a/finalize",
            Asked("update", "", "", "v1", "a", "namespaces", "a", "finalize"),
        ),
        (
            "DELETE",
            "/apis/apps/v1/namespaces/a/deployments",
            Asked("deletecollection", "", "apps", "v1", "a", "deployments"),
        ),
        (
            "GET",
            f"/apis/{RBAC}/v1/clusterroles/a%3Ab",
            Asked("get", "", RBAC, "v1", "", "clusterroles", "a:b"),
        ),
        (
            "POST",
            "/api/v1/namespaces/a/services/web:80/proxy/x%2Fy/z",
            Asked("create", "", "", "v1", "a", "services", "web:80", "proxy", "x%2Fy/z"),
        ),
        ("GET", "/apis/apps/v1", Asked("get", "")),
    ],
)
def test_a_path_says_what_is_asked_for(method: str, path: str, asked: Asked) -> None:
    """Verb, group, version, namespace, resource, name, part, and the rest for a proxy."""
    assert parse_request(method, path, {}) == replace(asked, path=path)


def test_a_watch_is_a_list_that_says_so() -> None:
    """By the query alone."""
    assert parse_request("GET", "/api/v1/pods", {"watch": "true"}).verb == "watch"
    assert parse_request("GET", "/api/v1/pods", {"watch": "false"}).verb == "list"


@pytest.mark.parametrize(
    "path, found",
    [
        (".spec.size", (3,)),
        (".spec.items[0].name", ("a",)),
        (".spec.items[-1].name", ("b",)),
        (".spec.items[*].name", ("a", "b")),
        (".spec['odd.key']", (True,)),
        (r".spec.odd\.key", (True,)),
        ('.spec.items[?(@.name=="b")].value', (2,)),
        (".spec.none", ()),
        (".spec.items[7]", ()),
        ("nonsense[", ()),
    ],
)
def test_the_columns_of_custom_kinds_are_found(path: str, found: tuple[object, ...]) -> None:
    """By the simple JSONPath of definitions."""
    items: list[Json] = [{"name": "a", "value": 1}, {"name": "b", "value": 2}]

    assert find_path({"spec": {"size": 3, "items": items, "odd.key": True}}, path) == found


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00",
        b"k8s\x00\x0a",
        b"k8s\x00\x0a\x05\x0a\x02v1\x12\x00",
        b"k8s\x00\x0a\x0b\x0a\x02v1\x12\x05Thing",
        b"k8s\x00" + b"\xff" * 40,
    ],
)
def test_a_body_that_is_no_protobuf_is_refused(body: bytes) -> None:
    """Whatever comes, it ends in a sentence."""
    with pytest.raises(ProtobufError):
        decode_protobuf(body)


def test_registries_are_by_host_or_for_all() -> None:
    """Loopback is asked by plain HTTP, others by HTTPS, and a URL is taken as it is."""
    found = parse_registries(["127.0.0.1:5000", "a.test=b.test:5000", "c.test=http://d.test/"])

    assert found == {
        "*": "http://127.0.0.1:5000",
        "a.test": "https://b.test:5000",
        "c.test": "http://d.test",
    }
