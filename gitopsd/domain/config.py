"""The configuration kinds as frozen values; parsing and validation happen in the adapters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.checks import Check
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.images import ImageSource, PinImages, RegistrySpec
from gitopsd.domain.metrics import MetricsServer
from gitopsd.domain.people import People
from gitopsd.domain.releases import ApplicationName, StageName
from gitopsd.domain.sources import ReceiverName, ReceiverSpec, RefName, RepositorySpec, RepoURL


class RewindPolicy(Enum):
    """What a force-push to an older commit does."""

    HOLD = "hold"
    FOLLOW = "follow"


class RollbackPolicy(Enum):
    """Whether a failed run restores what was last verified; later members are stricter."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"
    FORBIDDEN = "forbidden"


class RollbackGit(Enum):
    """What is committed to Git after a Rollback, so that it says what runs."""

    NONE = "none"
    PIN = "pin"
    REVERT_COMMIT = "revert-commit"


class StageMode(Enum):
    """Whether a stage applies, or only says what it would do."""

    APPLY = "apply"
    OBSERVE = "observe"


class Promotion(Enum):
    """Which release a stage takes by itself."""

    NEWEST = "newest"
    """The newest that is verified in the stages before."""
    UPSTREAM = "upstream"
    """What the stages before run, verified, now."""
    MANUAL = "manual"
    """None: a person names each."""


class UpstreamMatch(Enum):
    """What of a release must have been verified in the upstream stage."""

    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class UpstreamSpec:
    """What a stage that is fed by a line of its own asks of another stage.

    Attributes:
        stage: The stage that has to verify it.
        match: What has to be verified there.
    """

    stage: StageName
    match: UpstreamMatch = UpstreamMatch.IMAGES


@dataclass(frozen=True, slots=True)
class GitSource:
    """Where an application's manifests live.

    Attributes:
        repo: Repository address.
        ref: Full ref name that is followed.
        rewind: What a force-push to an older commit does.
    """

    repo: RepoURL
    ref: RefName
    rewind: RewindPolicy = RewindPolicy.HOLD


@dataclass(frozen=True, slots=True)
class PruneLimits:
    """When deletions need a person: more than ``objects``, or than ``share`` of what is there."""

    objects: int = 20
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class MonitorSpec:
    """Checks that go on for as long as a verified release runs.

    Attributes:
        every: Time between two rounds.
        verify: What is checked, beside health.
    """

    every: timedelta
    verify: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One stage of an application as configured.

    Attributes:
        name: Stage name.
        cluster: Name of the configured cluster.
        path: Overlay directory in the repository.
        namespace: Namespace it writes to.
        namespaces: Further namespaces inside its boundary.
        cluster_scoped: Cluster-scoped kinds it may write, or single objects as ``Kind/name``.
        after: Stages whose verification a release needs; empty for an entry stage.
        ref: Own ref for a stage that is its own entry; None to use the application's.
        service_account: Identity that writes; empty for gitopsd's own.
        mode: Apply, or observe only.
        health_timeout: How long WaitHealthy may take, and each wave before the last.
        verify: Checks of Verify, repeated in Certify.
        gates: Configured gates, in file order.
        rollback_policy: Whether a failure restores.
        rollback_deadline: The same in a Rollback.
        rollback_git: What is committed to Git after one that succeeded.
        certify: How long health and checks must hold at the end; zero for no Certify wait.
        watch: How long after Succeeded a definite failure still rolls back.
        prune_limits: When deletions need a person.
        unschedulable_grace: How long a pod may be unschedulable before that is a failure.
        rollback_certify: How long health and checks must hold at the end of a Rollback; None for
            as long as at the end of a Rollout.
        monitor: Checks after success; None for none.
        upstream: What another stage must have verified before this one takes it; None for nothing.
        image_grace: How long an image may be missing: a build often pushes its commit a moment
            before its image.
        after_any: Whether the verification of one of ``after`` is enough.
        promotion: Which release it takes by itself.
        group: Name of the group it belongs to; empty for none.
    """

    name: StageName
    cluster: str
    path: str
    namespace: str
    namespaces: tuple[str, ...] = ()
    cluster_scoped: tuple[str, ...] = ()
    after: tuple[StageName, ...] = ()
    ref: RefName | None = None
    service_account: str = ""
    mode: StageMode = StageMode.APPLY
    health_timeout: timedelta = timedelta(minutes=5)
    verify: tuple[Check, ...] = ()
    gates: tuple[GateSpec, ...] = ()
    rollback_policy: RollbackPolicy = RollbackPolicy.AUTOMATIC
    rollback_deadline: timedelta = timedelta(minutes=5)
    certify: timedelta = timedelta(0)
    watch: timedelta = timedelta(0)
    prune_limits: PruneLimits = field(default_factory=PruneLimits)
    unschedulable_grace: timedelta = timedelta(seconds=15)
    rollback_certify: timedelta | None = None
    monitor: MonitorSpec | None = None
    upstream: UpstreamSpec | None = None
    image_grace: timedelta = timedelta(seconds=30)
    rollback_git: RollbackGit = RollbackGit.NONE
    after_any: bool = False
    promotion: Promotion = Promotion.NEWEST
    group: str = ""

    def certify_of(self, *, rollback: bool) -> timedelta:
        """Tell how long health and checks must hold at the end of a run."""
        own = self.rollback_certify if rollback else None
        return self.certify if own is None else own


@dataclass(frozen=True, slots=True)
class ApplicationSpec:
    """One application file.

    Attributes:
        name: Application name.
        labels: Labels, for projects and subscriptions.
        source: Where the manifests live.
        stages: Stages in file order.
        file: File it was read from, for messages.
        revision: Number of this content among the file's revisions; 0 before it is stored.
        digest: sha256 of the canonical content.
        images: Images that releases are made from, beside the commits.
        pin_images: Which other image references are pinned by digest.
        groups: Groups of stages, in file order.
    """

    name: ApplicationName
    labels: Mapping[str, str]
    source: GitSource
    stages: tuple[StageSpec, ...]
    file: str = ""
    revision: int = 0
    digest: str = ""
    images: tuple[ImageSource, ...] = ()
    pin_images: PinImages = PinImages.NONE
    groups: tuple[GroupSpec, ...] = ()

    def stage(self, name: StageName) -> StageSpec | None:
        """Find a stage by name; None when the file has none of that name."""
        return next((stage for stage in self.stages if stage.name == name), None)

    def group_named(self, name: str) -> GroupSpec | None:
        """Find a group by name; None when the file has none of that name."""
        return next((group for group in self.groups if group.name == name), None)

    def group_of(self, stage: StageSpec) -> GroupSpec | None:
        """Find the group that a stage belongs to; None when it belongs to none."""
        return self.group_named(stage.group) if stage.group else None

    def waves_of(self, group: GroupSpec) -> tuple[tuple[StageName, ...], ...]:
        """List a group's stages by wave; without an order all are in one, in file order."""
        if group.order:
            return group.order
        return (tuple(stage.name for stage in self.stages if stage.group == group.name),)

    def ref_of(self, stage: StageSpec) -> RefName:
        """Find the ref whose line feeds the stage."""
        return stage.ref or self.source.ref

    def follows(self, repo: RepoURL, ref: RefName) -> bool:
        """Tell whether a line of the application comes from this ref."""
        return self.source.repo == repo and any(self.ref_of(one) == ref for one in self.stages)


