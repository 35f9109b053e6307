"""Rules of CustomResourceDefinitions.

Source: apiextensions ``pkg/apis/apiextensions/validation``: the ones that people meet when they
write a definition by hand.
"""

from __future__ import annotations

from collections.abc import Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.objects.rules.complaints import Complaints
from gitopsd.sandbox.objects.rules.names import rfc_1035_problems, subdomain_problems

_TYPES = ("array", "boolean", "integer", "number", "object", "string")
_PROTECTED = (".k8s.io", ".kubernetes.io")
_APPROVAL = "api-approved.kubernetes.io"
_MIXED = "may have mixed case, but should otherwise match: "


def check_definition(obj: JsonObject, told: Complaints) -> None:
    """Complain about a definition that makes no sense."""
    spec = object_at(obj, "spec")
    names, group = object_at(spec, "names"), text_at(spec, "group")
    name = text_at(obj, "metadata", "name")
    if name != f"{text_at(names, 'plural')}.{group}":
        told.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    _check_group(group, told)
    scope = text_at(spec, "scope")
    if scope not in {"Cluster", "Namespaced"}:
        told.unsupported("spec.scope", scope, ("Cluster", "Namespaced"))
    _check_versions(objects_at(spec, "versions"), told)
    _check_names(names, told)
    if not object_at(obj, "status").get("storedVersions"):
        told.invalid("status.storedVersions", None, "must have at least one stored version")
    _check_approval(obj, group, told)


def _check_group(group: str, told: Complaints) -> None:
    if not group:
        told.required("spec.group")
        return
    for problem in subdomain_problems(group):
        told.invalid("spec.group", group, problem)
    if "." not in group:
        told.invalid("spec.group", group, "should be a domain with at least one dot")


def _check_versions(versions: tuple[JsonObject, ...], told: Complaints) -> None:
    stored = 0
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path, name = f"spec.versions[{index}]", text_at(version, "name")
        for problem in rfc_1035_problems(name):
            told.invalid(f"{path}.name", name, problem)
        if name in seen:
            told.invalid("spec.versions", None, "must contain unique version names")
        seen.add(name)
        stored += version.get("storage") is True
        _check_schema(version, path, told, alone=len(versions) == 1)
    if stored != 1:
        printed: list[Json] = [_printed(version) for version in versions]
        told.invalid(
            "spec.versions", printed, "must have exactly one version marked as storage version"
        )
    if len(versions) == 1:
        # What the only version is called is told of as the definition's version, too.
        name = text_at(versions[0], "name")
        for problem in rfc_1035_problems(name):
            told.invalid("spec.version", name, problem)


def _printed(version: JsonObject) -> JsonObject:
    """A version as Kubernetes' internal type is printed."""
    return {
        "Name": version.get("name"),
        "Served": version.get("served"),
        "Storage": version.get("storage"),
        "Deprecated": version.get("deprecated", False),
        "DeprecationWarning": None,
        "Schema": None,
        "Subresources": None,
        "AdditionalPrinterColumns": None,
        "SelectableFields": None,
    }


def _check_schema(version: JsonObject, path: str, told: Complaints, *, alone: bool) -> None:
    schema = object_at(version, "schema").get("openAPIV3Schema")
    if not isinstance(schema, Mapping):
        told.required(f"{path}.schema.openAPIV3Schema")
        return
    # A schema that all versions share is told of as that of the definition.
    where = "spec.validation.openAPIV3Schema" if alone else f"{path}.schema.openAPIV3Schema"
    type_ = text_at(schema, "type")
    if not type_:
        told.required(f"{where}.type", "must not be empty at the root")
    elif type_ != "object":
        if object_at(version, "subresources").get("status") is not None:
            told.invalid(
                f"{where}.type",
                type_,
                'only "object" is allowed as the type at the root of the schema if the status '
                "subresource is enabled",
            )
        told.invalid(f"{where}.type", type_, "must be object at the root")
    _check_members(schema, where, told)


def _check_members(schema: JsonObject, path: str, told: Complaints) -> None:
    for name, member in object_at(schema, "properties").items():
        if isinstance(member, Mapping):
            _check_member(member, f"{path}.properties[{name}]", "object fields", told)
    others = schema.get("additionalProperties")
    if isinstance(others, Mapping):
        _check_member(others, f"{path}.additionalProperties", "object fields", told)
    items = schema.get("items")
    if isinstance(items, Mapping):
        _check_member(items, f"{path}.items", "array items", told)
    elif schema.get("type") == "array":
        told.required(f"{path}.items", "must be specified")


def _check_member(schema: JsonObject, path: str, what: str, told: Complaints) -> None:
    type_ = text_at(schema, "type")
    free = (
        schema.get("x-kubernetes-int-or-string") is True
        or schema.get("x-kubernetes-preserve-unknown-fields") is True
    )
    if not type_ and not free:
        told.required(f"{path}.type", f"must not be empty for specified {what}")
    elif type_ and type_ not in _TYPES:
        told.unsupported(f"{path}.type", type_, _TYPES)
    _check_members(schema, path, told)


def _check_names(names: JsonObject, told: Complaints) -> None:
    for field in ("plural", "singular", "kind", "listKind"):
        name, path = text_at(names, field), f"spec.names.{field}"
        if not name:
            told.required(path)
            continue
        mixed = field in {"kind", "listKind"}
        for problem in rfc_1035_problems(name.lower() if mixed else name):
            told.invalid(path, name, f"{_MIXED if mixed else ''}{problem}")
    kind, listed = text_at(names, "kind"), text_at(names, "listKind")
    if kind and kind == listed:
        told.invalid("spec.names.listKind", listed, "kind and listKind may not be the same")


def _check_approval(obj: JsonObject, group: str, told: Complaints) -> None:
    if not group.endswith(_PROTECTED) and group not in {"k8s.io", "kubernetes.io"}:
        return
    if not text_at(obj, "metadata", "annotations", _APPROVAL):
        told.required(
            f"metadata.annotations[{_APPROVAL}]",
            f'protected groups must have approval annotation "{_APPROVAL}", see '
            "https://github.com/kubernetes/enhancements/pull/1111",
        )
