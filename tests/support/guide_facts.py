"""Facts of the guides that the five systems were deployed by, and where they stand in manifests.

``tests/fixtures/systems/NAME.yaml`` holds, for ``manifests/NAME``::

    facts:
      - {overlay: production, object: Deployment/api, path: spec.replicas, value: 3, guide: 399}
    leftOut:
      - {what: daily full backup, guide: 834, reason: the database runs outside of the cluster}

* ``overlay``: folder in ``overlays/``; a list says that the fact holds in each of them.
* ``object``: ``KIND/NAME``, or ``KIND/NAMESPACE/NAME`` where two namespaces have one of a name. The
  hash that kustomize appends to generated ConfigMaps and Secrets is left out, here and in values.
* ``path``: keys and indexes as in a check's ``jsonPath``; ``[name=api]`` takes the item of a list
  that has that value, ``[resource.name=cpu]`` looks deeper, ``[a.key/with.dots]`` is one key. Left
  out, the row says that the object is there.
* ``value``: what stands there, with its type; ``contains``: a part of a text, for files in
  ConfigMaps; ``absent: true``: nothing stands there.
* ``guide``: the line of the guide.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped] # comes with another package, without types

from tests.support.kustomize_oracle import run_kubectl

ROOT = Path(__file__).resolve().parents[2]
FACTS = ROOT / "tests" / "fixtures" / "systems"
MANIFESTS = ROOT / "manifests"

_PART = re.compile(
    r"""\.?(?P<key>[^.\[\]'"\s]+)
      | \[(?P<index>[0-9]+)\]
      | \[(?P<field>[A-Za-z0-9.]+)=(?P<wanted>[^\]]+)\]
      | \[(?P<dotted>[^\]=]+)\]""",
    re.VERBOSE,
)
_GENERATED = ("ConfigMap", "Secret")
_HASHED = re.compile(r"(.+)-[2456789bcdfghkmt]{10}")
_KEYS = {"overlay", "object", "path", "value", "contains", "absent", "guide"}
_SAYING = {"value", "contains", "absent"}


class FactError(Exception):
    """A row is not one."""


class _Nothing:
    def __repr__(self) -> str:
        return "nothing"


NOTHING = _Nothing()


@dataclass(frozen=True, slots=True)
class Fact:
    """One row, for one overlay.

    Attributes:
        overlay: Folder in ``overlays/``.
        target: Kind, namespace (empty: any) and name.
        path: Where to look; empty: whether the object is there.
        saying: ``value``, ``contains`` or ``absent``; empty for the object itself.
        wanted: What that says.
        line: The guide's.
    """

    overlay: str
    target: tuple[str, str, str]
    path: str
    saying: str
    wanted: object
    line: int

    def __str__(self) -> str:
        name = "/".join(part for part in self.target if part)
        return f"{self.overlay}: {name} {self.path or 'itself'} (line {self.line} of the guide)"

    def check(self, objects: Iterable[Mapping[str, Any]]) -> str:
        """Compare with what an overlay renders to; returns what is wrong, or nothing.

        Raises:
            FactError: The row names more than one object, or its path is none.
        """
        found = [one for one in objects if self._is_about(one)]
        if len(found) > 1:
            raise FactError(f"{self}: there are {len(found)} of that name; write KIND/NAMESPACE")
        if not found:
            return "" if self.saying == "absent" and not self.path else f"{self}: no such object"
        if not self.path:
            return f"{self}: it is there" if self.saying == "absent" else ""
        stands = find_value(found[0], self.path)
        return "" if self._agrees(stands) else f"{self}: {stands!r}, not {self.wanted!r}"

    def _is_about(self, one: Mapping[str, Any]) -> bool:
        kind, namespace, name = self.target
        metadata = one["metadata"]
        in_namespace = not namespace or metadata.get("namespace", "") == namespace
        return (one["kind"], metadata["name"]) == (kind, name) and in_namespace

    def _agrees(self, stands: object) -> bool:
        match self.saying:
            case "absent":
                return stands is NOTHING
            case "contains":
                return isinstance(stands, str) and str(self.wanted) in stands
            case _:
                # True equals 1 in Python, and a quoted figure is no figure in Kubernetes.
                return type(stands) is type(self.wanted) and stands == self.wanted


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a guide says and manifests cannot.

    Attributes:
        what: The fact.
        line: The guide's.
        reason: Why it stands in no manifest.
    """

    what: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Guide:
    """All facts of one system.

    Attributes:
        system: Its name.
        rows: As written; each may hold in several overlays.
        facts: One for each overlay of each row.
        left_out: What stands in no manifest.
    """

    system: str
    rows: int
    facts: tuple[Fact, ...]
    left_out: tuple[LeftOut, ...]


