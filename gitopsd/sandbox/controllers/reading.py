"""Reads what every object has, and makes copies with something else in it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import Key
from gitopsd.sandbox.fields import number_at, object_at, text_at, text_map_at, texts_at
from gitopsd.sandbox.status import read_stamp

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject


def name_of(item: JsonObject) -> str:
    """``metadata.name``."""
    return text_at(item, "metadata", "name")


def namespace_of(item: JsonObject) -> str:
    """``metadata.namespace``; empty for cluster scope."""
    return text_at(item, "metadata", "namespace")


def uid_of(item: JsonObject) -> str:
    """``metadata.uid``."""
    return text_at(item, "metadata", "uid")


def key_of(item: JsonObject) -> Key:
    """Namespace and name."""
    return Key(namespace_of(item), name_of(item))


def labels_of(item: JsonObject) -> dict[str, str]:
    """``metadata.labels``."""
    return text_map_at(item, "metadata", "labels")


def annotations_of(item: JsonObject) -> dict[str, str]:
    """``metadata.annotations``."""
    return text_map_at(item, "metadata", "annotations")


def finalizers_of(item: JsonObject) -> tuple[str, ...]:
    """``metadata.finalizers``."""
    return texts_at(item, "metadata", "finalizers")


def is_deleted(item: JsonObject) -> bool:
    """Whether deletion has been asked for."""
    return bool(text_at(item, "metadata", "deletionTimestamp"))


def count_at(item: Json, *path: str, default: int = 0) -> int:
    """The whole number at a path; `default` when there is none."""
    return int(number_at(item, *path, default=default))


def time_at(item: Json, *path: str) -> datetime | None:
    """The time at a path; None when there is none."""
    return read_stamp(text_at(item, *path))


def created_order(item: JsonObject) -> tuple[str, str]:
    """Sort key: older first, then by name."""
    return text_at(item, "metadata", "creationTimestamp"), name_of(item)


def with_metadata(item: JsonObject, changed: Mapping[str, Json]) -> dict[str, Json]:
    """A copy with fields of its metadata replaced; a field set to None is left out."""
    merged = {**object_at(item, "metadata"), **changed}
    return {
        **item,
        "metadata": {field: value for field, value in merged.items() if value is not None},
    }


def with_annotations(item: JsonObject, annotations: Mapping[str, str]) -> dict[str, Json]:
    """A copy with these annotations and no others."""
    return with_metadata(item, {"annotations": dict(annotations)})


def with_finalizers(item: JsonObject, finalizers: tuple[str, ...]) -> dict[str, Json]:
    """A copy with these finalizers and no others."""
    return with_metadata(item, {"finalizers": list(finalizers) or None})


def with_status(item: JsonObject, status: Mapping[str, Json]) -> dict[str, Json]:
    """A copy with this status."""
    return {**item, "status": dict(status)}


def with_spec(item: JsonObject, changed: Mapping[str, Json]) -> dict[str, Json]:
    """A copy with fields of its spec replaced."""
    return {**item, "spec": {**object_at(item, "spec"), **changed}}
