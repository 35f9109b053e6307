"""Rules of every object's metadata, of labels and of label selectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.sandbox.fields import object_at, text_at, texts_at
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules.complaints import Complaints, items
from gitopsd.sandbox.objects.rules.names import (
    label_problems,
    label_value_problems,
    path_segment_problems,
    qualified_problems,
    subdomain_problems,
)

_ANNOTATION_BYTES = 256 * 1024
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_LABELS = frozenset({("", "namespaces"), ("", "services"), ("apps", "statefulsets")})
_ROLES = frozenset({"clusterrolebindings", "clusterroles", "rolebindings", "roles"})
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def _name_rule(resource: Resource) -> Callable[[str], tuple[str, ...]]:
    if (resource.group, resource.plural) in _LABELS:
        return label_problems
    if resource.plural in _ROLES or resource.plural == "events":
        return path_segment_problems
    return subdomain_problems


def check_new_metadata(resource: Resource, obj: JsonObject, told: Complaints) -> None:
    """Metadata of an object that is created."""
    metadata = object_at(obj, "metadata")
    rule = _name_rule(resource)
    name, base = text_at(metadata, "name"), text_at(metadata, "generateName")
    if base:
        # What is generated follows, so that a last hyphen does no harm.
        for problem in rule(f"{base[:-1]}a" if base.endswith("-") else base):
            told.invalid("metadata.generateName", base, problem)
    if not name:
        told.required("metadata.name", "name or generateName is required")
    else:
        for problem in rule(name):
            told.invalid("metadata.name", name, problem)
    check_metadata(metadata, told, custom=resource.custom)


def check_metadata(metadata: JsonObject, told: Complaints, *, custom: bool) -> None:
    """Labels, annotations, owners and finalizers."""
    check_labels(metadata.get("labels"), "metadata.labels", told)
    _check_annotations(object_at(metadata, "annotations"), told)
    for path, owner in items(metadata.get("ownerReferences"), "metadata.ownerReferences"):
        for field in ("apiVersion", "kind", "name", "uid"):
            if not text_at(owner, field):
                told.required(f"{path}.{field}", "must not be empty")
    for index, finalizer in enumerate(texts_at(metadata, "finalizers")):
        path = f"metadata.finalizers[{index}]"
        problems = qualified_problems(finalizer)
        for problem in problems:
            told.invalid(path, finalizer, problem)
        standard = custom or finalizer in STANDARD_FINALIZERS
        if not problems and "/" not in finalizer and not standard:
            told.invalid(
                path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            )


def check_changed_metadata(
    resource: Resource, obj: JsonObject, live: JsonObject, told: Complaints
) -> None:
    """Metadata of an object that is updated."""
    ours, theirs = object_at(live, "metadata"), object_at(obj, "metadata")
    if "deletionTimestamp" in ours:
        new = sorted(set(texts_at(theirs, "finalizers")) - set(texts_at(ours, "finalizers")))
        if new:
            listed = ", ".join(f'"{name}"' for name in new)
            told.forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new "
                f"finalizers []string{{{listed}}}",
            )
    told.immutable("metadata.uid", theirs.get("uid"), ours.get("uid"))
    check_metadata(theirs, told, custom=resource.custom)


def _check_annotations(annotations: JsonObject, told: Complaints) -> None:
    size = 0
    for key, value in annotations.items():
        for problem in qualified_problems(key.lower()):
            told.invalid("metadata.annotations", key, problem)
        size += len(key.encode()) + len(str(value).encode())
    if size > _ANNOTATION_BYTES:
        told.too_long("metadata.annotations", _ANNOTATION_BYTES)


def check_labels(labels: Json, path: str, told: Complaints) -> None:
    """Labels, or anything that is written like them."""
    if not isinstance(labels, Mapping):
        return
    for key, value in labels.items():
        for problem in qualified_problems(key):
            told.invalid(path, key, problem)
        for problem in label_value_problems(str(value)):
            told.invalid(path, value, problem)


def check_selector(selector: Json, path: str, told: Complaints) -> bool:
    """A label selector; whether nothing is wrong with it."""
    before = len(told.causes)
    check_labels(object_at(selector, "matchLabels"), f"{path}.matchLabels", told)
    for where, rule in items(
        object_at(selector).get("matchExpressions"), f"{path}.matchExpressions"
    ):
        operator, values = text_at(rule, "operator"), texts_at(rule, "values")
        if operator in {"In", "NotIn"} and not values:
            told.required(f"{where}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in {"Exists", "DoesNotExist"} and values:
            told.forbidden(
                f"{where}.values",
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )
        elif operator not in _OPERATORS:
            told.invalid(f"{where}.operator", operator, "not a valid selector operator")
        for problem in qualified_problems(text_at(rule, "key")):
            told.invalid(f"{where}.key", text_at(rule, "key"), problem)
    return len(told.causes) == before


def selects(selector: Json, labels: JsonObject) -> bool:
    """Whether a label selector matches these labels."""
    wanted = object_at(selector, "matchLabels")
    if any(labels.get(key) != value for key, value in wanted.items()):
        return False
    return all(
        _expression_holds(rule, labels)
        for _, rule in items(object_at(selector).get("matchExpressions"), "")
    )


def _expression_holds(rule: JsonObject, labels: JsonObject) -> bool:
    key, values = text_at(rule, "key"), texts_at(rule, "values")
    operator = text_at(rule, "operator")
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) == (operator == "Exists")
