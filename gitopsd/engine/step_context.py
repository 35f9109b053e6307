"""What one execution of a step is given, and how it keeps evidence."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitopsd.cluster_ports import (
    Cluster,
)
from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec
from gitopsd.domain.manifests import Json, JsonObject, RenderedSet
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import CommandId, Run, Step
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.engine.live_objects import ReadAhead
from gitopsd.engine.services import Services
from gitopsd.errors import LostError
from gitopsd.kube.names import APPLICATION_LABEL, STAGE_LABEL
from gitopsd.store_ports import Transaction


def inventory_namespace(config: Configuration, cluster: str) -> str:
    """Tell where gitopsd's own ConfigMaps live in a cluster."""
    found = config.clusters.get(cluster)
    return found.inventory_namespace if found is not None else "gitopsd"


@dataclass(frozen=True, slots=True)
class StepContext:
    """One execution of one step.

    Attributes:
        services: The ports.
        run: The run as it was when its command was claimed.
        step: The step to do.
        command: The command that asks for it.
        application: The application file that the run was admitted under.
        spec: The stage in that file.
        release: The run's release.
        stage: The stage as stored when the command was claimed.
        began_at: When the present attempt of the step was begun, for budgets of one execution.
        series: Name of a series of attempts of checks beside the step's own, where a person has
            them made again later; what it keeps takes the places of an earlier series. Empty for
            the step's own.
        rendered: The run's rendered set, where it was read along with the rest; None to read it.
        is_first: Whether nothing can have been done for the run before, so that nothing is kept.
        ahead: What a restore replaces, where it is being read since the verdict; None to read it.
    """

    services: Services
    run: Run
    step: Step
    command: CommandId
    application: ApplicationSpec
    spec: StageSpec
    release: Release
    stage: Stage
    began_at: datetime
    series: str = ""
    rendered: RenderedSet | None = None
    is_first: bool = False
    ahead: ReadAhead | None = field(default=None, compare=False, repr=False)

    @property
    def labels(self) -> dict[str, str]:
        """Labels that every object of the stage carries."""
        return {APPLICATION_LABEL: self.application.name, STAGE_LABEL: self.spec.name}

    def cluster(self) -> Cluster:
        """Find the stage's cluster, as the stage's identity.

        Raises:
            PermanentError: The cluster is not configured or its file cannot be used.
        """
        return self.services.clusters.get(
            self.spec.cluster,
            service_account=self.spec.service_account,
            namespace=self.spec.namespace,
        )

    def own_cluster(self) -> Cluster:
        """Find the stage's cluster as gitopsd itself, for the inventory.

        Raises:
            PermanentError: The cluster is not configured or its file cannot be used.
        """
        return self.services.clusters.get(self.spec.cluster)

    def is_time_up(self) -> bool:
        """Whether this execution has to report: its slice, or nearly the step's time, is over."""
        return self.time_left() <= timedelta(0)

    def time_left(self) -> timedelta:
        """Tell how long this execution may go on before it has to report; never below zero."""
        now, deadline = self.services.clock.now(), self.run.step_deadline
        left = self.began_at + self.services.pace.slice - now
        if deadline is not None:
            left = min(left, deadline - timedelta(seconds=1) - now)
        return max(left, timedelta(0))

    def inventory_namespace(self) -> str:
        """Tell where gitopsd's own ConfigMaps live in the stage's cluster."""
        return inventory_namespace(self.services.configuration(), self.spec.cluster)

    async def load_rendered(self) -> RenderedSet:
        """Read the run's rendered set.

        Raises:
            LostError: It is not stored any more, or its key is gone.
        """
        digest, found = self.run.rendered, self.rendered
        if found is None and digest is not None:
            wanted = digest
            found = await self.services.store.read(lambda tx: tx.rendered.get(wanted))
        if found is None:
            message = f"rendered set {digest} of run {self.run.id} is not in the database any more"
            raise LostError(message, reason="RenderedSetMissing")
        return found

    async def keep(self, kind: EvidenceKind, content: Json, *, key: str = "") -> None:
        """Keep evidence with the run; redacted by the caller. Safe to repeat with a key."""

        def work(tx: Transaction) -> None:
            tx.runs.put_evidence(Evidence(self.run.id, self.step, kind, tx.now, content, key=key))

        await self.services.store.transact(work)

    async def load_evidence(self, kind: EvidenceKind, key: str) -> JsonObject | None:
        """Read evidence that an earlier step of this run kept under a key."""
        pieces = await self.services.store.read(lambda tx: tx.runs.evidence(self.run.id))
        for piece in reversed(pieces):
            if piece.kind is kind and piece.key == key and isinstance(piece.content, dict):
                return piece.content
        return None
