"""Reading Kubernetes objects that nobody has validated.

Theory: a manifest from Git or an answer of an API server may hold any JSON value anywhere. The
accessors answer with an empty value of the asked type instead of raising, so that every rule
above them is total. Only `parse_ref` refuses, because without an identity nothing can be said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_NAME = re.compile(r"[^\s/%\x00-\x1f\x7f]{1,253}")
_KIND = re.compile(r"[A-Za-z][A-Za-z0-9]{0,62}")
_GROUP = re.compile(r"[a-z0-9][a-z0-9.-]{0,252}")
_VERSION = re.compile(r"[a-z][a-z0-9]{0,62}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,9}")

_SERVER_METADATA = frozenset(
    {
        "managedFields",
        "resourceVersion",
        "uid",
        "creationTimestamp",
        "generation",
        "selfLink",
    }
)


@dataclass(frozen=True, slots=True)
class Condition:
    """One entry of ``status.conditions``.

    Attributes:
        type: Condition type, e.g. ``Ready``.
        status: ``True``, ``False`` or ``Unknown``; empty when missing.
        reason: PascalCase reason; may be empty.
        message: What the controller says; may be empty.
        since: ``lastTransitionTime``; None when missing or not a time.
        updated: ``lastUpdateTime``, or `since` where the kind has none.
    """

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    updated: datetime | None = None

    @property
    def true(self) -> bool:
        """Whether the status is ``True``."""
        return self.status == "True"

    @property
    def false(self) -> bool:
        """Whether the status is ``False``."""
        return self.status == "False"


def value_at(value: Json, *path: str) -> Json:
    """Follow keys into nested objects; None where a step is missing or is not an object."""
    for step in path:
        if not isinstance(value, Mapping):
            return None
        value = value.get(step)
    return value


def mapping_at(value: Json, *path: str) -> JsonObject:
    """Read an object; an empty one where there is none."""
    found = value_at(value, *path)
    return found if isinstance(found, Mapping) else {}


def sequence_at(value: Json, *path: str) -> tuple[Json, ...]:
    """Read a list; an empty one where there is none."""
    found = value_at(value, *path)
    return tuple(found) if isinstance(found, list | tuple) else ()


def mappings_at(value: Json, *path: str) -> tuple[JsonObject, ...]:
    """Read those items of a list that are objects."""
    return tuple(item for item in sequence_at(value, *path) if isinstance(item, Mapping))


def container_spec(pod: JsonObject, name: str) -> JsonObject:
    """Find what a pod asks of one of its containers, by the container's name; empty if nothing."""
    lists = (mappings_at(pod, "spec", field) for field in ("initContainers", "containers"))
    return next((one for found in lists for one in found if one.get("name") == name), {})


def string_at(value: Json, *path: str) -> str:
    """Read a string; empty where there is none."""
    found = value_at(value, *path)
    return found if isinstance(found, str) else ""


def int_at(value: Json, *path: str) -> int | None:
    """Read an integer; None where there is none (``true`` is none)."""
    found = value_at(value, *path)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def number_at(value: Json, *path: str) -> int:
    """Read an integer that defaults to 0, as kstatus does."""
    return int_at(value, *path) or 0


def flag_at(value: Json, *path: str) -> bool:
    """Whether the value is ``true``; everything else is no."""
    return value_at(value, *path) is True


def time_at(value: Json, *path: str) -> datetime | None:
    """Read an RFC 3339 time as aware UTC; None where there is none."""
    return parse_time(string_at(value, *path))


def parse_time(text: str) -> datetime | None:
    """Parse an RFC 3339 time (a date is its midnight, no zone is UTC); None when it is none."""
    try:
        moment = datetime.fromisoformat(text)
        aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
        return aware.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_integer(text: str) -> int | None:
    """Parse a decimal integer of at most nine digits; None when it is none."""
    stripped = text.strip()
    return int(stripped) if _INTEGER.fullmatch(stripped) else None


def labels_of(obj: JsonObject) -> dict[str, str]:
    """Labels whose values are strings."""
    return _strings(mapping_at(obj, "metadata", "labels"))


def annotations_of(obj: JsonObject) -> dict[str, str]:
    """Annotations whose values are strings."""
    return _strings(mapping_at(obj, "metadata", "annotations"))


def _strings(values: JsonObject) -> dict[str, str]:
    return {key: value for key, value in values.items() if isinstance(value, str)}


def name_of(obj: JsonObject) -> str:
    """``metadata.name``; empty when missing."""
    return string_at(obj, "metadata", "name")


def namespace_of(obj: JsonObject) -> str:
    """``metadata.namespace``; empty when missing."""
    return string_at(obj, "metadata", "namespace")


def uid_of(obj: JsonObject) -> str:
    """``metadata.uid``; empty when missing."""
    return string_at(obj, "metadata", "uid")


def kind_of(obj: JsonObject) -> str:
    """``kind``; empty when missing."""
    return string_at(obj, "kind")


def group_of(obj: JsonObject) -> str:
    """API group; empty for the core group and when ``apiVersion`` is missing."""
    group, slash, _ = string_at(obj, "apiVersion").rpartition("/")
    return group if slash else ""


