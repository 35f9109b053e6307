"""Facts of the guides that the five systems were deployed by, and where they stand now.

``tests/fixtures/systems/NAME.yaml`` holds, for ``manifests/NAME``::

    facts:
      - {overlay: production, object: Deployment/api, path: spec.replicas, value: 3, guide: 399}
      - {application: "stages[name=production].certify", value: 60s, guide: 863}
      - {told: slack, trigger: on-rollback-succeeded, guide: 1128}
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
* ``application``: instead of overlay, object and path, where in ``spec`` of the example application
  file it stands, as it is written there.
* ``told``: type of the example channel that hears of the application's ``trigger``.
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
EXAMPLES = ROOT / "config" / "examples"
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
_KEYS_OF_SETTINGS = {"application", "value", "contains", "absent", "guide"}
_KEYS_OF_CALLS = {"told", "trigger", "guide"}


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
        if _agrees(stands, self.saying, self.wanted):
            return ""
        return f"{self}: {stands!r}, not {self.wanted!r}"

    def _is_about(self, one: Mapping[str, Any]) -> bool:
        kind, namespace, name = self.target
        metadata = one["metadata"]
        in_namespace = not namespace or metadata.get("namespace", "") == namespace
        return (one["kind"], metadata["name"]) == (kind, name) and in_namespace


@dataclass(frozen=True, slots=True)
class Setting:
    """One row about the application file.

    Attributes:
        path: Where to look, from ``spec``.
        saying: ``value``, ``contains`` or ``absent``.
        wanted: What that says.
        line: The guide's.
    """

    path: str
    saying: str
    wanted: object
    line: int

    def __str__(self) -> str:
        return f"application: {self.path} (line {self.line} of the guide)"

    def check(self, application: Mapping[str, Any]) -> str:
        """Compare with an application file; returns what is wrong, or nothing.

        Raises:
            FactError: The path is none.
        """
        stands = find_value(application["spec"], self.path)
        if _agrees(stands, self.saying, self.wanted):
            return ""
        return f"{self}: {stands!r}, not {self.wanted!r}"


@dataclass(frozen=True, slots=True)
class Call:
    """One row about who is told.

    Attributes:
        channel: Type of the channel.
        trigger: What it is told of.
        line: The guide's.
    """

    channel: str
    trigger: str
    line: int


def _agrees(stands: object, saying: str, wanted: object) -> bool:
    match saying:
        case "absent":
            return stands is NOTHING
        case "contains":
            return isinstance(stands, str) and str(wanted) in stands
        case _:
            # True equals 1 in Python, and a quoted figure is no figure in Kubernetes.
            return type(stands) is type(wanted) and stands == wanted


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What a guide says, and neither manifests nor the application file.

    Attributes:
        what: The fact.
        line: The guide's.
        reason: Why it stands nowhere.
    """

    what: str
    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Guide:
    """All facts of one system.

    Attributes:
        system: Its name.
        rows: How many are about manifests; each may hold in several overlays.
        facts: One for each overlay of each row about manifests.
        settings: Rows about the application file.
        calls: Rows about who is told.
        left_out: What stands nowhere.
    """

    system: str
    rows: int
    facts: tuple[Fact, ...]
    settings: tuple[Setting, ...]
    calls: tuple[Call, ...]
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
    settings = [row for row in rows if "application" in row]
    calls = [row for row in rows if "told" in row]
    facts = [row for row in rows if not {"application", "told"} & row.keys()]
    return Guide(
        system=system,
        rows=len(facts),
        facts=tuple(fact for row in facts for fact in _read_row(system, row)),
        settings=tuple(_read_setting(system, row) for row in settings),
        calls=tuple(_read_call(system, row) for row in calls),
        left_out=tuple(_read_left_out(system, row) for row in left_out),
    )


def _read_setting(system: str, row: Mapping[str, Any]) -> Setting:
    saying = sorted(row.keys() & _SAYING)
    if len(saying) != 1 or not {"application", "guide"} <= row.keys() <= _KEYS_OF_SETTINGS:
        raise FactError(f"{system}: {row} is no row")
    return Setting(str(row["application"]), saying[0], row[saying[0]], int(row["guide"]))


def _read_call(system: str, row: Mapping[str, Any]) -> Call:
    if row.keys() != _KEYS_OF_CALLS:
        raise FactError(f"{system}: {row} is no row")
    return Call(str(row["told"]), str(row["trigger"]), int(row["guide"]))


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


def read_application(system: str) -> Mapping[str, Any]:
    """Read the application file that people copy."""
    text = (EXAMPLES / "applications" / f"{system}.yaml").read_text(encoding="utf-8")
    document: Mapping[str, Any] = yaml.safe_load(text)
    return document


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
