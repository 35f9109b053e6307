"""The entries of ``metadata.managedFields``: who owns what since when.

An applier has one entry whatever version it applies; an updater has one for each API version and
subresource. Source: k8s.io/apimachinery ``pkg/util/managedfields/internal``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import text_at
from gitopsd.sandbox.objects.managed_fields import (
    FieldsError,
    FieldSet,
    difference,
    parse_fields,
    union,
)

Operation = Literal["Apply", "Update"]
Identity: TypeAlias = tuple[str, str, str, str]
"""Manager, operation, API version (of updates only) and subresource."""

BEFORE_FIRST_APPLY = "before-first-apply"
MOST_UPDATERS = 10
_ANCIENT = "ancient-changes"
# What everybody's object has is nobody's.
_OWNED_BY_NOBODY: FieldSet = parse_fields(
    {
        "f:apiVersion": {},
        "f:kind": {},
        "f:metadata": {
            ".": {},
            "f:name": {},
            "f:namespace": {},
            "f:creationTimestamp": {},
            "f:selfLink": {},
            "f:uid": {},
            "f:clusterName": {},
            "f:generation": {},
            "f:managedFields": {},
            "f:resourceVersion": {},
        },
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One manager's entry.

    Attributes:
        manager: Its name.
        operation: Whether it applies or updates.
        api_version: The version its fields are named in.
        subresource: Where it writes; empty for the object itself.
        time: When it last changed something; empty when that is not known.
        fields: What it owns.
    """

    manager: str
    operation: Operation
    api_version: str
    subresource: str
    time: str
    fields: FieldSet

    @property
    def identity(self) -> Identity:
        """What tells it from other entries."""
        version = "" if self.operation == "Apply" else self.api_version
        return (self.manager, self.operation, version, self.subresource)

    def __str__(self) -> str:
        """The manager as conflicts name it."""
        text = f'"{self.manager}"'
        if self.subresource:
            text += f' with subresource "{self.subresource}"'
        return text if self.operation == "Apply" else f"{text} using {self.api_version}"


Managed: TypeAlias = "dict[Identity, Entry]"


def parse_managed(entries: Json) -> Managed:
    """Read ``metadata.managedFields``.

    Raises:
        FieldsError: An entry is not in the format; the text says which and why.
    """
    managed: Managed = {}
    for index, raw in enumerate(entries if isinstance(entries, list) else ()):
        operation = text_at(raw, "operation")
        if operation not in {"Apply", "Update"}:
            raise FieldsError("operation must be `Apply` or `Update`")
        if not text_at(raw, "apiVersion"):
            raise FieldsError("apiVersion must not be empty")
        kind = text_at(raw, "fieldsType")
        if not kind:
            raise FieldsError(f"missing fieldsType in managed fields entry {index}")
        if kind != "FieldsV1":
            raise FieldsError(f'invalid fieldsType "{kind}" in managed fields entry {index}')
        entry = Entry(
            manager=text_at(raw, "manager"),
            operation="Apply" if operation == "Apply" else "Update",
            api_version=text_at(raw, "apiVersion"),
            subresource=text_at(raw, "subresource"),
            time=text_at(raw, "time"),
            fields=parse_fields(raw.get("fieldsV1") if isinstance(raw, Mapping) else None),
        )
        managed[entry.identity] = entry
    return managed


def format_managed(managed: Managed) -> list[Json]:
    """Write ``metadata.managedFields``: appliers first, each kind oldest first."""
    entries = sorted(
        managed.values(),
        key=lambda entry: (
            entry.operation,
            entry.time,
            entry.manager,
            entry.api_version,
            entry.subresource,
        ),
    )
    return [_format_entry(entry) for entry in entries]


def _format_entry(entry: Entry) -> JsonObject:
    found: dict[str, Json] = {
        "manager": entry.manager,
        "operation": entry.operation,
        "apiVersion": entry.api_version,
        "fieldsType": "FieldsV1",
        "fieldsV1": entry.fields,
    }
    if entry.time:
        found["time"] = entry.time
    if entry.subresource:
        found["subresource"] = entry.subresource
    return {key: value for key, value in found.items() if value != ""}


def is_reset(entries: Json) -> bool:
    """Whether a request asks to forget who owns what: by an empty list or one empty entry."""
    return isinstance(entries, list) and (not entries or entries == [{}])


def with_fields(managed: Managed, identity: Identity, fields: FieldSet) -> None:
    """Change what an entry owns; one that owns nothing is dropped."""
    if fields:
        managed[identity] = replace(managed[identity], fields=fields)
    else:
        del managed[identity]


def without_common_fields(managed: Managed, identity: Identity) -> None:
    """Take from an entry what nobody owns: the object's identity and bookkeeping."""
    if identity in managed:
        fields = managed[identity].fields
        kept = difference(fields, _OWNED_BY_NOBODY)
        if kept != fields:
            with_fields(managed, identity, kept)


def merge_oldest_updaters(managed: Managed) -> None:
    """Keep the number of updaters down: the oldest of a version become one entry."""
    updaters = [entry for entry in managed.values() if entry.operation == "Update"]
    surplus = len(updaters) - MOST_UPDATERS
    if surplus <= 0:
        return
    first: dict[str, Identity] = {}
    for entry in sorted(updaters, key=lambda entry: (entry.time, _sort_text(entry))):
        if surplus <= 0:
            return
        version = entry.api_version
        if version not in first:
            first[version] = entry.identity
            continue
        bucket: Identity = (_ANCIENT, "Update", version, "")
        if bucket not in managed:
            oldest = managed.pop(first[version])
            managed[bucket] = replace(oldest, manager=_ANCIENT, subresource="")
        del managed[entry.identity]
        old = managed[bucket]
        managed[bucket] = replace(old, fields=union(entry.fields, old.fields), time=entry.time)
        surplus -= 1


def _sort_text(entry: Entry) -> str:
    """The order of entries of one second: that of their identities written as JSON."""
    return f"{entry.manager}\x00{entry.operation}\x00{entry.api_version}\x00{entry.subresource}"
