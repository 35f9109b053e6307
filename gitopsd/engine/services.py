"""What the engine works with: the ports, the configuration, and how this process runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from gitopsd.cluster_ports import (
    Clusters,
)
from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Digest, Inventory, JsonObject, ObjectKey
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import RunId
from gitopsd.engine.inbox import Inbox
from gitopsd.engine.pauses import Pause
from gitopsd.ports import Clock, Doorbell, GateProber, Notifier, Renderer, Telemetry, Verifier
from gitopsd.registry_ports import Registry
from gitopsd.source_ports import SourceRepository
from gitopsd.store_ports import Store


@dataclass(frozen=True, slots=True)
class Pace:
    """How this process spends its time.

    Attributes:
        poll: How often a watched ref or image is read without any hint.
        settle: How long a hint about an image waits for those that come with it.
        sweep: How often due work and deadlines are looked for without any ring.
        claim: How long a claimed work item stays claimed when its worker dies.
        lease: How long the right to write to a stage lasts unless renewed.
        lease_renewal: How often a lease is renewed while writing.
        lease_budget: After how long without renewal a writer stops by itself.
        slice: How long a step works in one go before it answers StepPending.
        look: Shortest time between two looks at the cluster while waiting.
        watch: Time between two looks in the watch window.
        concurrency: Work items done at once.
        request: Bound of one request to a cluster.
        retention: How long what ended is kept that nothing needs.
        tidy: How often it is looked for.
    """

    poll: timedelta = timedelta(seconds=60)
    settle: timedelta = timedelta(seconds=1)
    sweep: timedelta = timedelta(seconds=1)
    claim: timedelta = timedelta(seconds=120)
    lease: timedelta = timedelta(seconds=30)
    lease_renewal: timedelta = timedelta(seconds=10)
    lease_budget: timedelta = timedelta(seconds=20)
    slice: timedelta = timedelta(seconds=45)
    look: timedelta = timedelta(milliseconds=500)
    watch: timedelta = timedelta(seconds=15)
    concurrency: int = 48
    request: timedelta = timedelta(seconds=10)
    retention: timedelta = timedelta(days=90)
    tidy: timedelta = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Handed:
    """What one step of a run read, for the next one in this process.

    Attributes:
        run: The run.
        objects: Live objects as they were read, a moment ago.
    """

    run: RunId
    objects: Mapping[ObjectKey, JsonObject] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Services:
    """The ports that handlers use, wired by `gitopsd.bootstrap`.

    Attributes:
        store: The database.
        clusters: The configured clusters.
        repositories: Git.
        renderer: kustomize.
        registry: Registries of images.
        verifier: HTTP checks.
        prober: What gates ask outside.
        notifier: Channels.
        doorbell: Hints that there is work.
        clock: This process's time.
        telemetry: Metrics and bug reports.
        configuration: The configuration in force now.
        read_secret: Reads a secret file as it is now, without its last line break.
        replica: Id of this process.
        pace: How it spends its time.
        public_url: Address under which people reach the API, without a slash at the end; empty
            when none is known.
        pauses: How the channels fare, as this process sees it.
        newest_fences: Highest fence that this process took for a stage; a permit of its own with
            an older one, left behind by a step whose time was over, is void at once.
        inventories: Inventories as this process wrote them last.
        handed: What a stage's restore read before it writes; taken by the step that writes.
        seen_tags: Image -> what its tags pointed to when this process asked last.
        silent_registries: Host -> until when it is not asked again whether an image is there.
        inbox: Stores deliveries.
    """

    store: Store
    clusters: Clusters
    repositories: SourceRepository
    renderer: Renderer
    registry: Registry
    verifier: Verifier
    prober: GateProber
    notifier: Notifier
    doorbell: Doorbell
    clock: Clock
    telemetry: Telemetry
    configuration: Callable[[], Configuration]
    read_secret: Callable[[str], bytes]
    replica: str = "replica-1"
    pace: Pace = field(default_factory=Pace)
    public_url: str = ""
    pauses: dict[str, Pause] = field(default_factory=dict, compare=False, repr=False)
    newest_fences: dict[StageKey, int] = field(default_factory=dict, compare=False)
    inventories: dict[str, Inventory] = field(default_factory=dict, compare=False, repr=False)
    handed: dict[StageKey, Handed] = field(default_factory=dict, compare=False, repr=False)
    seen_tags: dict[str, dict[str, Digest]] = field(default_factory=dict, compare=False, repr=False)
    silent_registries: dict[str, float] = field(default_factory=dict, compare=False)
    inbox: Inbox = field(default_factory=Inbox, compare=False, repr=False)
