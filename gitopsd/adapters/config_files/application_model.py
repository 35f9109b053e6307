"""The kind Application."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from gitopsd.adapters.config_files.checks_model import CheckSection, make_checks
from gitopsd.adapters.config_files.fields import (
    Branch,
    Duration,
    Grant,
    Name,
    PositiveDuration,
    RepositoryPath,
    RepositoryUrl,
    Section,
    refuse,
)
from gitopsd.adapters.config_files.gates_model import GateSection
from gitopsd.adapters.config_files.groups_model import After, GroupSection, ask_group, read_after
from gitopsd.adapters.config_files.images_model import ImageSection
from gitopsd.adapters.config_files.tags_model import TagsSection, followed_ref
from gitopsd.domain.config import (
    ApplicationSpec,
    GitSource,
    MonitorSpec,
    Promotion,
    PruneLimits,
    RewindPolicy,
    RollbackGit,
    RollbackPolicy,
    StageMode,
    StageSpec,
    UpstreamMatch,
    UpstreamSpec,
)
from gitopsd.domain.images import PinImages
from gitopsd.domain.releases import ApplicationName, StageName
from gitopsd.domain.sources import RepoURL


class MetadataSection(Section):
    """``metadata:`` of every kind."""

    NOT_YET: ClassVar[dict[str, str]] = {
        "renamedFrom": "Keep the old name, or let the application begin anew under the new one",
        "annotations": "Use labels",
    }

    name: Name = Field(description="Name of the object")
    labels: dict[str, str] = Field(default={}, description="For projects and subscriptions")


class SourceSection(Section):
    """``source:``: where the manifests live."""

    repo_url: RepositoryUrl = Field(
        alias="repoURL",
        description="Repository address",
        examples=["https://git.example/team/app.git"],
    )
    branch: Branch | None = Field(
        default=None, description="Branch that is followed", examples=["main"]
    )
    tags: TagsSection | None = Field(
        default=None, description="Tags that are followed, instead of a branch"
    )
    rewind: Literal["hold", "follow"] = Field(
        default="hold", description="What a force-push to an older commit does"
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if (self.branch is None) == (self.tags is None):
            raise refuse(
                "a source follows either a branch or tags",
                'Write `branch: main`, or `tags: "v*"`, or `tags: {semver: ">=1"}`',
            )
        return self

    def to_domain(self) -> GitSource:
        """Make the frozen value."""
        ref = followed_ref(self.branch, self.tags)
        if ref is None:  # pragma: no cover - `_check_one` saw to it; mypy cannot know
            raise AssertionError
        return GitSource(
            repo=RepoURL(self.repo_url),
            ref=ref,
            rewind=RewindPolicy(self.rewind),
        )


class HealthSection(Section):
    """``health:``: how long WaitHealthy may take, and each wave before it."""

    timeout: PositiveDuration = Field(
        default=timedelta(minutes=5),
        description="Of WaitHealthy, and of each wave once its hooks have ended",
    )
    unschedulable_grace: Duration = Field(
        default=timedelta(seconds=15),
        description="How long a pod may be unschedulable before that counts",
    )


class RollbackSection(Section):
    """``rollback:``: what a failed run does."""

    policy: Literal["automatic", "manual", "forbidden"] = "automatic"
    git: Literal["none", "pin", "revert-commit"] = Field(
        default="none",
        description="What is committed to the branch afterwards, so that Git says what runs",
    )
    deadline: PositiveDuration = Field(
        default=timedelta(minutes=5),
        description="How long a Rollback's WaitHealthy may take, and each wave before it",
    )
    certify: Duration | None = Field(
        default=None, description="How long all must hold at its end; the stage's own otherwise"
    )


class MonitorSection(Section):
    """``monitor:``: checks that go on after success."""

    every: PositiveDuration = Field(description="Time between two rounds", examples=["5m"])
    verify: list[CheckSection] = Field(default=[], description="What is checked, beside health")

    @model_validator(mode="after")
    def _check_kinds(self) -> Self:
        if any(check.job is not None for check in self.verify):
            raise refuse(
                "a monitor runs no Jobs", "Write the Job under the stage's `verify:`, or a CronJob"
            )
        return self

    def to_domain(self) -> MonitorSpec:
        """Make the frozen value."""
        return MonitorSpec(self.every, make_checks(self.verify))


class PruneSection(Section):
    """``prune:``: when deletions need a person."""

    objects: Annotated[int, Field(ge=0)] = Field(default=20, description="More than these")
    share: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.5, description="More than this share"
    )


class UpstreamSection(Section):
    """``upstream:``: what another stage must have verified, for a stage with its own branch."""

    stage: Name = Field(description="Stage that has to verify it", examples=["staging"])
    match: Literal["images"] = Field(
        description="What has to be verified there: every image, by its digest"
    )

    def to_domain(self) -> UpstreamSpec:
        """Make the frozen value."""
        return UpstreamSpec(StageName(self.stage), UpstreamMatch(self.match))


class StageSection(Section):
    """One entry of ``stages:``."""

    NOT_YET: ClassVar[dict[str, str]] = {
        "drift": "Drift is not corrected; run `gitopsd sync` meanwhile",
    }

    name: Name = Field(description="Stage name", examples=["staging"])
    cluster: Name = Field(description="Name of a file in clusters/", examples=["staging"])
    path: RepositoryPath = Field(
        description="Overlay directory in the repository", examples=["overlays/staging"]
    )
    namespace: Name = Field(description="Namespace it writes to", examples=["ai-core"])
    namespaces: list[Name] = Field(default=[], description="Further namespaces inside its boundary")
    cluster_scoped: list[Grant] = Field(
        default=[],
        description="Cluster-scoped kinds it may write, or single objects as Kind/name",
        examples=[["Namespace", "ClusterRole/reader"]],
    )
    after: After = Field(
        default=[],
        description="Stages whose verification a release needs: all of a list, or any of them",
        examples=[["staging"], {"any": ["eu", "us"]}],
    )
    promotion: Literal["newest", "upstream", "manual"] = Field(
        default="newest",
        description="What it takes by itself: the newest release verified in the stages before, "
        "what they run now, or nothing",
    )
    group: Name | None = Field(default=None, description="Group of stages that it belongs to")
    branch: Branch | None = Field(
        default=None, description="Own branch; makes the stage its own entry"
    )
    tags: TagsSection | None = Field(
        default=None, description="Own tags, instead of a branch; makes the stage its own entry"
    )
    upstream: UpstreamSection | None = Field(
        default=None,
        description="Asks another stage for its images, where promotion does not come from it",
    )
    service_account: Name | None = Field(default=None, description="Identity that writes")
    mode: Literal["apply", "observe"] = Field(
        default="apply", description="observe stops after Diff"
    )
    health: HealthSection = HealthSection()
    verify: list[CheckSection] = Field(
        default=[], description="Checks of Verify, repeated in Certify"
    )
    gates: list[GateSection] = Field(
        default=[], description="Conditions before anything is written"
    )
    rollback: RollbackSection = RollbackSection()
    certify: Duration = Field(default=timedelta(0), description="How long all must hold at the end")
    watch: Duration = Field(
        default=timedelta(0), description="How long a definite failure still rolls back afterwards"
    )
    monitor: MonitorSection | None = Field(
        default=None, description="Checks that go on for as long as a verified release runs"
    )
    prune: PruneSection = PruneSection()
    image_grace: Duration = Field(
        default=timedelta(seconds=30),
        description="How long an image may be missing before that counts",
    )

    @model_validator(mode="after")
    def _check_one(self) -> Self:
        if self.branch is not None and self.tags is not None:
            raise refuse("a stage follows either a branch or tags", "Remove one of the two")
        return self

    def to_domain(self) -> StageSpec:
        """Make the frozen value."""
        after, after_any = read_after(self.after)
        return StageSpec(
            name=StageName(self.name),
            cluster=self.cluster,
            path=self.path,
            namespace=self.namespace,
            namespaces=tuple(self.namespaces),
            cluster_scoped=tuple(self.cluster_scoped),
            after=after,
            after_any=after_any,
            promotion=Promotion(self.promotion),
            group=self.group or "",
            ref=followed_ref(self.branch, self.tags),
            upstream=self.upstream.to_domain() if self.upstream is not None else None,
            service_account=self.service_account or "",
            mode=StageMode(self.mode),
            health_timeout=self.health.timeout,
            unschedulable_grace=self.health.unschedulable_grace,
            verify=make_checks(self.verify),
            gates=tuple(gate.to_domain() for gate in self.gates),
            rollback_policy=RollbackPolicy(self.rollback.policy),
            rollback_deadline=self.rollback.deadline,
            rollback_git=RollbackGit(self.rollback.git),
            rollback_certify=self.rollback.certify,
            monitor=self.monitor.to_domain() if self.monitor is not None else None,
            certify=self.certify,
            watch=self.watch,
            image_grace=self.image_grace,
            prune_limits=PruneLimits(objects=self.prune.objects, share=float(self.prune.share)),
        )


class ApplicationSection(Section):
    """``spec:`` of an application."""

    source: SourceSection = Field(description="Where the manifests live")
    images: list[ImageSection] = Field(
        default=[], description="Images that make releases too, each chosen by its policy"
    )
    pin_images: Literal["none", "all"] = Field(
        default="none", description="all: every other image is resolved once and pinned by digest"
    )
    stages: Annotated[list[StageSection], Field(min_length=1)] = Field(
        description="Stages in order"
    )
    groups: list[GroupSection] = Field(
        default=[], description="Groups of stages: their order, and when a release goes no further"
    )


class Application(Section):
    """One deployable thing: a Git source and stages in order."""

    api_version: Literal["gitopsd.io/v1"] = Field(alias="apiVersion")
    kind: Literal["Application"]
    metadata: MetadataSection
    spec: ApplicationSection

    def to_domain(self, *, file: str, digest: str) -> ApplicationSpec:
        """Make the frozen value.

        Args:
            file: File it was read from.
            digest: Digest of its canonical content.
        """
        groups = tuple(group.to_domain() for group in self.spec.groups)
        return ApplicationSpec(
            name=ApplicationName(self.metadata.name),
            labels=self.metadata.labels,
            source=self.spec.source.to_domain(),
            stages=tuple(ask_group(stage.to_domain(), groups) for stage in self.spec.stages),
            groups=groups,
            file=file,
            digest=digest,
            images=tuple(image.to_domain() for image in self.spec.images),
            pin_images=PinImages(self.spec.pin_images),
        )
