"""ControllerRevisions: the templates that StatefulSets and DaemonSets have had. Pure.

Rules: ``pkg/controller/history/controller_history.go``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.controllers.facts import (
    CONTROLLER_REVISION,
    Create,
    Delete,
    Facts,
    Kind,
    Replace,
)
from gitopsd.sandbox.controllers.hashing import canonical, safe_hash
from gitopsd.sandbox.controllers.ownership import controlled, controller_reference
from gitopsd.sandbox.controllers.reading import (
    annotations_of,
    count_at,
    created_order,
    name_of,
    namespace_of,
)
from gitopsd.sandbox.fields import object_at, text_map_at

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from gitopsd.domain.manifests import JsonObject

HASH_LABEL = "controller.kubernetes.io/hash"
POD_LABEL = "controller-revision-hash"
_LONGEST_PREFIX = 223


@dataclass(frozen=True, slots=True)
class Revisions:
    """A workload's revisions.

    Attributes:
        all: Oldest first.
        update: The one of its template; None when it has to be made first.
        write: Makes it, or numbers an older one anew, when that has to be done first.
    """

    all: tuple[JsonObject, ...]
    update: JsonObject | None
    write: Create | Replace | None = None


def revisions_of(facts: Facts, owner: JsonObject, kind: Kind, *, label: str) -> Revisions:
    """The revisions of a workload, and what has to be written for its present template.

    Args:
        facts: What there is.
        owner: The workload.
        kind: Its kind.
        label: Where a revision carries its hash.
    """
    found = sorted(
        controlled(facts, owner, CONTROLLER_REVISION),
        key=lambda item: (count_at(item, "revision"), created_order(item)),
    )
    content = _content(owner)
    number = count_at(found[-1], "revision") + 1 if found else 1
    equal = [item for item in found if object_at(item, "data") == content]
    if not equal:
        return Revisions(tuple(found), None, _new(owner, kind, content, number, label))
    if equal[-1] is found[-1]:
        return Revisions(tuple(found), found[-1])
    # A template of before: going back gives its revision the newest number.
    raised = {**equal[-1], "revision": number}
    return Revisions(tuple(found), equal[-1], Replace(CONTROLLER_REVISION.resource, raised))


def template_of(revision: JsonObject) -> JsonObject:
    """The pod template that a revision keeps."""
    template = object_at(revision, "data", "spec", "template")
    return {field: value for field, value in template.items() if field != "$patch"}


def outdated(revisions: Sequence[JsonObject], live: Collection[str], limit: int) -> list[Delete]:
    """Deletions of the oldest revisions that nothing uses, beyond a limit."""
    history = [item for item in revisions if name_of(item) not in live]
    return [
        Delete(CONTROLLER_REVISION.resource, item)
        for item in history[: max(len(history) - limit, 0)]
    ]


def _content(owner: JsonObject) -> JsonObject:
    template = {**object_at(owner, "spec", "template"), "$patch": "replace"}
    return {"spec": {"template": template}}


def _new(owner: JsonObject, kind: Kind, content: JsonObject, number: int, label: str) -> Create:
    collisions = count_at(owner, "status", "collisionCount")
    mark = safe_hash(canonical(content) + str(collisions).encode())
    labels = {**text_map_at(owner, "spec", "template", "metadata", "labels"), label: mark}
    manifest: JsonObject = {
        "metadata": {
            "name": f"{name_of(owner)[:_LONGEST_PREFIX]}-{mark}",
            "namespace": namespace_of(owner),
            "labels": labels,
            **({"annotations": annotations_of(owner)} if annotations_of(owner) else {}),
            "ownerReferences": [controller_reference(owner, kind)],
        },
        "data": content,
        "revision": number,
    }
    return Create(CONTROLLER_REVISION, manifest)
