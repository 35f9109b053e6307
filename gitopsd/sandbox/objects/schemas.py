"""The kinds that the sandbox knows: built-in ones from packaged facts, custom ones as they come."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Self

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import object_at, objects_at, text_at
from gitopsd.sandbox.objects.resources import Resource, custom_resources, parse_resource
from gitopsd.sandbox.objects.schema_tree import DEDUCED, Schema, SchemaCompiler

_GVK = "x-kubernetes-group-version-kind"


@dataclass(frozen=True, slots=True)
class Facts:
    """What the packaged file says.

    Attributes:
        version: The Kubernetes release it was taken from, e.g. ``v1.37.1``.
        definitions: OpenAPI definitions by name.
        compiler: Makes types of them.
        kinds: The definition of each (apiVersion, kind).
        resources: The built-in resources.
    """

    version: str
    definitions: Mapping[str, JsonObject]
    compiler: SchemaCompiler
    kinds: Mapping[tuple[str, str], str]
    resources: tuple[Resource, ...]


@cache
def packaged_facts() -> Facts:
    """Read the packaged file, once."""
    packed = files(__package__).joinpath("schemas.json.gz").read_bytes()
    content = json.loads(gzip.decompress(packed))
    definitions: dict[str, JsonObject] = content["definitions"]
    kinds = {}
    for name, definition in definitions.items():
        gvks = objects_at(definition, _GVK)
        if len(gvks) == 1:  # options and the like are listed under every group
            group, version = text_at(gvks[0], "group"), text_at(gvks[0], "version")
            api_version = f"{group}/{version}" if group else version
            kinds[api_version, text_at(gvks[0], "kind")] = name
    return Facts(
        version=content["version"],
        definitions=MappingProxyType(definitions),
        compiler=SchemaCompiler(definitions, content["zeros"]),
        kinds=MappingProxyType(kinds),
        resources=tuple(parse_resource(fact) for fact in content["resources"]),
    )


@dataclass(frozen=True, slots=True)
class CustomKind:
    """One served version of a CustomResourceDefinition.

    Attributes:
        resource: What it is served as.
        schema: Its type.
        definition: The CustomResourceDefinition.
    """

    resource: Resource
    schema: Schema
    definition: JsonObject


class Schemas:
    """The kinds of one cluster."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._custom: dict[tuple[str, str], CustomKind] = {}

    @classmethod
    def load(cls) -> Self:
        """The built-in kinds."""
        return cls(packaged_facts())

    def schema_of(self, api_version: str, kind: str) -> Schema | None:
        """The type of a kind; None when it is not known."""
        name = self.facts.kinds.get((api_version, kind))
        if name is not None:
            return self.facts.compiler.definition(name)
        custom = self._custom.get((api_version, kind))
        return custom.schema if custom else None

    def resources(self) -> tuple[Resource, ...]:
        """Everything that is served, custom kinds last."""
        return (*self.facts.resources, *(custom.resource for custom in self._custom.values()))

    def custom_kinds(self) -> tuple[CustomKind, ...]:
        """Every served version of every custom kind."""
        return tuple(self._custom.values())

    def custom_kind(self, api_version: str, kind: str) -> CustomKind | None:
        """One served version of a custom kind."""
        return self._custom.get((api_version, kind))

    def register_crd(self, definition: JsonObject) -> tuple[Resource, ...]:
        """Serve the kinds of a CustomResourceDefinition.

        Safe to repeat: what the same definition said before is replaced.

        Returns:
            Its resources.
        """
        self.unregister_crd(definition)
        sources = {
            text_at(version, "name"): object_at(version, "schema", "openAPIV3Schema")
            for version in objects_at(definition, "spec", "versions")
        }
        made = custom_resources(definition)
        for resource in made:
            source = sources[resource.version]
            schema = self.facts.compiler.custom(source)
            if not source:
                schema.values = DEDUCED
            self._custom[resource.api_version, resource.kind] = CustomKind(
                resource, schema, definition
            )
        return made

    def unregister_crd(self, definition: JsonObject) -> None:
        """Serve the kinds of a CustomResourceDefinition no longer.

        Safe to repeat: kinds that are gone are no matter.
        """
        name = text_at(definition, "metadata", "name")
        self._custom = {
            key: custom
            for key, custom in self._custom.items()
            if text_at(custom.definition, "metadata", "name") != name
        }
