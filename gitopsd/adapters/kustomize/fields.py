"""Every field of a kustomization file: which name files, which are refused.

The list is kustomize's own (api/types/kustomization.go of v5.8); what is not in it is refused,
because an unknown field may name files that the walk would miss. Go matches keys without regard
to case, so a key in unusual case is unknown here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from gitopsd.domain.manifests import Json, JsonObject

PLAIN_FIELDS = frozenset(
    {
        "apiVersion",
        "kind",
        "metadata",
        "namePrefix",
        "nameSuffix",
        "namespace",
        "commonLabels",
        "labels",
        "commonAnnotations",
        "images",
        "imageTags",
        "replicas",
        "vars",
        "sortOptions",
        "generatorOptions",
        "buildMetadata",
    }
)
PLUGIN_FIELDS = frozenset({"generators", "transformers", "validators"})
HELM_FIELDS = frozenset({"helmCharts", "helmGlobals", "helmChartInflationGenerator"})
GENERATOR_FIELDS = frozenset({"configMapGenerator", "secretGenerator"})
TOP_ONLY_FIELDS = frozenset({"buildMetadata", "openapi"})
_PATCH_KEYS = frozenset({"path", "patch", "target", "options"})
_GENERATOR_KEYS = frozenset(
    {"namespace", "name", "behavior", "literals", "files", "envs", "env", "options", "type"}
)
_REPLACEMENT_KEYS = frozenset({"path", "source", "targets"})
_OPENAPI_KEYS = frozenset({"path", "version"})

_REMOTE = re.compile(
    # Schemes and scp-like hosts; Go's URL parser takes "http:" without slashes too.
    r"(?:git::)?(?:[a-z][a-z0-9+.-]*:|[a-z][a-z0-9-]*@|github\.com[/:])|.*://",
    re.IGNORECASE | re.DOTALL,
)


class Role(Enum):
    """How kustomize reads what a field names."""

    RESOURCE = "Resource"  # a file, else a directory with a kustomization
    COMPONENT = "Component"  # a directory with a kustomization
    FILE = "File"
    PATCH = "Patch"  # a file, or the patch itself


@dataclass(frozen=True, slots=True)
class PathUse:
    """One value that names a file or a directory.

    Attributes:
        field: Top-level field.
        value: The value as written.
        path: The path in it.
        role: How it is read.
        occurrence: How many equal values of the field come before it.
    """

    field: str
    value: str
    path: str
    role: Role
    occurrence: int = 0


class FieldError(Exception):
    """A field of a kustomization file is refused.

    Args:
        reason: PascalCase word.
        sentence: What is wrong and what to do.
        field: Top-level field.
        name: Field inside it; empty for the field itself.
        value: The value that is refused; empty when it is the field.
    """

    def __init__(
        self, reason: str, sentence: str, *, field: str, name: str = "", value: str = ""
    ) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.field = field
        self.name = name
        self.value = value


def is_remote(path: str) -> bool:
    """Whether kustomize could take a path for a URL or a Git address, in any of its spellings."""
    return _REMOTE.match(path.strip()) is not None


def find_paths(document: JsonObject) -> tuple[PathUse, ...]:
    """List every path that a kustomization names, in the order of the file.

    Raises:
        FieldError: A field is unknown, refused, or of the wrong shape.
    """
    uses: list[PathUse] = []
    seen: dict[tuple[str, str], int] = {}
    for field in document:
        _check_field(field)
        for value, path, role in _paths_of(field, document[field]):
            count = seen.get((field, value), 0)
            seen[field, value] = count + 1
            uses.append(PathUse(field, value, path, role, count))
    return tuple(uses)


def count_generated(document: JsonObject) -> int:
    """Count the objects that a kustomization's generators make."""
    lists = (document.get(field) for field in GENERATOR_FIELDS)
    return sum(len(value) for value in lists if isinstance(value, list))


def _check_field(field: str) -> None:
    if field in PLUGIN_FIELDS:
        raise FieldError(
            "Plugin",
            f"{field} are refused: plug-ins run programs and read what the overlay does not name; "
            "use the built-in fields",
            field=field,
        )
    if field in HELM_FIELDS:
        sentence = f"{field} is refused: charts are not rendered; commit what the chart renders to"
        raise FieldError("HelmChart", sentence, field=field)
    if field not in PLAIN_FIELDS and field not in _READERS:
        sentence = f"{field!r} is no field of a kustomization; mind its spelling and case"
        raise FieldError("UnknownField", sentence, field=field)


def _paths_of(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    reader = _READERS.get(field)
    if reader is None or value is None:
        return
    yield from reader(field, value)


def _read_resources(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for text in _strings(field, value):
        yield text, text, Role.RESOURCE


def _read_components(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for text in _strings(field, value):
        yield text, text, Role.COMPONENT


def _read_files(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for text in _strings(field, value):
        yield text, text, Role.FILE


def _read_merge_patches(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for text in _strings(field, value):
        yield text, text, Role.PATCH


def _read_patches(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for item in _mappings(field, value, _PATCH_KEYS):
        yield from _path_in(field, item)


def _read_replacements(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for item in _mappings(field, value, _REPLACEMENT_KEYS):
        yield from _path_in(field, item)


def _read_openapi(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for item in _mappings(field, [value], _OPENAPI_KEYS):
        yield from _path_in(field, item)


def _read_generators(field: str, value: Json) -> Iterator[tuple[str, str, Role]]:
    for item in _mappings(field, value, _GENERATOR_KEYS):
        for text in _strings(field, item.get("files")):
            key, equals, path = text.partition("=")
            yield text, path if equals else key, Role.FILE
        for text in _strings(field, item.get("envs")):
            yield text, text, Role.FILE
        env = item.get("env")
        if env:
            yield from ((text, text, Role.FILE) for text in _strings(field, [env]))


_READERS = {
    "resources": _read_resources,
    "bases": _read_resources,
    "components": _read_components,
    "crds": _read_files,
    "configurations": _read_files,
    "patchesStrategicMerge": _read_merge_patches,
    "patches": _read_patches,
    "patchesJson6902": _read_patches,
    "replacements": _read_replacements,
    "openapi": _read_openapi,
    "configMapGenerator": _read_generators,
    "secretGenerator": _read_generators,
}


def _path_in(field: str, item: JsonObject) -> Iterator[tuple[str, str, Role]]:
    path = item.get("path")
    if path:
        yield from ((text, text, Role.FILE) for text in _strings(field, [path]))


def _strings(field: str, value: Json) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, list):
        raise FieldError("BadKustomization", f"{field} must be a list of paths", field=field)
    for item in value:
        if not isinstance(item, str):
            shown = type(item).__name__
            sentence = f"{field} holds a {shown} where a path is wanted; quote it if it is one"
            raise FieldError("BadKustomization", sentence, field=field)
        yield item


def _mappings(field: str, value: Json, known: frozenset[str]) -> Iterator[JsonObject]:
    if not isinstance(value, list):
        raise FieldError("BadKustomization", f"{field} must be a list", field=field)
    for item in value:
        if not isinstance(item, Mapping):
            raise FieldError("BadKustomization", f"{field} must hold mappings", field=field)
        for name in item:
            if name not in known:
                sentence = f"{name!r} is no field of {field}; mind its spelling and case"
                raise FieldError("UnknownField", sentence, field=field, name=str(name))
        yield item