@dataclass(frozen=True, slots=True)
class ClusterSpec:
    """How to reach a cluster: in-cluster, kubeconfig file and context, or server, token and CA.

    Attributes:
        name: Cluster name.
        in_cluster: Whether the pod's own service account is used.
        kubeconfig: Path of a kubeconfig file; empty when not used.
        context: Context in it; empty for its current one.
        server: API server address; empty when a kubeconfig is used.
        token_file: File with the bearer token.
        ca_file: File with the CA certificates.
        inventory_namespace: Namespace of gitopsd's own in this cluster.
        rollout_budget: Front Rollouts that may be under way at once.
        metrics: Where its metrics are asked for; None when nowhere.
    """

    name: str
    in_cluster: bool = False
    kubeconfig: str = ""
    context: str = ""
    server: str = ""
    token_file: str = ""
    ca_file: str = ""
    inventory_namespace: str = "gitopsd"
    rollout_budget: int = 10
    metrics: MetricsServer | None = None


@dataclass(frozen=True, slots=True)
class ProjectSpec:
    """Limits for a set of applications; empty tuples allow all.

    Attributes:
        name: Project name.
        labels: Labels that put an application into the project.
        clusters: Clusters they may use.
        namespaces: Namespaces they may write to.
        kinds: Kinds they may contain.
    """

    name: str
    labels: Mapping[str, str]
    clusters: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HeldRemoval:
    """A file that vanished in a way that looks like an accident; what it said still counts.

    Attributes:
        file: Path relative to the configuration folder.
        kind: Kind of what it defines.
        name: Its name.
        stages: Stages that are retired when the removal is confirmed.
    """

    file: str
    kind: str
    name: str
    stages: tuple[StageName, ...] = ()


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that the configuration folder says, valid as a whole."""

    applications: Mapping[ApplicationName, ApplicationSpec] = field(default_factory=dict)
    clusters: Mapping[str, ClusterSpec] = field(default_factory=dict)
    repositories: tuple[RepositorySpec, ...] = ()
    receivers: Mapping[ReceiverName, ReceiverSpec] = field(default_factory=dict)
    channels: Mapping[str, ChannelSpec] = field(default_factory=dict)
    people: People = field(default_factory=People)
    projects: tuple[ProjectSpec, ...] = ()
    registries: tuple[RegistrySpec, ...] = ()