def list_systems() -> list[str]:
    """The systems whose facts are written down."""
    return sorted(path.stem for path in FACTS.glob("*.yaml"))


def load_guide(system: str) -> Guide:
    """Read the facts of a system.

    Raises:
        FactError: A row has a key that is none, or lacks one.
    """
    document = yaml.safe_load((FACTS / f"{system}.yaml").read_text())
    if document.keys() != {"facts", "leftOut"}:
        raise FactError(f"{system}: a file holds facts and leftOut, not {sorted(document)}")
    rows, left_out = document["facts"], document["leftOut"]
    facts = tuple(fact for row in rows for fact in _read_row(system, row))
    return Guide(system, len(rows), facts, tuple(_read_left_out(system, row) for row in left_out))


def _read_row(system: str, row: Mapping[str, Any]) -> list[Fact]:
    saying = sorted(row.keys() & _SAYING)
    needs_saying = "path" in row
    if not {"overlay", "object", "guide"} <= row.keys() <= _KEYS or (
        len(saying) > 1 or (needs_saying and not saying)
    ):
        raise FactError(f"{system}: {row} is no row")
    match str(row["object"]).split("/"):
        case [kind, name]:
            target = (kind, "", name)
        case [kind, namespace, name]:
            target = (kind, namespace, name)
        case _:
            raise FactError(f"{system}: {row['object']} is neither KIND/NAME nor with a namespace")
    named = row["overlay"]
    overlays = named if isinstance(named, list) else [named]
    word = saying[0] if saying else ""
    wanted = row[word] if word else None
    line = int(row["guide"])
    return [
        Fact(str(one), target, str(row.get("path", "")), word, wanted, line) for one in overlays
    ]


def _read_left_out(system: str, row: Mapping[str, Any]) -> LeftOut:
    if row.keys() != {"what", "guide", "reason"}:
        raise FactError(f"{system}: {row} does not say what, guide and reason")
    return LeftOut(str(row["what"]), int(row["guide"]), str(row["reason"]))


@cache
def render(system: str, overlay: str) -> Sequence[Mapping[str, Any]]:
    """Render an overlay with kustomize itself; names of generated objects come without hashes."""
    objects = run_kubectl(MANIFESTS / system / "overlays" / overlay)
    names = {
        one["metadata"]["name"]: hashed[1]
        for one in objects
        if one["kind"] in _GENERATED and (hashed := _HASHED.fullmatch(one["metadata"]["name"]))
    }
    return tuple(_rename(one, names) for one in objects)


def _rename(value: Any, names: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever YAML holds
    match value:
        case dict():
            return {key: _rename(inner, names) for key, inner in value.items()}
        case list():
            return [_rename(inner, names) for inner in value]
        case str():
            return names.get(value, value)
        case _:
            return value


def find_value(document: object, path: str) -> object:
    """Follow a path; `NOTHING` when the document ends before it.

    Raises:
        FactError: The text is no path.
    """
    value, position = document, 0
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            raise FactError(f"{path!r} is no path from {path[position:]!r} on")
        value, position = _step(value, part), part.end()
    return value


def _step(value: object, part: re.Match[str]) -> object:
    key = part["key"] or part["dotted"]
    if key is not None:
        return value.get(key, NOTHING) if isinstance(value, Mapping) else NOTHING
    if not isinstance(value, list):
        return NOTHING
    if part["index"] is not None:
        index = int(part["index"])
        return value[index] if index < len(value) else NOTHING
    chosen = [one for one in value if str(find_value(one, part["field"])) == part["wanted"]]
    return chosen[0] if len(chosen) == 1 else NOTHING
