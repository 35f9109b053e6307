"""What must be there before recorded writes are played."""

from __future__ import annotations

from datetime import timedelta

from tests.support.processes import wait_until
from tests.support.recorded_writes import Say

_RBAC = "/apis/rbac.authorization.k8s.io/v1"
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
PLAIN = "application/json"
WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.recorded.example.com"},
    "spec": {
        "group": "recorded.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["size"],
                                "properties": {
                                    "size": {
                                        "type": "integer",
                                        "format": "int32",
                                        "minimum": 1,
                                        "maximum": 10,
                                    },
                                    "name": {
                                        "type": "string",
                                        "pattern": "^[a-z]+$",
                                        "maxLength": 5,
                                        "minLength": 2,
                                    },
                                    "color": {
                                        "type": "string",
                                        "enum": ["red", "blue"],
                                        "default": "red",
                                    },
                                    "items": {
                                        "type": "array",
                                        "maxItems": 3,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["id"],
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "id": {"type": "string"},
                                                "v": {"type": "number", "default": 3},
                                            },
                                        },
                                    },
                                    "tags": {
                                        "type": "array",
                                        "x-kubernetes-list-type": "set",
                                        "items": {"type": "string"},
                                    },
                                    "free": {
                                        "type": "object",
                                        "x-kubernetes-preserve-unknown-fields": True,
                                        "properties": {"known": {"type": "boolean"}},
                                    },
                                    "share": {"x-kubernetes-int-or-string": True},
                                    "map": {
                                        "type": "object",
                                        "additionalProperties": {"type": "integer"},
                                    },
                                    "maybe": {"type": "string", "nullable": True},
                                    "whole": {
                                        "type": "object",
                                        "x-kubernetes-map-type": "atomic",
                                        "properties": {
                                            "a": {"type": "string"},
                                            "b": {"type": "string"},
                                        },
                                    },
                                    "nested": {
                                        "type": "object",
                                        "default": {},
                                        "properties": {"d": {"type": "boolean", "default": True}},
                                    },
                                    "when": {"type": "string", "format": "date-time"},
                                    "embedded": {
                                        "type": "object",
                                        "x-kubernetes-embedded-resource": True,
                                        "x-kubernetes-preserve-unknown-fields": True,
                                    },
                                    "one": {
                                        "type": "object",
                                        "properties": {
                                            "a": {"type": "string"},
                                            "b": {"type": "string"},
                                        },
                                        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
                                    },
                                    "list": {"type": "array", "items": {"type": "string"}},
                                    "above": {
                                        "type": "number",
                                        "exclusiveMinimum": True,
                                        "minimum": 0,
                                    },
                                },
                            },
                            "status": {
                                "type": "object",
                                "properties": {
                                    "ready": {"type": "boolean"},
                                    "phase": {"type": "string", "enum": ["Here", "Gone"]},
                                    "count": {"type": "integer", "minimum": 0},
                                    "one": {
                                        "type": "object",
                                        "oneOf": [
                                            {"required": ["a"]},
                                            {"required": ["b"]},
                                        ],
                                        "properties": {
                                            "a": {"type": "string"},
                                            "b": {"type": "string"},
                                        },
                                    },
                                    "rows": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["of"],
                                            "properties": {"of": {"type": "string"}},
                                        },
                                    },
                                },
                            },
                        },
                    }
                },
            }
        ],
    },
}
"""A custom kind with a bit of everything."""


def prepare(say: Say, namespace: str) -> None:
    """Make the namespace, what its objects refer to, and the custom kind.

    Safe to repeat: what is there stays.
    """
    say("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}}, PLAIN)
    place = f"/api/v1/namespaces/{namespace}"
    say("POST", f"{place}/serviceaccounts", {"metadata": {"name": "default"}}, PLAIN)
    say("POST", f"{_RBAC}/namespaces/{namespace}/roles", {"metadata": {"name": "r"}}, PLAIN)
    say("POST", f"{_RBAC}/clusterroles", {"metadata": {"name": "r"}}, PLAIN)
    say("POST", _DEFINITIONS, WIDGETS, PLAIN)
    wait_until(
        lambda: (
            say(
                "GET", f"/apis/recorded.example.com/v1/namespaces/{namespace}/widgets", None, PLAIN
            ).status
            == 200
        ),
        what="the custom kind to be served",
        within=timedelta(seconds=20),
    )
