"""JSON merge patch (RFC 7386) and JSON patch (RFC 6902) as the API server applies them.

Both return a new value and leave the old one as it is. Wording of refusals:
gopkg.in/evanphx/json-patch.v4.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.typed_fields import same

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
MOST_OPERATIONS = 10000

_INDEX = re.compile(r"[+-]?[0-9]+")


class PatchError(ValueError):
    """A patch is none, or does not fit the object; the text is the server's."""


def merge_patch(value: Json, patch: Json) -> Json:
    """Apply a JSON merge patch: null removes, objects merge, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(value) if isinstance(value, Mapping) else {}
    for name, item in patch.items():
        if item is None:
            merged.pop(name, None)
        elif merged.get(name) is None:
            merged[name] = _without_nulls(item)
        else:
            merged[name] = merge_patch(merged[name], item)
    return merged


def _without_nulls(value: Json) -> Json:
    """A value that nothing was there for; the server drops the nulls of objects in lists too."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def json_patch(value: JsonObject, operations: Sequence[Json]) -> Json:
    """Apply a JSON patch.

    Raises:
        PatchError: An operation does not apply.
    """
    holder: dict[str, Json] = {"": copy.deepcopy(dict(value))}
    for operation in operations:
        _run(holder, operation if isinstance(operation, Mapping) else {})
    return holder[""]


def _run(holder: dict[str, Json], operation: JsonObject) -> None:
    kind = text_at(operation, "op")
    run = {
        "add": _add,
        "remove": _remove,
        "replace": _replace,
        "move": _move,
        "copy": _copy,
        "test": _test,
    }.get(kind)
    if run is None:
        raise PatchError(f"Unexpected kind: {kind or 'unknown'}")
    run(holder, operation)


_Container = dict[str, Json] | list[Json]


def _find(holder: dict[str, Json], path: str) -> tuple[_Container, str] | None:
    """The object or list that a path's last part is in, and that part."""
    if not path.startswith("/"):
        return None
    *parts, last = (part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/"))
    found: Json = holder[""]
    for part in parts:
        if isinstance(found, dict):
            found = found.get(part)
        elif isinstance(found, list):
            index = _index(part, len(found))
            found = None if index is None else found[index]
    return (found, last) if isinstance(found, dict | list) else None


def _index(text: str, size: int) -> int | None:
    """A place in a list of that size; negative ones count from its end."""
    if not _INDEX.fullmatch(text):
        return None
    index = int(text)
    return index % size if -size <= index < size else None


def _bad_index(key: str) -> PatchError:
    if not _INDEX.fullmatch(key):
        return PatchError(f'strconv.Atoi: parsing "{key}": invalid syntax')
    return PatchError(f"Unable to access invalid index: {int(key)}: invalid index referenced")


def _get(container: _Container, key: str) -> Json:
    if isinstance(container, dict):
        return container.get(key)
    index = _index(key, len(container))
    if index is None:
        raise _bad_index(key)
    return container[index]


def _put(container: _Container, key: str, value: Json) -> None:
    if isinstance(container, dict):
        container[key] = value
        return
    if key == "-":
        container.append(value)
        return
    index = _index(key, len(container) + 1)
    if index is None:
        if not _INDEX.fullmatch(key):
            raise PatchError(
                f"value was not a proper array index: '{key}': "
                f'strconv.Atoi: parsing "{key}": invalid syntax'
            )
        raise _bad_index(key)
    container.insert(index, value)


def _drop(container: _Container, key: str) -> None:
    if isinstance(container, dict):
        if key not in container:
            raise PatchError(f"Unable to remove nonexistent key: {key}: missing value")
        del container[key]
        return
    index = _index(key, len(container))
    if index is None:
        raise _bad_index(key)
    del container[index]


def _add(holder: dict[str, Json], operation: JsonObject) -> None:
    path = text_at(operation, "path")
    found = _find(holder, path)
    if found is None:
        raise PatchError(
            f'add operation does not apply: doc is missing path: "{path}": missing value'
        )
    try:
        _put(*found, copy.deepcopy(operation.get("value")))
    except PatchError as error:
        raise PatchError(f"error in add for path: '{path}': {error}") from error


def _remove(holder: dict[str, Json], operation: JsonObject) -> None:
    path = text_at(operation, "path")
    found = _find(holder, path)
    if found is None:
        raise PatchError(
            f'remove operation does not apply: doc is missing path: "{path}": missing value'
        )
    try:
        _drop(*found)
    except PatchError as error:
        raise PatchError(f"error in remove for path: '{path}': {error}") from error


def _replace(holder: dict[str, Json], operation: JsonObject) -> None:
    path, value = text_at(operation, "path"), copy.deepcopy(operation.get("value"))
    if not path:
        holder[""] = value
        return
    found = _find(holder, path)
    if found is None:
        raise PatchError(
            f"replace operation does not apply: doc is missing path: {path}: missing value"
        )
    container, key = found
    if isinstance(container, dict):
        container[key] = value  # the server's library does not ask whether there was one
        return
    index = _index(key, len(container))
    if index is None:
        raise PatchError(
            f"replace operation does not apply: doc is missing key: {path}: missing value"
        )
    container[index] = value


def _move(holder: dict[str, Json], operation: JsonObject) -> None:
    start, path = text_at(operation, "from"), text_at(operation, "path")
    found = _find(holder, start)
    if found is None:
        raise PatchError(
            f"move operation does not apply: doc is missing from path: {start}: missing value"
        )
    try:
        value = _get(*found)
        _drop(*found)
    except PatchError as error:
        raise PatchError(f"error in move for path: '{found[1]}': {error}") from error
    target = _find(holder, path)
    if target is None:
        raise PatchError(
            f"move operation does not apply: doc is missing destination path: {path}: missing value"
        )
    try:
        _put(*target, value)
    except PatchError as error:
        raise PatchError(f"error in move for path: '{path}': {error}") from error


def _copy(holder: dict[str, Json], operation: JsonObject) -> None:
    start, path = text_at(operation, "from"), text_at(operation, "path")
    found = _find(holder, start)
    if found is None:
        raise PatchError(
            f"copy operation does not apply: doc is missing from path: {start}: missing value"
        )
    try:
        value = copy.deepcopy(_get(*found))
    except PatchError as error:
        raise PatchError(f"error in copy for from: '{start}': {error}") from error
    target = _find(holder, path)
    if target is None:
        raise PatchError(
            f"copy operation does not apply: doc is missing destination path: {path}: missing value"
        )
    try:
        _put(*target, value)
    except PatchError as error:
        raise PatchError(f"error while adding value during copy: {error}") from error


def _test(holder: dict[str, Json], operation: JsonObject) -> None:
    path, wanted = text_at(operation, "path"), operation.get("value")
    if not path:
        value: Json = holder[""]
    else:
        found = _find(holder, path)
        if found is None:
            raise PatchError(
                f"test operation does not apply: is missing path: {path}: missing value"
            )
        try:
            value = _get(*found)
        except PatchError as error:
            raise PatchError(f"error in test for path: '{path}': {error}") from error
    if not same(value, wanted):
        raise PatchError(f"testing value {path} failed: test failed")
