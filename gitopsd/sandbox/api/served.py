"""The kinds that are served at the moment, by the names that paths have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.objects.resources import Resource
    from gitopsd.sandbox.objects.schemas import Schemas

# API groups of a real server whose objects the sandbox would have to obey, and cannot.
NEVER_SERVED = frozenset(
    {
        "admissionregistration.k8s.io",
        "apiregistration.k8s.io",
        "certificates.k8s.io",
        "events.k8s.io",
        "flowcontrol.apiserver.k8s.io",
        "metrics.k8s.io",
        "node.k8s.io",
        "resource.k8s.io",
        "storagemigration.k8s.io",
    }
)
# Kinds of a real server, in groups that are served, that nothing here would act upon; and an older
# version of one that is here.
NEVER_KINDS = frozenset(
    {
        ("", "v1", "bindings"),
        ("", "v1", "componentstatuses"),
        ("", "v1", "podtemplates"),
        ("", "v1", "replicationcontrollers"),
        ("autoscaling", "v1", "horizontalpodautoscalers"),
        ("networking.k8s.io", "v1", "ipaddresses"),
        ("networking.k8s.io", "v1", "servicecidrs"),
        ("storage.k8s.io", "v1", "csidrivers"),
        ("storage.k8s.io", "v1", "csinodes"),
        ("storage.k8s.io", "v1", "csistoragecapacities"),
        ("storage.k8s.io", "v1", "volumeattachments"),
        ("storage.k8s.io", "v1", "volumeattributesclasses"),
    }
)
# kubectl goes by the order of discovery where a short name has two meanings.
_FIRST = ("", "apps", "batch", "autoscaling")


def kind_of(resource: Resource) -> Kind:
    """Where objects of a resource are stored, whatever its version."""
    return Kind(resource.group, resource.plural)


class ServedResources:
    """Every resource that is served; the built-in ones, and custom ones as they are defined."""

    def __init__(self, schemas: Schemas) -> None:
        self.schemas = schemas
        self._found: dict[tuple[str, str, str], Resource] = {}
        self._refresh()

    def add_definition(self, definition: JsonObject) -> None:
        """Serve what a CustomResourceDefinition defines. Safe to repeat."""
        self.schemas.register_crd(definition)
        self._refresh()

    def remove_definition(self, definition: JsonObject) -> None:
        """Serve it no longer. Safe to repeat."""
        self.schemas.unregister_crd(definition)
        self._refresh()

    def find(self, group: str, version: str, plural: str) -> Resource | None:
        """The resource that a path names; None when it is not served."""
        return self._found.get((group, version, plural))

    def preferred(self, kind: Kind) -> Resource | None:
        """A collection in the version that comes first; None when it is not served."""
        found = (item for item in self._found.values() if kind_of(item) == kind)
        return min(found, key=lambda item: version_rank(item.version), default=None)

    def of_kind(self, api_version: str, name: str) -> Resource | None:
        """The resource of objects with this ``apiVersion`` and ``kind``."""
        found = (item for item in self._found.values() if item.api_version == api_version)
        return next((item for item in found if item.kind == name), None)

    def groups(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        """Each API group with its versions, best first; the core group is the empty one."""
        versions: dict[str, set[str]] = {}
        for item in self._found.values():
            versions.setdefault(item.group, set()).add(item.version)
        order = sorted(versions, key=lambda name: (_place(name), name))
        return tuple((name, tuple(sorted(versions[name], key=version_rank))) for name in order)

    def of_version(self, group: str, version: str) -> Iterator[Resource]:
        """The resources of one group and version by name."""
        found = (item for item in self._found.values())
        chosen = (item for item in found if (item.group, item.version) == (group, version))
        return iter(sorted(chosen, key=lambda item: item.plural))

    def _refresh(self) -> None:
        self._found = {
            (item.group, item.version, item.plural): item
            for item in self.schemas.resources()
            if item.group not in NEVER_SERVED
        }


def version_rank(version: str) -> tuple[int, int, int, str]:
    """Sorts API versions as Kubernetes prefers them: v2, v1, v1beta2, v1beta1, v1alpha1, others."""
    rest = version.removeprefix("v")
    for rank, word in ((1, "beta"), (2, "alpha")):
        major, found, minor = rest.partition(word)
        if found and major.isdigit() and minor.isdigit():
            return (rank, -int(major), -int(minor), "")
    if version.startswith("v") and rest.isdigit():
        return (0, -int(rest), 0, "")
    return (3, 0, 0, version)


def _place(group: str) -> int:
    return _FIRST.index(group) if group in _FIRST else len(_FIRST)
