"""Protocols of everything outside: what the engine needs, said without a driver.

Verdicts come back as values (`Rejection`, `ApiRefusal`); an exception of `gitopsd.errors` means
that it could not be found out. The store's protocols live in `gitopsd.store_ports`, that of
registries in `gitopsd.registry_ports`, that of clusters in `gitopsd.cluster_ports`, and that of Git
in `gitopsd.source_ports`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, TypeAlias

from gitopsd.domain.asked_gates import GateQuestion, ProbeAnswer
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.checks import Check
from gitopsd.domain.manifests import Digest, Json, JsonObject, RenderedSet
from gitopsd.domain.reports import Report
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.domain.work import Notification


class Clock(Protocol):
    """Time as this process sees it. Stored times come from the database's clock instead."""

    def now(self) -> datetime:
        """Tell the wall clock, aware, UTC."""

    def monotonic(self) -> float:
        """Tell seconds that never go back, for local budgets; also runs while suspended."""

    async def sleep(self, duration: timedelta) -> None:
        """Wait."""


class Doorbell(Protocol):
    """A hint that there is work. Losing every ring costs at most one sweep."""

    async def ring(self) -> None:
        """Wake whoever waits, here and in other replicas. Never raises, never blocks for long."""

    async def wait(self, timeout: timedelta) -> bool:
        """Wait for a ring. Returns False when ``timeout`` passed without one."""

    async def close(self) -> None:
        """Stop listening."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A definite verdict against something a person wrote.

    Attributes:
        reason: PascalCase word, e.g. ``RemoteBase``.
        message: One sentence that begins with ``path:line`` when the place is known.
    """

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class InputSet:
    """The files an overlay reads.

    Attributes:
        key: Digest over the overlay path, renderer, flags and every (path, blob id).
        files: Path in the repository -> blob id.
    """

    key: str
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """What to render.

    Attributes:
        repo: Repository address.
        commit: Commit to read.
        path: Overlay directory in it.
        labels: Labels put on every object (never on pod templates or selectors).
        images: Image name, or whole reference -> digest to pin.
        tags: Image name -> tag that is written beside its digest, for people to read; without one
            the tag that stands in Git stays.
    """

    repo: RepoURL
    commit: CommitSha
    path: str
    labels: Mapping[str, str] = field(default_factory=dict)
    images: Mapping[str, Digest] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


NOT_A_FILE = "NotAFile"
"""Reason of a Rejection: a path of a commit holds a directory, a link or a submodule."""


