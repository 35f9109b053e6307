"""What gitopsd adds to rendered objects: its labels, and the digests its images are pinned to.

Theory: marking happens after kustomize, on values, and touches nothing else. Labels go to
``metadata.labels`` alone: in pod templates they would restart every pod when they change, in
selectors they cannot change at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeVar

from gitopsd.errors import PermanentError
from gitopsd.kube.images import parse_image, pin
from gitopsd.kube.names import MANAGED_BY, MANAGED_BY_LABEL

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Digest, Json, JsonObject

T = TypeVar("T")

_CONTAINER_LISTS = frozenset({"initContainers", "containers", "ephemeralContainers"})
_MAX_DEPTH = 64


def add_labels(obj: JsonObject, labels: Mapping[str, str]) -> JsonObject:
    """Copy an object with labels; ``app.kubernetes.io/managed-by`` only where it has none.

    Args:
        obj: A rendered object.
        labels: Labels to set, whatever the object says itself.
    """
    metadata = obj.get("metadata")
    held = metadata if isinstance(metadata, Mapping) else {}
    own = held.get("labels")
    mine = own if isinstance(own, Mapping) else {}
    return {**obj, "metadata": {**held, "labels": {MANAGED_BY_LABEL: MANAGED_BY, **mine, **labels}}}


def find_pins(references: tuple[str, ...], known: Mapping[str, T]) -> dict[str, T]:
    """Find what is known of each image reference: its digest, or its tag.

    Args:
        references: References as the manifests write them.
        known: Values by reference, by name as written (``nginx``), or by name in full
            (``docker.io/library/nginx``); the first of these that is there counts.

    Returns:
        Reference -> value, without those that have none and those that are no image references.
    """
    found: dict[str, T] = {}
    for reference in references:
        for name in _names_of(reference):
            if name in known:
                found[reference] = known[name]
                break
    return found


def _names_of(reference: str) -> tuple[str, ...]:
    try:
        parsed = parse_image(reference)
    except PermanentError:
        return ()
    return (reference, parsed.written, parsed.name)


def pin_images(
    obj: JsonObject, pins: Mapping[str, Digest], tags: Mapping[str, str] | None = None
) -> JsonObject:
    """Copy an object with its images pinned, wherever it holds a pod spec.

    Args:
        obj: A rendered object.
        pins: Reference as written -> digest, as `find_pins` answers.
        tags: Reference as written -> tag to write beside its digest, where it is another than the
            one in Git.

    Raises:
        PermanentError: ``InvalidImage``, when a digest is none.
    """
    if not pins:
        return obj
    shown = tags or {}
    pinned = {
        reference: pin(reference, digest, shown.get(reference, ""))
        for reference, digest in pins.items()
    }
    return {key: _pin_value(value, key, pinned, 0) for key, value in obj.items()}


def _pin_value(value: Json, key: str, pinned: Mapping[str, str], depth: int) -> Json:
    if depth > _MAX_DEPTH:
        return value
    if isinstance(value, Mapping):
        return {name: _pin_value(inner, name, pinned, depth + 1) for name, inner in value.items()}
    if not isinstance(value, list | tuple):
        return value
    items = [_pin_value(inner, "", pinned, depth + 1) for inner in value]
    if key in _CONTAINER_LISTS:
        return [_pin_field(item, "image", pinned) for item in items]
    if key == "volumes":
        return [_pin_volume(item, pinned) for item in items]
    return items


def _pin_volume(volume: Json, pinned: Mapping[str, str]) -> Json:
    if not isinstance(volume, Mapping) or "image" not in volume:
        return volume
    return {**volume, "image": _pin_field(volume["image"], "reference", pinned)}


def _pin_field(holder: Json, field: str, pinned: Mapping[str, str]) -> Json:
    if not isinstance(holder, Mapping):
        return holder
    written = holder.get(field)
    if not isinstance(written, str) or written not in pinned:
        return holder
    return {**holder, field: pinned[written]}
