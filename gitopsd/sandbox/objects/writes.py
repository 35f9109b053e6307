"""One write from the request to what is stored: create, update, patch, apply.

A write is read (`decoding`), merged, completed, prepared, validated and entered in the book of
field owners in the order of a real server, so that it is refused for the same reason. Nothing is
stored here: who calls stores `Written.object` as it is, and leaves the object alone when it equals
the stored one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects import merging, strategies
from gitopsd.sandbox.objects.decoding import empty_object
from gitopsd.sandbox.objects.intake import check_applied, read_applied, read_body, read_patched
from gitopsd.sandbox.objects.managed_fields import FieldsError
from gitopsd.sandbox.objects.object_meta import (
    check_place,
    check_uid,
    check_version,
    kept_metadata,
    new_metadata,
)
from gitopsd.sandbox.objects.reset_fields import reset_fields
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules.advice import advise
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.service_addresses import ServiceAddresses
from gitopsd.sandbox.objects.status_errors import Cause, conflict, internal, invalid, not_found
from gitopsd.sandbox.objects.validation import validate_create, validate_update
from gitopsd.sandbox.objects.write_request import IGNORE, STRICT, WARN, Write

__all__ = ["IGNORE", "STRICT", "WARN", "ObjectWriter", "Write", "Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """What to store and what to say.

    Attributes:
        object: The object; its resourceVersion and generation are those it had.
        warnings: For the person at the client.
        created: Whether there was none before.
    """

    object: dict[str, Json]
    warnings: tuple[str, ...] = ()
    created: bool = False


class ObjectWriter:
    """Writes objects of every kind that a cluster knows.

    Args:
        schemas: The kinds.
        addresses: Gives Services their addresses and ports.
    """

    def __init__(self, schemas: Schemas, addresses: ServiceAddresses) -> None:
        self._schemas = schemas
        self._addresses = addresses

    def create(self, write: Write, body: JsonObject) -> Written:
        """A new object from the body of a POST.

        Raises:
            StatusError: It is refused.
        """
        resource, schema = write.resource, self._schema(write.resource)
        obj, warnings = read_body(write, schema, body)
        obj = check_place(resource, obj, write.namespace, write.name, may_be_nameless=True)
        empty = self._empty(resource, schema)
        obj = merging.update(empty, obj, schema=schema, manager=_manager(write))
        written = self._created(write, schema, obj, warnings)
        if text_at(obj, "metadata", "resourceVersion"):
            raise internal("resourceVersion should not be set on objects to be created")
        return written

    def update(self, write: Write, live: JsonObject, body: JsonObject) -> Written:
        """An object from the body of a PUT.

        Raises:
            StatusError: It is refused.
        """
        schema = self._schema(write.resource)
        obj, warnings = read_body(write, schema, body)
        obj = check_place(write.resource, obj, write.namespace, write.name)
        check_uid(write.resource, obj, live)
        obj = merging.update(live, obj, schema=schema, manager=_manager(write))
        return self._updated(write, schema, live, obj, warnings)

    def patch(self, write: Write, live: JsonObject, content_type: str, body: Json) -> Written:
        """An object from a JSON patch, a JSON merge patch or a strategic merge patch.

        Raises:
            StatusError: It is refused.
        """
        schema = self._schema(write.resource)
        obj, warnings = read_patched(write, schema, live, content_type, body)
        obj = merging.update(live, obj, schema=schema, manager=_manager(write))
        obj = check_place(write.resource, obj, write.namespace, write.name)
        return self._updated(write, schema, live, obj, warnings)

    def apply(self, write: Write, live: JsonObject | None, body: JsonObject) -> Written:
        """An object from a server-side apply; a new one when there is none.

        Raises:
            StatusError: It is refused.
        """
        resource, schema = write.resource, self._schema(write.resource)
        check_applied(write, schema, body)
        before = self._empty(resource, schema) if live is None else live
        try:
            outcome = merging.apply(
                before, body, schema=schema, manager=_manager(write), force=write.force
            )
        except FieldsError as error:
            raise internal(f"failed to decode managed fields: {error}") from error
        if isinstance(outcome, merging.Conflicts):
            raise outcome.refusal()
        obj, warnings = read_applied(write, schema, body, outcome.object)
        obj = check_place(resource, obj, write.namespace, write.name)
        if live is not None:
            return self._updated(write, schema, live, obj, warnings)
        uid = text_at(obj, "metadata", "uid")
        if uid:
            raise conflict(
                resource,
                write.name,
                f"uid mismatch: the provided object specified uid {uid}, and no existing object "
                "was found",
            )
        return self._created(write, schema, obj, warnings)

    def _created(
        self, write: Write, schema: Schema, obj: JsonObject, warnings: tuple[str, ...]
    ) -> Written:
        made = dict(obj)
        if not write.resource.custom:
            strategies.admit_create(write.resource, made)
        made = new_metadata(made, write.uid, write.now)
        circumstances = strategies.Circumstances(write.uid, write.now, self._addresses)
        strategies.prepare_create(write.resource, schema, made, circumstances)
        _check(write.resource, made, validate_create(write.resource, schema, made))
        return Written(made, (*warnings, *advise(write.resource, made, None)), created=True)

    def _updated(
        self,
        write: Write,
        schema: Schema,
        live: JsonObject,
        obj: JsonObject,
        warnings: tuple[str, ...],
    ) -> Written:
        check_version(write.resource, obj, live)
        made = kept_metadata(obj, live)
        made = strategies.prepare_update(
            write.resource, made, live, write.subresource, self._addresses
        )
        causes = validate_update(write.resource, schema, made, live, write.subresource)
        _check(write.resource, made, causes)
        if not write.subresource:
            warnings = (*warnings, *advise(write.resource, made, live))
        return Written(_with_old_times(made, live), warnings)

    def _schema(self, resource: Resource) -> Schema:
        schema = self._schemas.schema_of(resource.api_version, resource.kind)
        if schema is None:
            raise not_found(resource, "")
        return schema

    def _empty(self, resource: Resource, schema: Schema) -> JsonObject:
        if resource.custom:
            return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {}}
        return empty_object(schema, resource.api_version, resource.kind)


def _manager(write: Write) -> merging.Manager:
    return merging.Manager(
        name=write.manager,
        api_version=write.resource.api_version,
        now=write.now,
        subresource=write.subresource,
        ignored=reset_fields(write.resource, write.subresource),
    )


def _check(resource: Resource, obj: JsonObject, causes: list[Cause]) -> None:
    if causes:
        name = text_at(obj, "metadata", "name")
        raise invalid(resource.group, resource.kind, name, causes)


def _with_old_times(obj: dict[str, Json], live: JsonObject) -> dict[str, Json]:
    """The object with its old managed fields when nothing but their times is new."""
    ours, theirs = object_at(obj, "metadata"), object_at(live, "metadata")
    new, old = ours.get("managedFields"), theirs.get("managedFields")
    if not isinstance(new, list) or not isinstance(old, list) or new == old:
        return obj
    if _timeless(new) != _timeless(old):
        return obj
    back: dict[str, Json] = {**obj, "metadata": {**ours, "managedFields": old}}
    return back if back == live else obj


def _timeless(entries: list[Json]) -> list[Json]:
    return [
        {name: value for name, value in entry.items() if name != "time"}
        for entry in entries
        if isinstance(entry, Mapping)
    ]
