"""Namespaces: what every one begins with, and how one ends. Pure.

Rules: ``pkg/controller/namespace/deletion``, ``pkg/controller/serviceaccount``,
``pkg/controller/certificates/rootcacertpublisher``.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.conditions import (
    FALSE,
    TRUE,
    conditions_of,
    find_condition,
    make_condition,
    set_in_place,
)
from gitopsd.sandbox.controllers.facts import (
    CONFIG_MAP,
    NAMESPACE,
    NOTHING,
    POD,
    SERVICE_ACCOUNT,
    Create,
    Delete,
    Facts,
    Key,
    Plan,
    Refusal,
    Replace,
    Resource,
    Write,
)
from gitopsd.sandbox.controllers.reading import (
    finalizers_of,
    is_deleted,
    name_of,
    with_spec,
    with_status,
)
from gitopsd.sandbox.fields import object_at, texts_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

ROOT_CA = "kube-root-ca.crt"
FINALIZER = "kubernetes"
_ABOUT_ROOT_CA = (
    "Contains a CA bundle that can be used to verify the kube-apiserver when using internal "
    "endpoints such as the internal service IP or kubernetes.default.svc. No other usage is "
    "guaranteed across distributions of Kubernetes clusters."
)
_FINE = {
    "NamespaceDeletionDiscoveryFailure": (
        "ResourcesDiscovered",
        "All resources successfully discovered",
    ),
    "NamespaceDeletionGroupVersionParsingFailure": (
        "ParsedGroupVersions",
        "All legacy kube types successfully parsed",
    ),
    "NamespaceDeletionContentFailure": (
        "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization",
    ),
    "NamespaceContentRemaining": ("ContentRemoved", "All content successfully removed"),
    "NamespaceFinalizersRemaining": (
        "ContentHasNoFinalizers",
        "All content-preserving finalizers finished",
    ),
}


def give_account(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """See that a living namespace has its ServiceAccount ``default``."""
    del now
    if refusals:
        return Plan(failed=True)
    if not _lives(key, facts) or facts.find(SERVICE_ACCOUNT.resource, key.name, "default"):
        return NOTHING
    manifest: JsonObject = {"metadata": {"name": "default", "namespace": key.name}}
    return Plan((Create(SERVICE_ACCOUNT, manifest),))


def publish_root_ca(
    certificate: str,
) -> Callable[[Key, Facts, datetime, Sequence[Refusal]], Plan]:
    """See that a living namespace has the authority's certificate (PEM), and has it right."""

    def reconcile(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        del now
        if refusals:
            return Plan(failed=True)
        if not _lives(key, facts):
            return NOTHING
        data = {"ca.crt": certificate}
        found = facts.find(CONFIG_MAP.resource, key.name, ROOT_CA)
        if found is None:
            named: JsonObject = {
                "name": ROOT_CA,
                "namespace": key.name,
                "annotations": {"kubernetes.io/description": _ABOUT_ROOT_CA},
            }
            return Plan((Create(CONFIG_MAP, {"metadata": named, "data": data}),))
        if object_at(found, "data") == data:
            return NOTHING
        return Plan((Replace(CONFIG_MAP.resource, {**found, "data": data}),))

    return reconcile


def end(key: Key, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
    """Empty a namespace that is being deleted, pods first, and let it go when it is empty."""
    namespace = facts.find(NAMESPACE.resource, "", key.name)
    if namespace is None or not is_deleted(namespace):
        return NOTHING
    if refusals:
        return Plan(failed=True)
    content = _content(key.name, facts)
    if not content:
        kept = [text for text in texts_at(namespace, "spec", "finalizers") if text != FINALIZER]
        if len(kept) == len(texts_at(namespace, "spec", "finalizers")):
            return NOTHING
        changed = with_spec(namespace, {"finalizers": kept})
        return Plan((Replace(NAMESPACE.resource, changed, "finalize"),))
    pods = [(resource, item) for resource, item in content if resource == POD.resource]
    if pods:
        # The real one speaks of what remains only once it is past the pods.
        return _sweep(namespace, pods, {}, now)
    held = [(resource, item) for resource, item in content if finalizers_of(item)]
    return _sweep(namespace, content, _remains(held), now)


def _sweep(
    namespace: JsonObject,
    content: Sequence[tuple[Resource, JsonObject]],
    problems: dict[str, tuple[str, str]],
    now: datetime,
) -> Plan:
    judged = _judged(namespace, problems, now)
    writes: list[Write] = [
        Delete(resource, item, "Background") for resource, item in content if not is_deleted(item)
    ]
    if judged is not namespace:
        writes.append(Replace(NAMESPACE.resource, judged, "status"))
    return Plan(tuple(writes))


def _content(name: str, facts: Facts) -> list[tuple[Resource, JsonObject]]:
    return [
        (resource, item)
        for resource in facts.resources()
        if resource != NAMESPACE.resource
        for item in facts.among(resource, name)
    ]


def _remains(content: Sequence[tuple[Resource, JsonObject]]) -> dict[str, tuple[str, str]]:
    if not content:
        return {}
    numbers = Counter(resource for resource, _ in content)
    kinds = sorted(
        f"{resource.resource}.{resource.group} has {count} resource instances"
        for resource, count in numbers.items()
    )
    finalizers = Counter(text for _, item in content for text in finalizers_of(item))
    held = sorted(f"{text} in {count} resource instances" for text, count in finalizers.items())
    begin = "Some content in the namespace has finalizers remaining: "
    return {
        "NamespaceContentRemaining": (
            "SomeResourcesRemain",
            f"Some resources are remaining: {', '.join(kinds)}",
        ),
        "NamespaceFinalizersRemaining": ("SomeFinalizersRemain", f"{begin}{', '.join(held)}"),
    }


def _judged(
    namespace: JsonObject, problems: dict[str, tuple[str, str]], now: datetime
) -> JsonObject:
    """The namespace with the conditions of its end; the same object when they stand already."""
    conditions = conditions_of(namespace)
    for kind, fine in _FINE.items():
        status = TRUE if kind in problems else FALSE
        reason, message = problems.get(kind, fine)
        new = make_condition(kind, status, reason, message, stamp(now))
        old = find_condition(conditions, kind)
        said = ("status", "reason", "message")
        if old is None or any(old.get(field) != new[field] for field in said):
            conditions = set_in_place(conditions, new)
    if conditions == conditions_of(namespace):
        return namespace
    return with_status(namespace, {**object_at(namespace, "status"), "conditions": conditions})


def _lives(key: Key, facts: Facts) -> bool:
    namespace = facts.find(NAMESPACE.resource, "", key.name)
    return namespace is not None and not is_deleted(namespace) and bool(name_of(namespace))
