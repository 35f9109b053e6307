"""What one field manager applied, read from live objects: Kubernetes' own record of it.

The format is that of ``metadata.managedFields`` (structured-merge-diff's FieldsV1): ``f:NAME`` a
field, ``k:{...}`` the item of a list with those keys, ``v:VALUE`` a value of a set, ``.`` the
thing itself. An empty entry owns all that is below it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

_OURS = "gitopsd"


def applied_by(item: dict[str, Any], manager: str = _OURS) -> dict[str, Any] | None:
    """Return a live object with nothing but the fields that a manager applied.

    Args:
        item: A live object with its ``managedFields``.
        manager: Whose fields.

    Returns:
        What would have to be applied to own the same; None when it applied nothing.
    """
    for entry in item["metadata"].get("managedFields", []):
        if (entry["manager"], entry["operation"]) == (manager, "Apply"):
            if entry.get("subresource"):
                continue
            owned: dict[str, Any] = _owned(entry["fieldsV1"], item)
            metadata = owned.setdefault("metadata", {})
            metadata["name"] = item["metadata"]["name"]
            if "namespace" in item["metadata"]:
                metadata["namespace"] = item["metadata"]["namespace"]
            return {"apiVersion": item["apiVersion"], "kind": item["kind"], **owned}
    return None


def changed_at(item: dict[str, Any], manager: str = _OURS) -> str:
    """When a manager last changed a live object; empty when it never did."""
    entries = item["metadata"].get("managedFields", [])
    return str(next((one["time"] for one in entries if one["manager"] == manager), ""))


def _owned(fields: dict[str, Any], value: Json) -> Any:  # noqa: ANN401 - as deep as objects are
    inner = {name: below for name, below in fields.items() if name != "."}
    if not inner:
        return {} if "." in fields and isinstance(value, dict) else value
    if isinstance(value, dict):
        return {
            name[2:]: _owned(below, value[name[2:]])
            for name, below in inner.items()
            if name[2:] in value
        }
    if isinstance(value, list):
        return [_owned_item(below, item) for item in value if (below := _entry(inner, item))]
    return value


def _entry(fields: dict[str, Any], item: Json) -> tuple[str, Any] | None:
    """The entry that speaks of an item of a list."""
    for name, below in fields.items():
        wanted = json.loads(name[2:])
        if name.startswith("v:") and item == wanted:
            return name, below
        # A key that was left out has its default in the object and in the record.
        found = item if isinstance(item, dict) else {}
        if name.startswith("k:") and all(found.get(key) == part for key, part in wanted.items()):
            return name, below
    return None


def _owned_item(entry: tuple[str, Any], item: Json) -> Any:  # noqa: ANN401 - as above
    name, below = entry
    if name.startswith("v:"):
        return item
    return {**json.loads(name[2:]), **_owned(below, item)}
