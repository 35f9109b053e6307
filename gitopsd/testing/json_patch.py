"""JSON patch (RFC 6902): the operations that gitopsd sends."""

from __future__ import annotations

import copy
from collections.abc import Sequence

from gitopsd.domain.manifests import Json, JsonObject


class PatchError(Exception):
    """An operation cannot be done; nothing is."""


def run_json_patch(obj: JsonObject, operations: Sequence[JsonObject]) -> dict[str, Json]:
    """Do ``test``, ``add``, ``replace`` and ``remove`` on a copy.

    Raises:
        PatchError: A test failed, a path does not exist, or the operation is another one.
    """
    patched = copy.deepcopy(dict(obj))
    for operation in operations:
        _run(patched, operation)
    return patched


def _run(obj: dict[str, Json], operation: JsonObject) -> None:
    kind, pointer = str(operation.get("op")), str(operation.get("path"))
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    parent: Json = obj
    for part in parts[:-1]:
        parent = parent.get(part) if isinstance(parent, dict) else None
    if not parts or not isinstance(parent, dict):
        raise PatchError(f"{kind} operation does not apply: doc is missing path: {pointer}")
    name = parts[-1]
    if kind == "add":
        parent[name] = copy.deepcopy(operation.get("value"))
    elif name not in parent:
        raise PatchError(f"{kind} operation does not apply: doc is missing key: {pointer}")
    elif kind == "test":
        if parent[name] != operation.get("value"):
            raise PatchError(f"testing value {pointer} failed")
    elif kind == "replace":
        parent[name] = copy.deepcopy(operation.get("value"))
    elif kind == "remove":
        del parent[name]
    else:
        raise PatchError(f"Unexpected kind: {kind}")
