"""Turns what kustomize wrote about a failed build into one sentence and its place.

kustomize wraps each error in those of every base above it, names files relative to a base it
does not name, prints whole objects, and counts YAML lines one off. The innermost cause is kept;
its place is looked up in the exported files.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

from gitopsd.adapters.kustomize.inputs import Inputs
from gitopsd.adapters.kustomize.locating import find_field_line
from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.adapters.kustomize.scouting import parse_yaml
from gitopsd.adapters.kustomize.walker import KUSTOMIZATION_NAMES
from gitopsd.domain.manifests import Json

MAX_SENTENCE = 300
_FILE = re.compile(
    r"""(?:in File: |from ['"]|\[?path: "?|loading CRDs \[|^- )([^\s'"\]]+)""", re.MULTILINE
)
_BASE = re.compile(r"(?:recursed accumulation of|make target for) path '([^']+)'")
_DUPLICATE = re.compile(
    r"already registered id: (\w+)\.\S*?/(.+?)\.\[?[^.\[\]]+\]?(?:'|$)", re.MULTILINE
)
_TARGET = re.compile(r"no matches for Id (\w+)\.\S*?/(.+?)\.\[?[^.\[\]]+\]?(?:;|'|$)", re.MULTILINE)
_FIELD = re.compile(r"Go struct field Kustomization\.(\w+)")
_OBJECT_DUMP = re.compile(r"map\[string\]interface \{\}.*?(?=(?:json|yaml): )", re.DOTALL)
_RESOURCE_ID = re.compile(r"""resid\.ResId\{.*?Kind:"([^"]*)".*?Name:"([^"]*)".*?\}""")
_POINTER = re.compile(r"from generator &\{[^}]*\}")
_STRUCT_DUMP = re.compile(r" in object \{\{.*?\}\}+")
_NOT_A_FILE = re.compile(
    r"accumulation err='accumulating resources from '[^']*': '[^']*' must resolve to a file': "
)
_CONFIGURATION = re.compile(r" with config: `.*?`: ", re.DOTALL)
_LINE = re.compile(r"line (\d+)")
_TAILS = (": must build at directory:", " in File: ")
_HEADS = (
    "MalformedYAMLError: ",
    "accumulating resources: ",
    "invalid Kustomization: ",
)


def explain_failure(stderr: str, root: Path, overlay_file: str, inputs: Inputs) -> RefusedError:
    """Say why a build failed, and where.

    Args:
        stderr: What kustomize wrote to standard error.
        root: Directory of the exported files, still there.
        overlay_file: The overlay's kustomization in the repository.
        inputs: What was exported.
    """
    text = _without_warnings(stderr).replace(f"{root}/", "").strip()
    found = _DUPLICATE.search(text)
    if found is not None:
        return explain_duplicate(found[1], found[2], root, overlay_file, inputs)
    mentioned = list(_mentioned(text, overlay_file, inputs))
    for path in mentioned or (sorted(inputs.manifests) if "yaml" in text.lower() else []):
        try:
            parse_yaml(path, (root / path).read_bytes())
        except RefusedError as refused:
            return refused
    sentence = _shorten(text)
    if mentioned:
        line = _LINE.search(text)
        place = Place(mentioned[0], int(line[1]) if line else 1)
        return RefusedError("BuildFailed", place, sentence)
    return RefusedError("BuildFailed", _find_place(text, root, overlay_file, inputs), sentence)


def explain_duplicate(
    kind: str, name: str, root: Path, overlay_file: str, inputs: Inputs
) -> RefusedError:
    """Say that an object is there twice, with both places when they can be found."""
    places = list(_find_objects(kind, name, root, inputs))
    if len(places) > 1:
        sentence = f"{kind} {name} is there twice, first at {places[0]}; remove one of them"
        return RefusedError("DuplicateObject", places[1], sentence)
    sentence = f"{kind} {name} is there twice; remove one of them"
    return RefusedError("DuplicateObject", places[0] if places else Place(overlay_file), sentence)


def _without_warnings(stderr: str) -> str:
    lines = (line for line in stderr.splitlines() if not line.startswith("# Warning"))
    return "\n".join(lines).removeprefix("error: ").removeprefix("Error: ")


def _shorten(text: str) -> str:
    """Keep the innermost cause, on one line, without dumped objects."""
    text = _STRUCT_DUMP.sub("", _OBJECT_DUMP.sub("an object cannot be written as JSON: ", text))
    text = _CONFIGURATION.sub(": ", _NOT_A_FILE.sub("", text))
    for tail in _TAILS:
        text = text.partition(tail)[0]
    text = re.split(r"(?:accumulating|merging) resources from '[^']*': ", text)[-1]
    text = re.split(r"of path '[^']*': ", text)[-1]
    for head in _HEADS:
        text = text.rpartition(head)[2]
    text = _RESOURCE_ID.sub(r"\1 \2", _POINTER.sub("a generator", text))
    line = " ".join(text.split()).strip("' ")
    return line if len(line) <= MAX_SENTENCE else f"{line[:MAX_SENTENCE]}..."


def _mentioned(text: str, overlay_file: str, inputs: Inputs) -> Iterator[str]:
    """List the inputs that a message names, the innermost first."""
    bases = [posixpath.dirname(overlay_file), *_BASE.findall(text)]
    for name in reversed(_FILE.findall(text)):
        for base in reversed(bases):
            path = posixpath.normpath(posixpath.join(base, name))
            if path in inputs.manifests:
                yield path


def _find_place(text: str, root: Path, overlay_file: str, inputs: Inputs) -> Place:
    target = _TARGET.search(text)
    if target is not None:
        for place in _find_objects(target[1], target[2], root, inputs):
            return place
    field = _FIELD.search(text)
    if field is not None:
        content = (root / overlay_file).read_text(encoding="utf-8", errors="replace")
        return Place(overlay_file, find_field_line(content, field[1]))
    if "map[interface {}]interface {}" in text or "invalid map key" in text:
        for path in sorted(inputs.manifests):
            if _has_odd_key(path, root):
                return Place(path)
    for base in reversed(_BASE.findall(text)):
        for name in KUSTOMIZATION_NAMES:
            if f"{base}/{name}" in inputs.input_set.files:
                return Place(f"{base}/{name}")
    return Place(overlay_file)


def _find_objects(kind: str, name: str, root: Path, inputs: Inputs) -> Iterator[Place]:
    """List where an object of that kind and name is written, in the order of the inputs."""
    kind_line = re.compile(rf"""\bkind["']?:\s*["']?{re.escape(kind)}\b""")
    name_line = re.compile(rf"""\bname["']?:\s*["']?{re.escape(name)}(?![\w.-])""")
    for path in inputs.input_set.files:
        if path in inputs.manifests:
            text = (root / path).read_text(encoding="utf-8", errors="replace")
            for first, document in _documents(text):
                if kind_line.search(document) and name_line.search(document):
                    yield Place(path, first)


def _documents(text: str) -> Iterator[tuple[int, str]]:
    """Split a file at its document markers; yields the first line that says something."""
    line = 1
    for part in re.split(r"(?m)^---.*$", text):
        body = part.lstrip("\n")
        yield line + len(part) - len(body), body
        line += part.count("\n")


def _has_odd_key(path: str, root: Path) -> bool:
    try:
        documents = parse_yaml(path, (root / path).read_bytes())
    except RefusedError:
        return True
    return any(_holds_odd_key(document) for document in documents)


def _holds_odd_key(value: Json) -> bool:
    if isinstance(value, dict):
        return any(not isinstance(key, str) or _holds_odd_key(value[key]) for key in value)
    return isinstance(value, list) and any(_holds_odd_key(item) for item in value)
