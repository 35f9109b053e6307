"""What was verified where: the only things that are ever restored."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NewType

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ReleaseId, StageKey

VerificationId = NewType("VerificationId", str)


@dataclass(frozen=True, slots=True)
class Destination:
    """Where a stage writes; a verification counts only for the destination it was made in.

    Attributes:
        cluster: Name of the configured cluster.
        namespace: Namespace of the stage.
        namespaces: Further namespaces inside its boundary.
        service_account: Identity that writes; empty for gitopsd's own.
    """

    cluster: str
    namespace: str
    namespaces: tuple[str, ...] = ()
    service_account: str = ""


@dataclass(frozen=True, slots=True)
class RestoreTarget:
    """A verified set that a rollback brings back.

    Attributes:
        verification: The verification that makes it a target.
        release: Its release.
        rendered: Its rendered set.
        spec: Revision of the application file whose checks it passed and is judged by.
    """

    verification: VerificationId
    release: ReleaseId
    rendered: Digest
    spec: int


@dataclass(frozen=True, slots=True)
class Verification:
    """A rendered set was healthy and passed its checks in a stage.

    Attributes:
        id: Its id.
        stage: Where.
        release: Which release.
        rendered: Which bytes.
        destination: Where it was written; no target once the stage's destination differs.
        spec: Revision of the application file whose checks it passed.
        recorded_at: When.
        sequence: Grows with each verification; "newest" is by it, never by date.
        restore: What a failure after Succeeded restores: the target stored with that run.
        revoked_at: When it stopped being a target; None while it is one.
    """

    id: VerificationId
    stage: StageKey
    release: ReleaseId
    rendered: Digest
    destination: Destination
    spec: int
    recorded_at: datetime
    sequence: int = 0
    restore: RestoreTarget | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Bytes that failed in a stage; nothing that contains them is admitted until it is lifted.

    Attributes:
        id: Row id.
        stage: Where they failed.
        rendered: The rendered digest that failed.
        images: Image digests, when images are all that changed from the restored set.
        release: Release that brought them.
        reason: The failure's sentence.
        at: When.
        lifted_at: When a person lifted it; None while in force.
        lifted_by: Who lifted it.
    """

    id: str
    stage: StageKey
    rendered: Digest
    images: tuple[Digest, ...]
    release: ReleaseId
    reason: str
    at: datetime
    lifted_at: datetime | None = None
    lifted_by: str = ""


class StallReason(Enum):
    """Why a person is called for a stage."""

    NO_TARGET = "NoTarget"
    MANUAL = "Manual"
    SAME_BYTES = "SameBytes"
    DESTINATION_CHANGED = "DestinationChanged"
    UNREACHABLE = "Unreachable"
    ROLLBACK_FAILED = "RollbackFailed"
    ROLLBACK_LOOP = "RollbackLoop"
    CLUSTER_TROUBLE = "ClusterTrouble"
    RESTORED_DATABASE = "RestoredDatabase"
    INVENTORY = "Inventory"

    @property
    def closes_gates(self) -> bool:
        """Whether newer releases wait until a person resumes the stage."""
        return self in _CLOSING


_CLOSING = frozenset(
    {
        StallReason.ROLLBACK_FAILED,
        StallReason.ROLLBACK_LOOP,
        StallReason.CLUSTER_TROUBLE,
        StallReason.RESTORED_DATABASE,
        StallReason.INVENTORY,
    }
)