def controller_uid(obj: JsonObject) -> str:
    """Uid of the owner that controls the object; empty when none does."""
    for owner in mappings_at(obj, "metadata", "ownerReferences"):
        if flag_at(owner, "controller"):
            return string_at(owner, "uid")
    return ""


def created_at(obj: JsonObject) -> datetime | None:
    """``metadata.creationTimestamp``; None when missing."""
    return time_at(obj, "metadata", "creationTimestamp")


def is_terminating(obj: JsonObject) -> bool:
    """Whether the object is being deleted."""
    return value_at(obj, "metadata", "deletionTimestamp") is not None


def conditions_of(obj: JsonObject) -> Iterator[Condition]:
    """Iterate over ``status.conditions``, in the object's order."""
    for item in mappings_at(obj, "status", "conditions"):
        since = time_at(item, "lastTransitionTime")
        yield Condition(
            type=string_at(item, "type"),
            status=string_at(item, "status"),
            reason=string_at(item, "reason"),
            message=string_at(item, "message"),
            since=since,
            updated=time_at(item, "lastUpdateTime") or since,
        )


def condition_of(obj: JsonObject, kind: str) -> Condition | None:
    """Find the first condition of a type; None when there is none."""
    return next((found for found in conditions_of(obj) if found.type == kind), None)


def condition_true(obj: JsonObject, kind: str) -> Condition | None:
    """Find the first condition of a type if its status is ``True``; None otherwise."""
    found = condition_of(obj, kind)
    return found if found is not None and found.true else None


def parse_ref(obj: JsonObject) -> ObjectRef:
    """Read the identity of a manifest.

    Names and namespaces become parts of request paths, so what a path segment cannot hold is
    refused here (Kubernetes API conventions, "path segment names").

    Args:
        obj: A manifest.

    Returns:
        Its identity with its API version.

    Raises:
        PermanentError: ``InvalidObject``, when a part of the identity is missing or impossible.
    """
    if not isinstance(obj, Mapping):
        raise _invalid(f"a document is a {type(obj).__name__}, not an object with kind and name")
    kind = _part(obj, "kind", _KIND, "a kind such as Deployment")
    group, version = _api_version(obj, kind)
    name = _name(obj, kind)
    namespace = value_at(obj, "metadata", "namespace")
    if namespace in (None, ""):
        return ObjectRef(ObjectKey(group, kind, "", name), version)
    if not _is_segment(namespace):
        raise _invalid(f"{kind} {name}: metadata.namespace is not a namespace name")
    return ObjectRef(ObjectKey(group, kind, str(namespace), name), version)


def _api_version(obj: JsonObject, kind: str) -> tuple[str, str]:
    text = value_at(obj, "apiVersion")
    if not isinstance(text, str) or not text:
        raise _invalid(f"{_named(obj, kind)}: apiVersion is missing; write it, e.g. apps/v1")
    group, slash, version = text.rpartition("/")
    if not _VERSION.fullmatch(version) or (slash and not _GROUP.fullmatch(group)):
        raise _invalid(f"{_named(obj, kind)}: apiVersion is not group/version, e.g. apps/v1")
    return group, version


def _part(obj: JsonObject, key: str, pattern: re.Pattern[str], wanted: str) -> str:
    text = value_at(obj, key)
    if not isinstance(text, str) or not text:
        raise _invalid(f"{_named(obj, 'an object')}: {key} is missing; write {wanted}")
    if not pattern.fullmatch(text):
        raise _invalid(f"{_named(obj, 'an object')}: {key} is not {wanted}")
    return text


def _name(obj: JsonObject, kind: str) -> str:
    name = value_at(obj, "metadata", "name")
    if name in (None, ""):
        if string_at(obj, "metadata", "generateName"):
            raise _invalid(
                f"{kind}: metadata.generateName makes a new object each time; "
                "write a fixed metadata.name"
            )
        raise _invalid(f"{kind}: metadata.name is missing")
    if not isinstance(name, str):
        raise _invalid(f"{kind}: metadata.name is a {type(name).__name__}; quote it to make a name")
    if not _is_segment(name):
        raise _invalid(f"{kind}: metadata.name holds what an object name cannot")
    return name


def _is_segment(text: Json) -> bool:
    return isinstance(text, str) and text not in {".", ".."} and bool(_NAME.fullmatch(text))


def _named(obj: JsonObject, kind: str) -> str:
    name = name_of(obj)
    return f"{kind} {name}" if _is_segment(name) else kind


def _invalid(message: str) -> PermanentError:
    return PermanentError(message, reason="InvalidObject")


def strip_server_fields(obj: JsonObject) -> dict[str, Json]:
    """Copy an object without what only the server writes: parts of metadata, and status.

    The copy is what an apply may send: ``managedFields`` in a body are refused by the server.
    """
    stripped = {key: value for key, value in obj.items() if key != "status"}
    metadata = obj.get("metadata")
    if isinstance(metadata, Mapping):
        stripped["metadata"] = {
            key: value for key, value in metadata.items() if key not in _SERVER_METADATA
        }
    return stripped
