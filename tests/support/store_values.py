"""Values to store, with as few words as a test needs."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta

from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import Digest, JsonObject, RenderedSet
from gitopsd.domain.releases import ApplicationName, Line, Release, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.sources import Commit, CommitSha, Delivery, DeliveryId, ReceiverName, RefName
from gitopsd.domain.verifications import Destination, Quarantine, Verification, VerificationId
from gitopsd.domain.work import WorkItem, WorkKind

NOON = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
"""A moment."""

MINUTE = timedelta(minutes=1)

SHOP = ApplicationName("shop")
STAGING = StageKey(SHOP, StageName("staging"))
PRODUCTION = StageKey(SHOP, StageName("production"))
MAIN = Line(SHOP, RefName("refs/heads/main"))


def digest_of(text: str) -> Digest:
    """Make a digest from some text."""
    return Digest(f"sha256:{hashlib.sha256(text.encode()).hexdigest()}")


def commit_of(text: str) -> CommitSha:
    """Make a commit id from some text."""
    return CommitSha(hashlib.sha256(text.encode()).hexdigest()[:40])


def delivery(name: str, *, key: str = "", body: bytes = b"{}", at: datetime = NOON) -> Delivery:
    """Make a delivery to the receiver ``github``."""
    return Delivery(
        id=DeliveryId(name),
        receiver=ReceiverName("github"),
        key=key or name,
        body_sha256=hashlib.sha256(body).hexdigest(),
        headers=(("x-github-event", "push"), ("content-type", "application/json")),
        body=body,
        received_at=at,
    )


def release(
    name: str,
    *,
    application: ApplicationName = SHOP,
    commit: str = "",
    images: dict[str, Digest] | None = None,
) -> Release:
    """Make a release."""
    return Release(
        id=ReleaseId(name),
        application=application,
        commit=Commit(commit_of(commit or name), subject=f"Subject of {name}", committed_at=NOON),
        images=images or {},
        alias="bold-heron",
        created_at=NOON,
        inputs={StageName("staging"): "inputs"},
    )


def run(
    name: str,
    *,
    stage: StageKey = STAGING,
    of: str = "r-1",
    kind: RunKind = RunKind.ROLLOUT,
    phase: Phase = Phase.PENDING,
    at: datetime = NOON,
) -> Run:
    """Make a run."""
    return Run(RunId(name), stage, ReleaseId(of), kind, phase=phase, created_at=at)


def verification(name: str, *, stage: StageKey = STAGING, of: str = "r-1") -> Verification:
    """Make a verification."""
    return Verification(
        id=VerificationId(name),
        stage=stage,
        release=ReleaseId(of),
        rendered=digest_of(of),
        destination=Destination("east", "shop"),
        spec=1,
        recorded_at=NOON,
    )


def quarantine(name: str, *, stage: StageKey = STAGING, of: str = "bad bytes") -> Quarantine:
    """Make a quarantine."""
    return Quarantine(
        id=name,
        stage=stage,
        rendered=digest_of(of),
        images=(digest_of("image"),),
        release=ReleaseId("r-1"),
        reason="Deployment api: CrashLoopBackOff",
        at=NOON,
    )


def vote(name: str, *, subject: str = "ana", of: str = "run-1", plan: str = "plan") -> Vote:
    """Make an approval."""
    return Vote(
        id=name,
        run=RunId(of),
        plan=digest_of(plan),
        subject=subject,
        groups=("release-managers",),
        decision=Decision.APPROVE,
        reason="looks good",
        at=NOON,
    )


def item(key: str, *, due: datetime, kind: WorkKind = WorkKind.EXECUTE_STEP) -> WorkItem:
    """Make something to do."""
    return WorkItem(key=key, kind=kind, subject="run-1", due_at=due, payload={"step": "Apply"})


def config_map(name: str, **data: str) -> JsonObject:
    """Make a manifest that everybody may read."""
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def secret(name: str, **data: str) -> JsonObject:
    """Make a manifest that nobody may read."""
    metadata = {"name": name, "namespace": "shop"}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}


def rendered_set(*objects: JsonObject, name: str = "set") -> RenderedSet:
    """Make a rendered set."""
    return RenderedSet(
        digest=digest_of(name),
        objects=objects,
        images={"api:v1": digest_of("image")},
        renderer="kustomize v5 sha256:00",
        notes=("a digest was reused",),
    )
