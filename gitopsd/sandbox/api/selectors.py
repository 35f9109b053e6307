"""Label and field selectors as they stand in queries."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from gitopsd.errors import PermanentError
from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.fields import field_at, objects_at, text_at, text_map_at, texts_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject

Select = Callable[["JsonObject"], bool]
_Requirement = Callable[[Mapping[str, str]], bool]

_NAME = r"(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?"
_VALUE = r"[A-Za-z0-9._-]*"
_FORMS = (
    (re.compile(rf"({_NAME})\s+(in|notin)\s*\(([^()]*)\)"), "set"),
    (re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_VALUE})"), "equal"),
    (re.compile(rf"({_NAME})\s*(<|>)\s*(-?\d+)"), "order"),
    (re.compile(rf"(!?)\s*({_NAME})"), "exists"),
)
_PODS = (
    "spec.nodeName",
    "spec.restartPolicy",
    "spec.schedulerName",
    "spec.serviceAccountName",
    "spec.hostNetwork",
    "status.phase",
    "status.podIP",
    "status.nominatedNodeName",
)
_EVENTS = (
    "involvedObject.kind",
    "involvedObject.namespace",
    "involvedObject.name",
    "involvedObject.uid",
    "involvedObject.apiVersion",
    "involvedObject.resourceVersion",
    "involvedObject.fieldPath",
    "reason",
    "reportingComponent",
    "source",
    "type",
)
_FIELDS: Mapping[Kind, tuple[str, ...]] = {
    Kind("", "pods"): _PODS,
    Kind("", "events"): _EVENTS,
    Kind("", "nodes"): ("spec.unschedulable",),
    Kind("", "secrets"): ("type",),
    Kind("", "namespaces"): ("status.phase",),
    Kind("", "services"): ("spec.clusterIP", "spec.type"),
    Kind("apps", "replicasets"): ("status.replicas",),
    Kind("batch", "jobs"): ("status.successful",),
}
_ALWAYS = ("metadata.name", "metadata.namespace")
# Where the name of a selectable field is not its path, and what an absent one counts as.
_PATHS = {"status.successful": "status.succeeded", "source": "source.component"}
_ABSENT = {
    "spec.unschedulable": "false",
    "spec.hostNetwork": "false",
    "status.successful": "0",
    "status.replicas": "0",
}


class SelectorError(PermanentError):
    """A selector cannot be read; the message is the API server's."""

    reason = "BadRequest"


def parse_label_selector(text: str) -> Select:
    """Read a label selector: equality, sets and existence, all of which must hold.

    Raises:
        SelectorError: It is none.
    """
    requirements = [_requirement(part) for part in _split(text)]

    def select(obj: JsonObject) -> bool:
        labels = text_map_at(obj, "metadata", "labels")
        return all(holds(labels) for holds in requirements)

    return select


def parse_field_selector(text: str, kind: Kind, extra: tuple[str, ...] = ()) -> Select:
    """Read a field selector for a kind.

    Args:
        text: ``field=value`` and ``field!=value``, separated by commas.
        kind: The collection.
        extra: Fields beyond the built-in ones, as a CustomResourceDefinition names them.

    Raises:
        SelectorError: It is none, or names a field that cannot be selected by.
    """
    wanted = [_field_requirement(part, kind, extra) for part in text.split(",") if part]

    def select(obj: JsonObject) -> bool:
        return all((_said(obj, name) == value) is equal for name, value, equal in wanted)

    return select


def selected_name(text: str) -> str:
    """The one name that a field selector asks for; empty when it asks for others too."""
    for part in text.split(","):
        name, found, value = part.replace("==", "=").partition("=")
        if found and name == "metadata.name":
            return value
    return ""


def _split(text: str) -> Iterator[str]:
    depth, start = 0, 0
    for place, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            yield text[start:place].strip()
            start = place + 1
    if text[start:].strip() or start:
        yield text[start:].strip()


def _requirement(text: str) -> _Requirement:
    for pattern, form in _FORMS:
        found = pattern.fullmatch(text)
        if found is None:
            continue
        first, second, third = (*found.groups(), "")[:3]
        if form == "set":
            return _in_set(first, second, third)
        if form == "equal":
            return _equal(first, third, wanted=second != "!=")
        if form == "order":
            return _ordered(first, second, int(third))
        return lambda labels: (second in labels) is not (first == "!")
    said = f'unable to parse requirement: found "{text}", expected: a label selector requirement'
    raise SelectorError(said)


def _in_set(name: str, operator: str, listed: str) -> _Requirement:
    values = {value.strip() for value in listed.split(",")}
    if operator == "in":
        return lambda labels: labels.get(name) in values if name in labels else False
    return lambda labels: labels.get(name) not in values


def _equal(name: str, value: str, *, wanted: bool) -> _Requirement:
    return lambda labels: (labels.get(name) == value) is wanted


def _ordered(name: str, operator: str, bound: int) -> _Requirement:
    def holds(labels: Mapping[str, str]) -> bool:
        value = labels.get(name, "")
        if not value.lstrip("-").isdigit():
            return False
        return int(value) > bound if operator == ">" else int(value) < bound

    return holds


def _field_requirement(text: str, kind: Kind, extra: tuple[str, ...]) -> tuple[str, str, bool]:
    for operator, equal in (("!=", False), ("==", True), ("=", True)):
        name, found, value = text.partition(operator)
        if not found:
            continue
        if name not in (*_ALWAYS, *_FIELDS.get(kind, ()), *extra):
            if kind in _FIELDS:
                raise SelectorError(f"field label not supported: {name}")
            known = '"metadata.name", "metadata.namespace"'
            raise SelectorError(f'"{name}" is not a known field selector: only {known}')
        return (name, _unescape(value), equal)
    raise SelectorError(f"invalid selector: '{text}'; can't understand '{text}'")


def _unescape(value: str) -> str:
    return re.sub(r"\\([\\,=])", r"\1", value)


def _said(obj: JsonObject, name: str) -> str:
    path = _PATHS.get(name, name).split(".")
    value: Json = field_at(obj, *path)
    if value is None and name == "source":
        return text_at(obj, "reportingComponent")
    if value is None:
        return _ABSENT.get(name, "")
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)


def matches_selector(selector: JsonObject, obj: JsonObject) -> bool:
    """Whether an object's labels fit a LabelSelector object; an empty one fits all."""
    labels = text_map_at(obj, "metadata", "labels")
    wanted = text_map_at(selector, "matchLabels")
    if any(labels.get(name) != value for name, value in wanted.items()):
        return False
    for item in objects_at(selector, "matchExpressions"):
        name, values = text_at(item, "key"), texts_at(item, "values")
        holds = {
            "In": name in labels and labels[name] in values,
            "NotIn": labels.get(name) not in values,
            "Exists": name in labels,
            "DoesNotExist": name not in labels,
        }
        if not holds.get(text_at(item, "operator"), False):
            return False
    return True
