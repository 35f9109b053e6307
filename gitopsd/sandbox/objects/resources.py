"""The resources that the sandbox serves: what discovery says of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import flag_at, object_at, objects_at, text_at, texts_at

CUSTOM_VERBS = (
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
)


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of a resource with a path of its own, such as ``status``.

    Attributes:
        name: The path's last part.
        kind: The kind that it is read and written as.
        group: That kind's group.
        version: That kind's version.
        verbs: What may be done.
    """

    name: str
    kind: str
    group: str
    version: str
    verbs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resource:
    """A collection of objects of one kind.

    Attributes:
        group: API group; empty for core.
        version: API version, without the group.
        plural: The path's name.
        singular: What people may write instead.
        kind: The kind of its objects.
        namespaced: Whether its objects live in namespaces.
        verbs: What may be done.
        short_names: What people may write instead.
        categories: Groups of resources it is in, such as ``all``.
        subresources: Its parts.
        custom: Whether a CustomResourceDefinition made it.
    """

    group: str
    version: str
    plural: str
    singular: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: tuple[Subresource, ...] = ()
    custom: bool = False

    @property
    def api_version(self) -> str:
        """``apiVersion`` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """Its name in messages: ``deployments.apps``."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def root(self) -> str:
        """Where its API version is served: ``/apis/apps/v1``."""
        return f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"

    def has_status(self) -> bool:
        """Whether its status has a path of its own."""
        return any(part.name == "status" for part in self.subresources)


def parse_resource(fact: JsonObject) -> Resource:
    """A resource from the packaged facts."""
    group, version = text_at(fact, "group"), text_at(fact, "version")
    return Resource(
        group=group,
        version=version,
        plural=text_at(fact, "plural"),
        singular=text_at(fact, "singular"),
        kind=text_at(fact, "kind"),
        namespaced=flag_at(fact, "namespaced"),
        verbs=texts_at(fact, "verbs"),
        short_names=texts_at(fact, "shortNames"),
        categories=texts_at(fact, "categories"),
        subresources=tuple(
            Subresource(
                name=text_at(part, "name"),
                kind=text_at(part, "kind"),
                group=text_at(part, "responseGroup", default=group),
                version=text_at(part, "responseVersion", default=version),
                verbs=texts_at(part, "verbs"),
            )
            for part in objects_at(fact, "subresources")
        ),
    )


def custom_resources(definition: JsonObject) -> tuple[Resource, ...]:
    """The resources of a CustomResourceDefinition, one for each served version."""
    spec = object_at(definition, "spec")
    names = object_at(spec, "names")
    kind = text_at(names, "kind")
    return tuple(
        Resource(
            group=text_at(spec, "group"),
            version=text_at(version, "name"),
            plural=text_at(names, "plural"),
            singular=text_at(names, "singular", default=kind.lower()),
            kind=kind,
            namespaced=text_at(spec, "scope") == "Namespaced",
            verbs=CUSTOM_VERBS,
            short_names=texts_at(names, "shortNames"),
            categories=texts_at(names, "categories"),
            subresources=_custom_subresources(spec, version),
            custom=True,
        )
        for version in objects_at(spec, "versions")
        if flag_at(version, "served")
    )


def _custom_subresources(spec: JsonObject, version: JsonObject) -> tuple[Subresource, ...]:
    verbs = ("get", "patch", "update")
    parts = object_at(version, "subresources")
    found = []
    if isinstance(parts.get("status"), Mapping):
        group, name = text_at(spec, "group"), text_at(version, "name")
        found.append(Subresource("status", text_at(spec, "names", "kind"), group, name, verbs))
    if isinstance(parts.get("scale"), Mapping):
        found.append(Subresource("scale", "Scale", "autoscaling", "v1", verbs))
    return tuple(found)