class Renderer(Protocol):
    """Real kustomize in a limited child, on exactly the files its inputs name."""

    async def fetch_document(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> JsonObject | Rejection | None:
        """Read a small YAML file of a commit; starts no renderer.

        Returns:
            Its one document; None when the commit has nothing there; why it cannot be read when
            there is no file (`NOT_A_FILE`), a large one (``TooLarge``), or no such document.

        Raises:
            TemporaryError: The mirror cannot be read now.
        """

    async def fetch_inputs(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> InputSet | Rejection:
        """Walk an overlay's inputs in the Git tree; starts no renderer.

        Raises:
            TemporaryError: The mirror cannot be read now.
        """

    async def run_render(self, request: RenderRequest) -> RenderedSet | Rejection:
        """Render an overlay.

        Raises:
            TemporaryError: The renderer could not be started or was killed from outside.
        """


@dataclass(frozen=True, slots=True)
class Baseline:
    """What ran before a release was applied.

    Attributes:
        release: Its release.
        until: Until when it ran undisturbed.
    """

    release: str
    until: datetime


@dataclass(frozen=True, slots=True)
class CheckTarget:
    """Where a check is made.

    Attributes:
        cluster: Name of the stage's cluster.
        namespace: Namespace of the stage.
        service_account: Identity of the stage.
        run: Run that is verified.
        attempt: Name of the attempt, unique in the run; the same one again after a crash.
        begun: Whether this process knows that the attempt has begun.
        templates: Objects of the rendered set that checks are made from.
        labels: Labels that every object of the stage carries.
        values: Placeholder of a query -> what stands for it.
        since: From when on metrics are measured; None when those of a moment ago count too.
        baseline: What metrics are compared with; None when there is nothing.
    """

    cluster: str
    namespace: str
    service_account: str = ""
    run: str = ""
    attempt: str = ""
    begun: bool = False
    templates: tuple[JsonObject, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    since: datetime | None = None
    baseline: Baseline | None = None


@dataclass(frozen=True, slots=True)
class CheckAttempt:
    """One attempt of one check.

    Attributes:
        passed: True, False, or None when nothing could be seen (the API server's fault, not the
            application's).
        message: One clause.
        evidence: What was sent and what came back, redacted.
        latency: Duration of the whole attempt, body included.
        retry_after: How long the API server asked to be left alone; None when it did not.
        underway: Whether the attempt has not ended yet: it is to be asked for again, by its name.
            ``passed`` is False then while it is seen to be so, and None while that cannot be seen.
        locked_out: Whether it let us ask nothing, see `gitopsd.cluster_ports.LOCKED_OUT`.
        spent: Whether nothing could be told, and asking again would tell no more.
    """

    passed: bool | None
    message: str
    evidence: Json = None
    latency: timedelta = timedelta(0)
    retry_after: timedelta | None = None
    underway: bool = False
    locked_out: bool = False
    spent: bool = False


class Verifier(Protocol):
    """Makes checks against the application itself."""

    async def tidy(self, check: Check, target: CheckTarget) -> None:
        """Remove what an attempt left in the cluster, once its answer is stored. Never raises."""

    async def run_check(self, check: Check, target: CheckTarget) -> CheckAttempt:
        """Make one attempt; counting successes is the step's business. Never raises."""


class GateProber(Protocol):
    """Asks outside what a gate wants to know."""

    async def ask(self, question: GateQuestion) -> ProbeAnswer:
        """Ask once, within the gate's own time. Never raises.

        What could not be found out is an answer too, with the reason. Safe to repeat: it only asks.
        """

    async def close(self) -> None:
        """Close connections."""


Remember: TypeAlias = Callable[[JsonObject], Awaitable[None]]
"""Stores what a channel's adapter must know to find again what it shows."""

MISCONFIGURED = "Misconfigured"
"""Reason of a PermanentError that is about the channel, not about one message: a person must
change something there, then everything that waits goes through."""

MISCONFIGURED_PART = "MisconfiguredPart"
"""The same about what a message belongs to within its channel, one of several repositories for
instance: what belongs elsewhere goes through meanwhile."""


class Notifier(Protocol):
    """Sends notifications to channels, and shows reports in those that can be updated."""

    async def send(self, channel: ChannelSpec, notification: Notification) -> None:
        """Send one notification. Safe to repeat: the receiver sees the same message id.

        Raises:
            TemporaryError: The channel did not take it; try again later.
            PermanentError: The channel will never take it.
        """

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,
    ) -> None:
        """Bring what the channel shows of a report to how the report stands.

        Safe to repeat: what is shown already is found by ``known``, and after a crash between
        showing and remembering by the report's id in the channel itself.

        Args:
            channel: Where.
            report: How things stand.
            known: What was remembered last; empty the first time.
            remember: Stores what must be known the next time; called before something new is made
                and after each change that the channel took.
            under: What is remembered of the report that this one belongs below; None for none.

        Raises:
            TemporaryError: The channel did not take all of it; try again later.
            PermanentError: The channel will never take it; with the reason `MISCONFIGURED`, or
                `MISCONFIGURED_PART`, not before a person changes something.
        """


class Telemetry(Protocol):
    """Metrics and reports of bugs; losing them loses nothing else."""

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter."""

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Record a value in a histogram, seconds for durations."""

    def report(self, error: BaseException, **context: str) -> None:
        """Report a bug, redacted."""
