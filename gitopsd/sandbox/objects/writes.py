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
from gitopsd.sandbox.objects import merging, patches, strategies
from gitopsd.sandbox.objects.custom_objects import read_custom
from gitopsd.sandbox.objects.decoding import DecodeError, Strictness, decode, empty_object
from gitopsd.sandbox.objects.managed_fields import FieldsError
from gitopsd.sandbox.objects.object_meta import (
    check_identity,
    check_place,
    kept_metadata,
    new_metadata,
)
from gitopsd.sandbox.objects.reset_fields import reset_fields
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.service_addresses import ServiceAddresses
from gitopsd.sandbox.objects.status_errors import (
    Cause,
    StatusError,
    bad_request,
    internal,
    invalid,
    not_found,
)
from gitopsd.sandbox.objects.strategic_patch import strategic_patch
from gitopsd.sandbox.objects.typed_merge import TypeMismatchError, check_type
from gitopsd.sandbox.objects.validation import validate_create, validate_update

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes what, where and how.

    Attributes:
        resource: The resource of the path.
        manager: The field manager.
        now: The time, as the API writes it.
        namespace: The path's; empty for cluster-scoped kinds.
        name: The path's, or the one made for a new object.
        uid: A new object's.
        subresource: ``status``; empty for the object itself.
        validation: What to do about unknown fields: ``Strict``, ``Warn`` or ``Ignore``.
        force: Whether an apply takes fields from other managers.
    """

    resource: Resource
    manager: str
    now: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    subresource: str = ""
    validation: str = WARN
    force: bool = False


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
        schema = self._schema(write.resource)
        strictness = Strictness()
        obj = self._read_body(write, schema, body, strictness)
        warnings = _warnings(write, strictness)
        obj = check_place(write.resource, obj, write.namespace, write.name)
        empty = self._empty(write.resource, schema)
        obj = merging.update(empty, obj, schema=schema, manager=_manager(write))
        return self._created(write, schema, obj, warnings)

    def update(self, write: Write, live: JsonObject, body: JsonObject) -> Written:
        """An object from the body of a PUT.

        Raises:
            StatusError: It is refused.
        """
        schema = self._schema(write.resource)
        strictness = Strictness()
        obj = self._read_body(write, schema, body, strictness)
        warnings = _warnings(write, strictness)
        obj = check_place(write.resource, obj, write.namespace, write.name)
        obj = merging.update(live, obj, schema=schema, manager=_manager(write))
        return self._updated(write, schema, live, obj, warnings)

    def patch(self, write: Write, live: JsonObject, content_type: str, body: Json) -> Written:
        """An object from a JSON patch, a JSON merge patch or a strategic merge patch.

        Raises:
            StatusError: It is refused.
        """
        schema = self._schema(write.resource)
        try:
            patched = _patched(live, content_type, body, schema)
        except patches.PatchError as error:
            if content_type == patches.JSON_PATCH:
                raise StatusError(422, "Invalid", str(error)) from error
            raise bad_request(str(error)) from error
        strictness = Strictness()
        try:
            obj = self._read(write.resource, schema, patched, strictness)
        except DecodeError as error:
            raise _bad_patch(body, str(error)) from error
        if write.validation == STRICT and strictness.unknown:
            listed = ", ".join(strictness.complaints())
            raise _bad_patch(body, f"strict decoding error: {listed}")
        warnings = _warnings(write, strictness, refuse=False)
        obj = merging.update(live, obj, schema=schema, manager=_manager(write))
        obj = check_place(write.resource, obj, write.namespace, write.name)
        return self._updated(write, schema, live, obj, warnings)

    def apply(self, write: Write, live: JsonObject | None, body: JsonObject) -> Written:
        """An object from a server-side apply; a new one when there is none.

        Raises:
            StatusError: It is refused.
        """
        resource = write.resource
        schema = self._schema(resource)
        said = (text_at(body, "apiVersion"), text_at(body, "kind"))
        if said != (resource.api_version, resource.kind):
            raise bad_request(f"invalid object type: {_spoken_kind(*said)}")
        if object_at(body, "metadata").get("managedFields") is not None:
            raise bad_request("metadata.managedFields must be nil")
        spoken = (
            f"{text_at(body, 'metadata', 'namespace')}/{text_at(body, 'metadata', 'name')}; "
            f"{_spoken_kind(*said)}"
        )
        try:
            check_type(body, schema)
        except TypeMismatchError as error:
            raise internal(f"failed to create typed patch object ({spoken}): {error}") from error
        before = self._empty(resource, schema) if live is None else live
        try:
            outcome = merging.apply(
                before, body, schema=schema, manager=_manager(write), force=write.force
            )
        except FieldsError as error:
            raise internal(f"failed to decode managed fields: {error}") from error
        if isinstance(outcome, merging.Conflicts):
            raise outcome.refusal()
        try:
            obj = self._read(resource, schema, outcome.object, Strictness())
        except DecodeError as error:
            raise internal(
                f"failed to convert new object ({spoken}) to proper version: unable to convert "
                f"unstructured object to {_spoken_kind(*said)}: {error}"
            ) from error
        if live is None:
            uid = text_at(obj, "metadata", "uid")
            if uid:
                raise _no_such_uid(resource, write.name, uid)
            obj = check_place(resource, obj, write.namespace, write.name)
            return self._created(write, schema, obj, ())
        obj = check_place(resource, obj, write.namespace, write.name)
        return self._updated(write, schema, live, obj, ())

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
        return Written(made, warnings, created=True)

    def _updated(
        self,
        write: Write,
        schema: Schema,
        live: JsonObject,
        obj: JsonObject,
        warnings: tuple[str, ...],
    ) -> Written:
        check_identity(write.resource, obj, live)
        made = kept_metadata(obj, live)
        made = strategies.prepare_update(
            write.resource, made, live, write.subresource, self._addresses
        )
        causes = validate_update(write.resource, schema, made, live, write.subresource)
        _check(write.resource, made, causes)
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

    def _read(
        self, resource: Resource, schema: Schema, obj: JsonObject, strictness: Strictness
    ) -> dict[str, Json]:
        read = read_custom if resource.custom else decode
        # Managed fields are in the one form already, and not to be looked at twice.
        metadata = object_at(obj, "metadata")
        managed = metadata.get("managedFields")
        bare = {name: item for name, item in metadata.items() if name != "managedFields"}
        found = read({**obj, "metadata": bare}, schema, strictness)
        if managed is not None:
            found["metadata"] = {**object_at(found, "metadata"), "managedFields": managed}
        return found

    def _read_body(
        self, write: Write, schema: Schema, body: JsonObject, strictness: Strictness
    ) -> dict[str, Json]:
        resource = write.resource
        typed: dict[str, Json] = {
            **body,
            "apiVersion": text_at(body, "apiVersion") or resource.api_version,
            "kind": text_at(body, "kind") or resource.kind,
        }
        if typed["apiVersion"] != resource.api_version:
            raise bad_request(
                f"the API version in the data ({typed['apiVersion']}) does not match the expected "
                f"API version ({resource.api_version})"
            )
        if typed["kind"] != resource.kind:
            raise bad_request(
                f'{typed["kind"]} in version "{resource.version}" cannot be handled as a '
                f"{resource.kind}: converting (v1.{typed['kind']}) to ({resource.kind}): unknown "
                "conversion"
            )
        try:
            return self._read(resource, schema, typed, strictness)
        except DecodeError as error:
            raise bad_request(
                f'{resource.kind} in version "{resource.version}" cannot be handled as a '
                f"{resource.kind}: {error}"
            ) from error


def _manager(write: Write) -> merging.Manager:
    return merging.Manager(
        name=write.manager,
        api_version=write.resource.api_version,
        now=write.now,
        subresource=write.subresource,
        ignored=reset_fields(write.resource, write.subresource),
    )


def _patched(live: JsonObject, content_type: str, body: Json, schema: Schema) -> JsonObject:
    if content_type == patches.JSON_PATCH:
        if not isinstance(body, list):
            raise bad_request("error decoding patch: json: cannot unmarshal object into Go value")
        result = patches.json_patch(live, body)
    elif not isinstance(body, Mapping):
        raise bad_request("error decoding patch: the patch is no JSON object")
    elif content_type == patches.MERGE_PATCH:
        result = patches.merge_patch(live, body)
    else:
        result = strategic_patch(live, body, schema)
    return result if isinstance(result, Mapping) else {}


def _warnings(write: Write, strictness: Strictness, *, refuse: bool = True) -> tuple[str, ...]:
    """What to say about unknown fields.

    Raises:
        StatusError: They are not wanted.
    """
    complaints = strictness.complaints()
    if not complaints or write.validation == IGNORE:
        return ()
    if write.validation == STRICT and refuse:
        kind = write.resource.kind
        raise bad_request(
            f'{kind} in version "{write.resource.version}" cannot be handled as a {kind}: '
            f"strict decoding error: {', '.join(complaints)}"
        )
    return tuple(complaints)


def _bad_patch(body: Json, why: str) -> StatusError:
    cause = Cause("FieldValueInvalid", f"Invalid value: {patches.spoken(body)}: {why}", "patch")
    return invalid("", "", "", [cause])


def _no_such_uid(resource: Resource, name: str, uid: str) -> StatusError:
    message = (
        f'Operation cannot be fulfilled on {resource.qualified} "{name}": uid mismatch: the '
        f"provided object specified uid {uid}, and no existing object was found"
    )
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return StatusError(
        409, "Conflict", message, {key: value for key, value in details.items() if value}
    )


def _spoken_kind(api_version: str, kind: str) -> str:
    """A kind as Go prints it: ``apps/v1, Kind=Deployment``."""
    group, _, version = api_version.rpartition("/")
    return f"{group}/{version}, Kind={kind}"


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
