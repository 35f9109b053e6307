"""Which ReplicaSet is the Deployment's newest, and how its revisions are numbered. Pure.

Rules: ``pkg/controller/deployment/sync.go``, ``.../util/deployment_util.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.deployment_numbers import (
    DESIRED_REPLICAS,
    MAX_REPLICAS,
    REVISION,
    REVISION_HISTORY,
    revision_of,
    size_annotations,
)
from gitopsd.sandbox.controllers.facts import DEPLOYMENT
from gitopsd.sandbox.controllers.hashing import template_hash
from gitopsd.sandbox.controllers.ownership import controller_reference
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    created_order,
    labels_of,
    name_of,
    namespace_of,
    with_annotations,
    with_spec,
)
from gitopsd.sandbox.fields import field_at, object_at, text_map_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject

HASH_LABEL = "pod-template-hash"
_LONGEST_NAME = 253
_HISTORY_CHARACTERS = 2000
_NOT_COPIED = frozenset(
    {
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        REVISION_HISTORY,
        DESIRED_REPLICAS,
        MAX_REPLICAS,
    }
)


@dataclass(frozen=True, slots=True)
class Generations:
    """A Deployment's ReplicaSets.

    Attributes:
        new: The one with the Deployment's template; None while there is none.
        old: All others, oldest first.
    """

    new: JsonObject | None
    old: tuple[JsonObject, ...]

    @property
    def all(self) -> tuple[JsonObject, ...]:
        """The old ones and the new one."""
        return self.old if self.new is None else (*self.old, self.new)


def sort_out(deployment: JsonObject, sets: Sequence[JsonObject]) -> Generations:
    """Find the new one among the ReplicaSets; of several with the same template the oldest."""
    ordered = sorted(sets, key=created_order)
    template = _without_hash(object_at(deployment, "spec", "template"))
    new = next(
        (
            item
            for item in ordered
            if _without_hash(object_at(item, "spec", "template")) == template
        ),
        None,
    )
    return Generations(new, tuple(item for item in ordered if item is not new))


def noted(deployment: JsonObject, new: JsonObject, old: Sequence[JsonObject]) -> JsonObject:
    """The existing new ReplicaSet as it should be annotated, with the wanted minReadySeconds.

    It takes over the Deployment's annotations; its revision is above all old ones'. One that had a
    lower revision, as after a rollback, remembers it.
    """
    annotations = {**annotations_of(new), **_copied(deployment)}
    latest = max((revision_of(item) for item in old), default=0) + 1
    had = annotations_of(new).get(REVISION)
    if revision_of(new) < latest:
        annotations[REVISION] = str(latest)
        if had is not None:
            annotations[REVISION_HISTORY] = _remember(annotations.get(REVISION_HISTORY, ""), had)
    changed: JsonObject = new
    if annotations != annotations_of(new):
        changed = with_annotations(new, annotations)
    seconds = count_at(deployment, "spec", "minReadySeconds")
    if count_at(new, "spec", "minReadySeconds") != seconds:
        changed = with_spec(changed, {"minReadySeconds": seconds})
    return changed


def first_replica_set(
    deployment: JsonObject, old: Sequence[JsonObject], replicas: int
) -> dict[str, Json]:
    """The ReplicaSet to make for the Deployment's template."""
    template = object_at(deployment, "spec", "template")
    collisions = field_at(deployment, "status", "collisionCount")
    mark = template_hash(template, collisions if isinstance(collisions, int) else None)
    labels = {**text_map_at(template, "metadata", "labels"), HASH_LABEL: mark}
    selector = object_at(deployment, "spec", "selector")
    revision = max((revision_of(item) for item in old), default=0) + 1
    spec: dict[str, Json] = {
        "replicas": replicas,
        "selector": {
            **selector,
            "matchLabels": {**text_map_at(selector, "matchLabels"), HASH_LABEL: mark},
        },
        "template": {
            **template,
            "metadata": {**object_at(template, "metadata"), "labels": labels},
        },
    }
    if seconds := count_at(deployment, "spec", "minReadySeconds"):
        spec["minReadySeconds"] = seconds
    name = name_of(deployment)[: _LONGEST_NAME - len(mark) - 1]
    return {
        "metadata": {
            "name": f"{name}-{mark}",
            "namespace": namespace_of(deployment),
            "labels": labels,
            "annotations": {
                **_copied(deployment),
                REVISION: str(revision),
                **size_annotations(deployment),
            },
            "ownerReferences": [controller_reference(deployment, DEPLOYMENT)],
        },
        "spec": spec,
    }


def _copied(deployment: JsonObject) -> dict[str, str]:
    return {
        key: value for key, value in annotations_of(deployment).items() if key not in _NOT_COPIED
    }


def _remember(history: str, revision: str) -> str:
    revisions = [*history.split(","), revision] if history else [revision]
    while len(",".join(revisions)) > _HISTORY_CHARACTERS and len(revisions) > 1:
        revisions = revisions[1:]
    return ",".join(revisions)


def _without_hash(template: JsonObject) -> JsonObject:
    labels = labels_of(template)
    if HASH_LABEL not in labels:
        return template
    kept = {key: value for key, value in labels.items() if key != HASH_LABEL}
    return {**template, "metadata": {**object_at(template, "metadata"), "labels": kept}}
