"""Small objects for tests of clusters."""

from __future__ import annotations

from typing import Any

from gitopsd.domain.manifests import JsonObject, ObjectKey, ObjectRef


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    """Make a ConfigMap."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def widget_definition(group: str) -> dict[str, Any]:
    """Make the definition of a namespaced custom kind ``Widget`` without a schema of its own."""
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {
                "kind": "Widget",
                "listKind": "WidgetList",
                "plural": "widgets",
                "singular": "widget",
            },
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def widget(name: str, namespace: str, group: str, **spec: str) -> dict[str, Any]:
    """Make a Widget."""
    return {
        "apiVersion": f"{group}/v1",
        "kind": "Widget",
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


def ref_of(obj: JsonObject) -> ObjectRef:
    """Say where an object is."""
    group, _, version = str(obj["apiVersion"]).rpartition("/")
    metadata: dict[str, Any] = dict(obj["metadata"])  # type: ignore[arg-type] # JSON
    key = ObjectKey(group, str(obj["kind"]), metadata.get("namespace", ""), metadata["name"])
    return ObjectRef(key, version)
