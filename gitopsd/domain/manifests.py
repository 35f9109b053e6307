"""Kubernetes objects as values: identity, rendered sets, change sets, inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NewType, TypeAlias

Json: TypeAlias = "str | int | float | bool | Sequence[Json] | Mapping[str, Json] | None"
"""Any JSON value."""

JsonObject: TypeAlias = Mapping[str, Json]
"""A JSON object, such as a Kubernetes manifest."""

Digest = NewType("Digest", str)
"""Content address ``sha256:<64 hex digits>`` (of rendered sets, plans, images)."""


@dataclass(frozen=True, slots=True, order=True)
class ObjectKey:
    """Identity of an object in one cluster: group, kind, namespace and name; never its version.

    Attributes:
        group: API group, empty for the core group.
        kind: Kind, e.g. ``Deployment``.
        namespace: Namespace, empty for cluster-scoped kinds.
        name: Object name.
    """

    group: str
    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        """Say the object as a person would: ``Deployment shop/api``."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


@dataclass(frozen=True, slots=True, order=True)
class ObjectRef:
    """An object's identity with the API version it is addressed by.

    Attributes:
        key: Identity.
        version: API version without the group, e.g. ``v1``.
    """

    key: ObjectKey
    version: str

    @property
    def api_version(self) -> str:
        """``apiVersion`` as manifests write it: ``group/version``, or ``version`` for core."""
        return f"{self.key.group}/{self.version}" if self.key.group else self.version


@dataclass(frozen=True, slots=True)
class RenderedSet:
    """The manifests of one release for one stage, content-addressed.

    Attributes:
        digest: Address of the canonical objects; equal digests mean equal bytes.
        objects: Manifests in apply order, pins and labels included.
        images: Image reference as written in Git -> digest it was pinned to.
        renderer: Name, version and sha256 of the renderer that made it.
        notes: Sentences a person should see, e.g. that a digest was reused.
    """

    digest: Digest
    objects: tuple[JsonObject, ...]
    images: Mapping[str, Digest] = field(default_factory=dict)
    renderer: str = ""
    notes: tuple[str, ...] = ()


class ChangeAction(Enum):
    """What an apply does, or did, to one object."""

    CREATED = "created"
    CONFIGURED = "configured"
    UNCHANGED = "unchanged"
    PRUNED = "pruned"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class ObjectChange:
    """One line of a change set.

    Attributes:
        ref: The object.
        action: What happens to it.
        diff: Redacted unified diff of the fields that change; empty when there is none to show.
        note: Why it was skipped, which manager loses fields, that it is recreated, and the like.
        checked: Whether the server dry-ran it; False when that has to wait for its apply stage.
    """

    ref: ObjectRef
    action: ChangeAction
    diff: str = ""
    note: str = ""
    checked: bool = True


@dataclass(frozen=True, slots=True)
class InventoryEntry:
    """One object that gitopsd applied.

    Attributes:
        ref: The object with the version it was applied under.
        uid: Server uid it had after the apply; empty while that is not known.
        applied: Digest of the bytes last sent for it; empty while unknown. Equal bytes and a clean
            live state are what allows an Apply to leave the object alone.
    """

    ref: ObjectRef
    uid: str = ""
    applied: str = ""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The objects gitopsd applied for a stage, as its ConfigMap in the cluster holds them.

    Attributes:
        installation: Id of the gitopsd installation that owns the stage.
        application: Application name.
        stage: Stage name.
        fence: Highest fence that has written.
        release: Release last commanded.
        rendered: Rendered digest last commanded.
        entries: Objects that may exist because of us.
        paused: Whether a person stopped every writer with ``gitopsd.io/paused: "true"``.
        resource_version: Version of the ConfigMap this was read from; empty when it does not exist.
        destination: Where the entries were written; another destination begins a new inventory.
    """

    installation: str
    application: str
    stage: str
    fence: int = 0
    release: str = ""
    rendered: str = ""
    entries: tuple[InventoryEntry, ...] = ()
    paused: bool = False
    resource_version: str = ""
    destination: str = ""


class Health(Enum):
    """Health of one object or of a set, in Argo CD's words."""

    HEALTHY = "Healthy"
    SUSPENDED = "Suspended"
    PROGRESSING = "Progressing"
    MISSING = "Missing"
    DEGRADED = "Degraded"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class ObjectHealth:
    """What was seen of one object.

    Attributes:
        ref: The object.
        health: Its health.
        message: One clause that says why, in the cluster's words.
        definite: True when waiting cannot help (a failure that is no longer in its grace period).
        since: Begin of the condition that a grace period runs from; None when there is none.
        advisory: True when it only informs and never decides about the set.
    """

    ref: ObjectRef
    health: Health
    message: str = ""
    definite: bool = False
    since: datetime | None = None
    advisory: bool = False


@dataclass(frozen=True, slots=True)
class PodEvidence:
    """What a failing pod said before it failed; stored with the run, redacted.

    Attributes:
        pod: Pod name.
        container: Container the evidence is about; empty when it is about the pod.
        reason: Kubernetes reason, e.g. ``CrashLoopBackOff``.
        message: Message beside the reason.
        exit_code: Exit code of the last termination; None when nothing terminated.
        log_lines: Last lines of the previous or the running container.
        events: Last events about the pod, oldest first.
    """

    pod: str
    container: str = ""
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    log_lines: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
