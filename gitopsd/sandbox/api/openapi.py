"""``/openapi/v3``: what kubectl reads to explain kinds and to know that fields are validated here.

The types are those of the real server's documents; the paths are only as detailed as clients look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import orjson

from gitopsd.sandbox.fields import object_at, objects_at, text_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.objects.resources import Resource
    from gitopsd.sandbox.objects.schemas import Schemas

_REF = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"
_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_OF_COLLECTION = (("get", "list"), ("post", "post"), ("delete", "deletecollection"))
_OF_OBJECT = (("get", "get"), ("put", "put"), ("patch", "patch"), ("delete", "delete"))


def describe_versions(served: ServedResources) -> JsonObject:
    """Which documents there are; each address changes with what it answers."""
    paths: dict[str, Json] = {}
    for group, versions in served.groups():
        for version in versions:
            place = f"apis/{group}/{version}" if group else f"api/{version}"
            mark = _mark(served, group, version)
            paths[place] = {"serverRelativeURL": f"/openapi/v3/{place}?hash={mark}"}
    return {"paths": paths}


def describe_version(served: ServedResources, group: str, version: str) -> JsonObject | None:
    """The document of one API version; None when it is not served."""
    resources = list(served.of_version(group, version))
    if not resources:
        return None
    schemas = served.schemas
    definitions = dict(_custom_definitions(schemas, group, version))
    wanted = [_definition_name(schemas, item) for item in resources] + [_META]
    found: dict[str, Json] = {}
    while wanted:
        name = wanted.pop()
        definition = definitions.get(name) or schemas.facts.definitions.get(name)
        if name in found or definition is None:
            continue
        found[name] = definition
        wanted.extend(_references(definition))
    paths: dict[str, Json] = {}
    for item in resources:
        paths |= _paths(item, _definition_name(schemas, item))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": schemas.facts.version},
        "paths": paths,
        "components": {"schemas": found},
    }


def _definition_name(schemas: Schemas, resource: Resource) -> str:
    if resource.custom:
        reversed_group = ".".join(reversed(resource.group.split(".")))
        return f"{reversed_group}.{resource.version}.{resource.kind}"
    return schemas.facts.kinds.get((resource.api_version, resource.kind), "")


def _custom_definitions(
    schemas: Schemas, group: str, version: str
) -> Iterator[tuple[str, JsonObject]]:
    for custom in schemas.custom_kinds():
        resource = custom.resource
        if (resource.group, resource.version) != (group, version):
            continue
        for item in objects_at(custom.definition, "spec", "versions"):
            if text_at(item, "name") == version:
                schema = object_at(item, "schema", "openAPIV3Schema")
                yield _definition_name(schemas, resource), _with_meta(schema, resource)


def _with_meta(schema: JsonObject, resource: Resource) -> JsonObject:
    properties = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        **object_at(schema, "properties"),
        "metadata": {"allOf": [{"$ref": f"{_REF}{_META}"}]},
    }
    kind = {"group": resource.group, "version": resource.version, "kind": resource.kind}
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": [kind]}


def _references(value: Json) -> Iterator[str]:
    if isinstance(value, Mapping):
        name = value.get("$ref")
        if isinstance(name, str):
            yield name.removeprefix(_REF)
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _references(item)


def _paths(resource: Resource, definition: str) -> dict[str, Json]:
    place = "namespaces/{namespace}/" if resource.namespaced else ""
    collection = f"{resource.root}/{place}{resource.plural}"
    return {
        collection: _operations(resource, definition, _OF_COLLECTION),
        f"{collection}/{{name}}": _operations(resource, definition, _OF_OBJECT),
    }


def _operations(
    resource: Resource, definition: str, operations: Sequence[tuple[str, str]]
) -> JsonObject:
    kind: JsonObject = {
        "group": resource.group,
        "version": resource.version,
        "kind": resource.kind,
    }
    schema: JsonObject = {"schema": {"$ref": f"{_REF}{definition}"}}
    made: dict[str, Json] = {}
    for method, action in operations:
        described: dict[str, Json] = {
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind,
            "responses": {"200": {"description": "OK", "content": {"application/json": schema}}},
        }
        if method in {"post", "put", "patch"}:
            described["parameters"] = [
                {"name": name, "in": "query", "schema": {"type": "string"}}
                for name in _WRITE_PARAMETERS
            ]
        made[method] = described
    return made


def _mark(served: ServedResources, group: str, version: str) -> str:
    custom = [
        item.definition
        for item in served.schemas.custom_kinds()
        if (item.resource.group, item.resource.version) == (group, version)
    ]
    said = orjson.dumps([served.schemas.facts.version, *custom])
    return hashlib.sha256(said).hexdigest().upper()
