"""What decisions beyond one run are made from; loaded by the engine inside the transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gitopsd.domain.asked_gates import GateObservation
from gitopsd.domain.config import RewindPolicy, StageSpec
from gitopsd.domain.gates import Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.pin_files import PinFile
from gitopsd.domain.releases import Offer, Release, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.stages import Freeze, Observation, Soak, Stage, StageRendering
from gitopsd.domain.verifications import Destination, Quarantine, RestoreTarget, Verification
from gitopsd.pipeline.groups import GroupFacts
from gitopsd.pipeline.people_facts import PeopleFacts


@dataclass(frozen=True, slots=True)
class SelectionFacts:
    """Everything `select` reads.

    Attributes:
        now: The transaction's time.
        stage: Stored state of the stage.
        spec: The stage as configured now; None when it left the configuration.
        offers: Offers of the stage's line, newest number first, one a release (its last).
        upstream: Per upstream stage the releases verified there; empty mapping for an entry stage.
        renderings: What releases rendered to here, where known.
        release_images: Image digests of releases that carry their own.
        quarantines: Quarantines of the stage that are in force.
        running: Release that the stage runs verified; None when it runs nothing verified.
        running_rendered: Its rendered digest.
        last_runs: Release -> its last Rollout here that ended, or that is live.
        next_run: The run in *next*.
        next_votes: Votes that stand for it.
        front_run: The run in *front*.
        upstream_running: Per upstream stage what it runs verified now; loaded only for a stage
            that follows it.
        stopped: Releases that the stage's group took back from it, and why.
    """

    now: datetime
    stage: Stage
    spec: StageSpec | None
    offers: tuple[Offer, ...] = ()
    upstream: Mapping[str, frozenset[ReleaseId]] = field(default_factory=dict)
    renderings: Mapping[ReleaseId, StageRendering] = field(default_factory=dict)
    release_images: Mapping[ReleaseId, tuple[Digest, ...]] = field(default_factory=dict)
    quarantines: tuple[Quarantine, ...] = ()
    running: ReleaseId | None = None
    running_rendered: Digest | None = None
    last_runs: Mapping[ReleaseId, Run] = field(default_factory=dict)
    next_run: Run | None = None
    next_votes: tuple[Vote, ...] = ()
    front_run: Run | None = None
    upstream_running: Mapping[str, ReleaseId | None] = field(default_factory=dict)
    stopped: Mapping[ReleaseId, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SoakFacts:
    """How long another stage was seen healthy with what a run brings.

    Attributes:
        soak: The count of the run's release there, or of the images it brings; None when none is
            kept.
        current: Whether the stage still runs what is counted.
        running: Release that it runs verified; None when it runs nothing verified.
        last: What its last look found wrong; empty when it found nothing.
        needs_nothing: Whether the run brings nothing that would have to soak there.
    """

    soak: Soak | None = None
    current: bool = False
    running: ReleaseId | None = None
    last: str = ""
    needs_nothing: bool = False


@dataclass(frozen=True, slots=True)
class DependencyFacts:
    """How another application's stage stands.

    Attributes:
        configured: Whether there is such a stage.
        running: Release that it runs verified; None when it runs nothing verified.
        front: Run that may write there; None when there is none.
        observation: The last look at its live objects.
        has_commit: Whether it runs what the commit of the run's release made of it, or something
            newer.
    """

    configured: bool = True
    running: ReleaseId | None = None
    front: RunId | None = None
    observation: Observation | None = None
    has_commit: bool = False


@dataclass(frozen=True, slots=True)
class GateFacts:
    """Everything `evaluate_gates` reads, for one run that stands at its Gate.

    Attributes:
        now: The transaction's time.
        run: The run.
        release: Its release.
        offer: Last offer of the release on the stage's line; None when there is none.
        stage: Stored state of the stage.
        spec: The stage as configured now (gates are read from the newest file).
        front_run: The run in *front*; None when the slot is free.
        votes: Votes that stand for the run's plan.
        people: Who there is, whose commits the release brings, and what people let pass.
        freezes: Freezes in force whose scope covers the stage.
        deletions: Objects the plan deletes.
        owned: Objects the inventory holds.
        fronts_on_cluster: Front Rollouts under way on the stage's cluster.
        cluster_budget: How many may be.
        failed_with_commit: Runs of this commit that ended Failed in stages of this name, anywhere.
        verified_upstream_at: Upstream stage -> since when the release is verified there.
        running_offer: Offer number of the release the stage runs verified; None when unknown.
        rewind: What the application's source says about force-pushes to older commits.
        quarantines: Quarantines of the stage that are in force.
        images: Image digests in the run's rendered set, to match quarantined images.
        plan_images: Image reference in the run's rendered set -> its digest, None for one without;
            None while the set cannot be read. Like the next three loaded only for a stage that
            asks another one for verified images.
        upstream_images: Image digest in the sets verified in that other stage -> since when.
        upstream_quarantines: Its quarantines that are in force.
        running_images: Image digest of what the run's own stage runs verified -> since when.
        soaks: Stage that a soak gate names -> how long it was seen healthy with the release.
        dependencies: Stage of another application that a gate asks -> how it stands.
        observations: Question of a gate that asks outside -> the newest answer for the run.
        upstream_running: Per upstream stage what it runs verified now; loaded only for a stage
            that follows it.
        group: How the stage's group stands with the release; None for a stage without a group.
        pin: The pin file of the stage in the release's own commit; None when it holds none.
        pinned_rendered: What the release that it names rendered to here; None when not known.
    """

    now: datetime
    run: Run
    release: Release
    offer: Offer | None
    stage: Stage
    spec: StageSpec
    front_run: Run | None = None
    votes: tuple[Vote, ...] = ()
    people: PeopleFacts = field(default_factory=PeopleFacts)
    freezes: tuple[Freeze, ...] = ()
    deletions: int = 0
    owned: int = 0
    fronts_on_cluster: int = 0
    cluster_budget: int = 10
    failed_with_commit: int = 0
    verified_upstream_at: Mapping[str, datetime] = field(default_factory=dict)
    running_offer: int | None = None
    rewind: RewindPolicy = RewindPolicy.HOLD
    quarantines: tuple[Quarantine, ...] = ()
    images: tuple[Digest, ...] = ()
    plan_images: Mapping[str, Digest | None] | None = None
    upstream_images: Mapping[Digest, datetime] = field(default_factory=dict)
    upstream_quarantines: tuple[Quarantine, ...] = ()
    running_images: Mapping[Digest, datetime] = field(default_factory=dict)
    soaks: Mapping[StageName, SoakFacts] = field(default_factory=dict)
    dependencies: Mapping[StageKey, DependencyFacts] = field(default_factory=dict)
    observations: Mapping[str, GateObservation] = field(default_factory=dict)
    upstream_running: Mapping[str, ReleaseId | None] = field(default_factory=dict)
    group: GroupFacts | None = None
    pin: PinFile | None = None
    pinned_rendered: Digest | None = None


@dataclass(frozen=True, slots=True)
class RestoreFacts:
    """Everything the choice of a restore target reads.

    Attributes:
        rendered: What the run is about to apply.
        destination: Where the stage writes now.
        verifications: Verifications of the stage, newest sequence first.
        quarantines: Quarantines of the stage that are in force.
        spec: The stage as configured.
        stricter: Policy that the release's own annotation asks for; None when it has none.
        inherited: Restore target of the run that is superseded by this one and had mutated.
        images_of: Rendered digest -> image digests in it, to match quarantined images.
    """

    rendered: Digest
    destination: Destination
    verifications: tuple[Verification, ...]
    quarantines: tuple[Quarantine, ...]
    spec: StageSpec
    stricter: str | None = None
    inherited: RestoreTarget | None = None
    images_of: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WatchFacts:
    """Everything the decision about a failure in the watch window reads.

    Attributes:
        now: The transaction's time.
        stage: Stored state of the stage.
        spec: The stage in the revision that its verification was made under.
        verification: The verification of what the stage runs.
        restore: Facts for the choice of a target: ``rendered`` is the verification's, ``inherited``
            the target stored with its run.
        front_run: The run in *front*; None when the slot is free.
        rollbacks_last_hour: Automatic rollbacks of the stage that began within the last hour.
        cluster_rollbacks: Watch-window rollbacks that wanted to start on the cluster within the
            last 10 minutes, this one included.
    """

    now: datetime
    stage: Stage
    spec: StageSpec
    verification: Verification
    restore: RestoreFacts
    front_run: Run | None = None
    rollbacks_last_hour: int = 0
    cluster_rollbacks: int = 1
