"""What the model of the service stores, and the facts that decisions are made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Vote
from gitopsd.domain.manifests import Digest, JsonObject, RenderedSet
from gitopsd.domain.releases import (
    ApplicationName,
    Line,
    Offer,
    Release,
    ReleaseId,
    StageKey,
    StageName,
)
from gitopsd.domain.runs import (
    CommandId,
    Run,
    RunId,
    RunKind,
)
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.domain.stages import Freeze, Stage, StageRendering
from gitopsd.domain.verifications import (
    Destination,
    Quarantine,
    RestoreTarget,
    Verification,
    VerificationId,
)
from gitopsd.pipeline.commands import (
    ExecuteStep,
    Notify,
    StartRollback,
)
from gitopsd.pipeline.events import (
    Event,
)
from gitopsd.pipeline.facts import GateFacts, RestoreFacts, SelectionFacts
from gitopsd.pipeline.machine import Transition

SHOP = ApplicationName("shop")
LINE = Line(SHOP, RefName("refs/heads/main"))
STAGING = StageKey(SHOP, StageName("staging"))
PRODUCTION = StageKey(SHOP, StageName("production"))
START = datetime(2030, 1, 1, tzinfo=UTC)

STAGES = (
    StageSpec(StageName("staging"), "one", "overlays/staging", "shop-staging"),
    StageSpec(
        StageName("production"),
        "two",
        "overlays/production",
        "shop",
        after=(StageName("staging"),),
        gates=(ApprovalGate(("group:managers",)),),
        watch=timedelta(minutes=30),
    ),
)


@dataclass(frozen=True, slots=True)
class Content:
    """What a release renders to, the same in both stages.

    Attributes:
        config: Stands for everything but images.
        image: Stands for the one image.
    """

    config: int
    image: int

    @property
    def digest(self) -> Digest:
        """The rendered digest."""
        return Digest(f"sha256:{self.config:032d}{self.image:032d}")

    @property
    def images(self) -> tuple[Digest, ...]:
        """The image digests in it."""
        return (Digest(f"sha256:{self.image:064d}"),)

    @property
    def rendered(self) -> RenderedSet:
        """The rendered set itself."""
        objects: tuple[JsonObject, ...] = (
            {"kind": "Deployment", "config": self.config, "image": f"api@{self.image}"},
        )
        return RenderedSet(self.digest, objects, {"api": self.images[0]})


@dataclass(slots=True)
class State:
    """Everything that is stored, and what can be read from it."""

    now: datetime = START
    file: ApplicationSpec | None = None
    files: dict[int, ApplicationSpec] = field(default_factory=dict)
    stages: dict[StageKey, Stage] = field(default_factory=dict)
    runs: dict[RunId, Run] = field(default_factory=dict)
    outbox: dict[CommandId, ExecuteStep] = field(default_factory=dict)
    old_commands: list[tuple[RunId, CommandId]] = field(default_factory=list)
    contents: dict[ReleaseId, Content] = field(default_factory=dict)
    offers: list[Offer] = field(default_factory=list)
    verifications: list[Verification] = field(default_factory=list)
    quarantines: list[Quarantine] = field(default_factory=list)
    renderings: dict[tuple[StageKey, ReleaseId], StageRendering] = field(default_factory=dict)
    votes: list[Vote] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)
    waiting_for_time: dict[RunId, datetime] = field(default_factory=dict)
    told: list[Notify] = field(default_factory=list)
    log: list[tuple[Run, Event, Transition]] = field(default_factory=list)
    rollbacks: list[tuple[RunId, StartRollback]] = field(default_factory=list)

    def spec_of(self, key: StageKey) -> StageSpec | None:
        """The stage as configured now."""
        return self.file.stage(key.stage) if self.file is not None else None

    def front_of(self, key: StageKey) -> Run | None:
        """The run that may write."""
        front = self.stages[key].front
        return self.runs[front] if front is not None else None

    def next_of(self, key: StageKey) -> Run | None:
        """The Rollout between Pending and Gate."""
        waiting = self.stages[key].next
        return self.runs[waiting] if waiting is not None else None

    def running(self, key: StageKey) -> Verification | None:
        """The newest verification that stands for where the stage writes now."""
        spec = self.spec_of(key)
        if spec is None:
            return None
        place = destination_of(spec)
        for item in reversed(self.verifications):
            if item.stage == key and item.revoked_at is None and item.destination == place:
                return item
        return None

    def live_runs(self) -> list[Run]:
        """Every run that can still change."""
        return [run for run in self.runs.values() if run.live]

    def gate_facts(self, run: Run, spec: StageSpec) -> GateFacts:
        """What the gates of a run are decided from."""
        running = self.running(run.stage)
        numbers = {offer.release: offer for offer in self.offers}
        since: dict[str, datetime] = {
            item.stage.stage: item.recorded_at
            for item in self.verifications
            if item.release == run.release and item.revoked_at is None
        }
        return GateFacts(
            now=self.now,
            run=run,
            release=Release(run.release, SHOP, Commit(CommitSha(str(run.release)))),
            offer=numbers.get(run.release),
            stage=self.stages[run.stage],
            spec=spec,
            front_run=self.front_of(run.stage),
            votes=tuple(self.votes),
            freezes=self.frozen(run.stage),
            verified_upstream_at=since,
            running_offer=numbers[running.release].number if running is not None else None,
            quarantines=self.held(run.stage),
            images=self.contents[run.release].images,
        )

    def selection_facts(self, key: StageKey) -> SelectionFacts:
        """What the choice for *next* is made from."""
        running, waiting = self.running(key), self.next_of(key)
        spec = self.spec_of(key)
        upstream: dict[str, frozenset[ReleaseId]] = {
            name: frozenset(
                item.release
                for item in self.verifications
                if item.stage.stage == name and item.revoked_at is None
            )
            for name in (spec.after if spec is not None else ())
        }
        return SelectionFacts(
            now=self.now,
            stage=self.stages[key],
            spec=spec,
            offers=tuple(reversed(self.offers)),
            upstream=upstream,
            renderings={
                release: item for (stage, release), item in self.renderings.items() if stage == key
            },
            quarantines=self.held(key),
            running=running.release if running is not None else None,
            running_rendered=running.rendered if running is not None else None,
            last_runs=self.last_rollouts(key),
            next_run=waiting,
            next_votes=tuple(
                vote for vote in self.votes if waiting is not None and vote.run == waiting.id
            ),
            front_run=self.front_of(key),
        )

    def restore_facts(
        self, key: StageKey, rendered: Digest, inherited: RestoreTarget | None = None
    ) -> RestoreFacts:
        """What the choice of a restore target is made from."""
        spec = self.spec_of(key)
        assert spec is not None
        own = tuple(item for item in reversed(self.verifications) if item.stage == key)
        return RestoreFacts(
            rendered=rendered,
            destination=destination_of(spec),
            verifications=own,
            quarantines=self.held(key),
            spec=spec,
            inherited=inherited,
            images_of={item.digest: item.images for item in self.contents.values()},
        )

    def inherited_by(self, run: Run) -> RestoreTarget | None:
        """What the run that this one took over from would have restored."""
        for other in reversed(self.runs.values()):
            if other.superseded_by == run.id and other.mutated:
                return other.restore_target
        return None

    def last_rollouts(self, key: StageKey) -> Mapping[ReleaseId, Run]:
        """Each release's last Rollout in the stage."""
        return {
            run.release: run
            for run in self.runs.values()
            if run.stage == key and run.kind is RunKind.ROLLOUT
        }

    def held(self, key: StageKey) -> tuple[Quarantine, ...]:
        """Quarantines in force."""
        return tuple(
            item for item in self.quarantines if item.stage == key and item.lifted_at is None
        )

    def frozen(self, key: StageKey) -> tuple[Freeze, ...]:
        """Freezes in force whose scope covers a stage."""
        return tuple(
            item
            for item in self.freezes
            if item.thawed_at is None
            and (item.until is None or item.until > self.now)
            and item.scope in ("*", f"stage:{key}")
        )

    def recent_rollbacks(self, key: StageKey) -> int:
        """Automatic rollbacks within the last hour; a further attempt of one is the same one."""
        since = self.now - timedelta(hours=1)
        return sum(
            run.stage == key
            and run.kind is RunKind.ROLLBACK
            and not run.requested_by
            and run.attempt_number == 1
            and run.created_at is not None
            and run.created_at >= since
            for run in self.runs.values()
        )

    def revoke(self, verification: VerificationId) -> None:
        """A verification is no restore target any more."""
        self.verifications = [
            replace(item, revoked_at=self.now) if item.id == verification else item
            for item in self.verifications
        ]

    def put(self, stage: Stage) -> None:
        """Stores a stage."""
        self.stages[stage.key] = stage


def destination_of(spec: StageSpec) -> Destination:
    """Where a stage writes."""
    return Destination(spec.cluster, spec.namespace, spec.namespaces, spec.service_account)
