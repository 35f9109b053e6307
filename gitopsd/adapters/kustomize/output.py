"""Reads what kustomize wrote: objects with identities, each of them once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ryaml import (  # type: ignore[attr-defined] # re-exported without saying so
    InvalidYamlError,
    loads_all,
)

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey
from gitopsd.errors import PermanentError
from gitopsd.kube.objects import parse_ref


class OutputError(Exception):
    """The output cannot be used.

    Args:
        reason: PascalCase word.
        sentence: What is wrong.
        key: The object it is about; None when it is about no single one.
    """

    def __init__(self, reason: str, sentence: str, key: ObjectKey | None = None) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.sentence = sentence
        self.key = key


def parse_output(content: bytes, most: int) -> tuple[JsonObject, ...]:
    """Parse rendered objects, lists taken apart.

    kustomize writes its output from JSON, so that nothing is left of YAML 1.1 in it: what it read
    as a number, a date or a boolean is spelled so that every parser reads the same.

    Args:
        content: YAML documents.
        most: How many objects are taken.

    Raises:
        OutputError: ``DuplicateObject``, ``InvalidObject``, ``OutputTooLarge`` or ``BadOutput``.
    """
    try:
        documents: list[Json] = loads_all(content.decode()) or []
    except (InvalidYamlError, ValueError, TypeError) as error:
        raise OutputError("BadOutput", f"kustomize wrote what is not YAML: {error}") from error
    objects = tuple(obj for document in documents for obj in _flatten(document))
    if len(objects) > most:
        raise OutputError("OutputTooLarge", f"the overlay has more than {most:,} objects")
    _check_identities(objects)
    return objects


def _flatten(document: Json) -> Iterator[JsonObject]:
    if document is None:
        return
    if not isinstance(document, Mapping):
        shown = type(document).__name__
        raise OutputError("InvalidObject", f"a document is a {shown}, not an object")
    items = document.get("items")
    if document.get("kind") == "List" and isinstance(items, list):
        for item in items:
            yield from _flatten(item)
    else:
        yield document


def _check_identities(objects: tuple[JsonObject, ...]) -> None:
    seen: set[ObjectKey] = set()
    for obj in objects:
        try:
            key = parse_ref(obj).key
        except PermanentError as error:
            raise OutputError("InvalidObject", error.message) from error
        if key in seen:
            raise OutputError("DuplicateObject", f"{key} is there twice", key)
        seen.add(key)
