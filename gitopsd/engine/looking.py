"""Looks at everything a run applied: live objects, their pods, and what that means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta

from gitopsd.cluster_ports import (
    ApiRefusal,
    Cluster,
)
from gitopsd.domain.manifests import Json, JsonObject, ObjectHealth
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.assessment import identity_of, identity_of_placed
from gitopsd.engine.fan_out import run_all
from gitopsd.engine.placing import Placed, place_objects
from gitopsd.engine.refusals import raise_unseen
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.findings import NOT_APPLIED, Applied, HealthSettings
from gitopsd.kube.health import Expected, compute_set_health
from gitopsd.kube.names import ApplyMode
from gitopsd.kube.objects import kind_of, mapping_at, namespace_of
from gitopsd.kube.restarts import restarts_of
from gitopsd.kube.revisions import find_new_pods
from gitopsd.kube.rollouts import EvidenceTarget, RolloutVerdict, compute_rollout_failure
from gitopsd.kube.verdicts import (
    MAX_LOG_LINES,
    SetState,
    SetVerdict,
    judge,
    make_evidence,
    say_last_words,
)

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"})
"""Kinds whose pods are looked at."""

INERT = frozenset(
    {
        ("", "ConfigMap"),
        ("", "LimitRange"),
        ("", "ResourceQuota"),
        ("", "Secret"),
        ("", "ServiceAccount"),
        ("networking.k8s.io", "NetworkPolicy"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
    }
)
"""Kinds that are healthy by being there: who has just applied them need not look."""

STILL = INERT | frozenset(
    {
        ("", "Service"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("batch", "CronJob"),
        ("networking.k8s.io", "Ingress"),
    }
)
"""Kinds that stay healthy once they are: a waiting step looks at each of them until then."""

EVENTS_AFTER = timedelta(seconds=5)
"""What only events tell has longer grace periods: before, they are asked for a failure alone."""


@dataclass(frozen=True, slots=True)
class AppliedPart:
    """A part of a set, as whoever has just applied it knows it.

    Attributes:
        objects: The objects.
        applied: What was applied of each, by identity.
    """

    objects: tuple[JsonObject, ...]
    applied: Mapping[str, Applied]


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw.

    Attributes:
        verdict: What it means.
        missing: Whether an applied object does not exist.
        restarts: Restarts by pod and container, of the newest pods of the set's workloads.
        events: Events of their namespaces; empty while nothing is wrong.
    """

    verdict: SetVerdict
    missing: bool = False
    restarts: Mapping[str, int] = field(default_factory=dict)
    events: tuple[JsonObject, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether everything is as it should be."""
        return self.verdict.state is SetState.HEALTHY

    @property
    def failed(self) -> bool:
        """Whether something definitely failed."""
        return self.verdict.state is SetState.FAILED

    @property
    def failing(self) -> bool:
        """Whether something shows a sign of failure, beyond not being ready yet."""
        return bool(self.verdict.evidence)

    @property
    def reason(self) -> str:
        """PascalCase word for what failed."""
        return self.verdict.reason

    @property
    def message(self) -> str:
        """One sentence about what is not healthy; empty when everything is."""
        return self.verdict.message


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What stands around workloads: their controllers' objects and their pods."""

    controllers: tuple[JsonObject, ...] = ()
    pods: tuple[JsonObject, ...] = ()


async def look_at(context: StepContext) -> Sight:
    """Look at everything the run applied, once.

    Raises:
        TemporaryError: The cluster did not answer; that is no verdict.
    """
    return await Looker(context).look()


class Looker:
    """Looks again and again within one execution of a step.

    What does not move by itself is looked at until it is healthy; events are asked for only when
    something is not.

    Args:
        context: The step.
        trusting: Whether objects that are healthy by being there are taken to be there, because
            Apply has just been told so.
        part: The part of the set that is looked at; None for all of it, as it is stored.
    """

    def __init__(
        self,
        context: StepContext,
        *,
        trusting: bool = False,
        part: AppliedPart | None = None,
    ) -> None:
        self._context = context
        self._part = part
        self._trusting = trusting
        self._cluster = context.cluster()
        self._applied = part.applied if part is not None else None
        self._placed: tuple[Placed, ...] = ()
        self._settled: dict[str, JsonObject] = {}

    async def look(self) -> Sight:
        """Look once.

        Raises:
            TemporaryError: The cluster did not answer, or does not let us look; no verdict.
        """
        applied = await self._load()
        found = await run_all(self._placed, self._get, patience=self._context.services.clock)
        now = self._context.services.clock.now()
        settings = HealthSettings(unschedulable_grace=self._context.spec.unschedulable_grace)
        expected = [
            Expected(
                item.obj,
                live,
                applied.get(identity_of_placed(item), NOT_APPLIED),
                has_status=item.has_status,
            )
            for item, live in zip(self._placed, found, strict=True)
        ]
        healths = compute_set_health(expected, now, settings)
        self._settle(found, healths)
        workloads = [item for item in expected if item.live and kind_of(item.live) in WORKLOADS]
        around = await self._look_around(workloads)
        events: tuple[JsonObject, ...] = ()
        verdict = judge(healths, _judge_workloads(workloads, around, events, now, settings))
        if workloads and _are_events_due(verdict, applied, now):
            events = await self._list_all([("v1", "Event")], workloads)
            verdict = judge(healths, _judge_workloads(workloads, around, events, now, settings))
        return Sight(
            verdict=verdict,
            missing=any(item.live is None for item in expected) and not _all_fine(healths),
            restarts=_restarts(workloads, around),
            events=events,
        )

    async def find_workloads(self) -> frozenset[tuple[str, str, str]]:
        """Tell which collections the set's workloads are in: (API version, kind, namespace).

        Raises:
            TemporaryError: The server's discovery does not answer.
        """
        await self._load()
        return frozenset(
            (item.ref.api_version, item.ref.key.kind, item.ref.key.namespace)
            for item in self._placed
            if item.ref.key.kind in WORKLOADS
        )

    async def _load(self) -> Mapping[str, Applied]:
        """Read what the run applied; kinds that were not served then are looked up again."""
        if self._applied is None:
            self._applied = await _load_applied(self._context)
        if not self._placed or not all(item.served for item in self._placed):
            objects = self._part.objects if self._part is not None else await self._load_objects()
            placed = await place_objects(self._cluster, objects, self._context.spec.namespace)
            self._placed = tuple(item for item in placed if item.mode is not ApplyMode.IGNORE)
            for item in self._placed if self._trusting else ():
                identity, key = identity_of_placed(item), item.ref.key
                if (key.group, key.kind) in INERT and identity in self._applied:
                    self._settled[identity] = _as_applied(item.obj, self._applied[identity])
        return self._applied

    async def _load_objects(self) -> tuple[JsonObject, ...]:
        return (await self._context.load_rendered()).objects

    async def _get(self, item: Placed) -> JsonObject | None:
        settled = self._settled.get(identity_of_placed(item))
        if settled is not None:
            return settled
        live = await self._cluster.get(item.ref)
        if isinstance(live, ApiRefusal):
            raise_unseen(item.ref, live)
        return live

    def _settle(self, found: Sequence[JsonObject | None], healths: Sequence[ObjectHealth]) -> None:
        for item, live, health in zip(self._placed, found, healths, strict=True):
            key = item.ref.key
            still = (key.group, key.kind) in STILL and health.health.value == "Healthy"
            if live is not None and (still or health.advisory):
                self._settled[identity_of_placed(item)] = live

    async def _look_around(self, workloads: Sequence[Expected]) -> _Surroundings:
        """List the pods of every namespace with workloads, and what stands between them."""
        kinds = {kind_of(item.live) for item in workloads if item.live is not None}
        between = [("apps/v1", "ReplicaSet")] if "Deployment" in kinds else []
        if kinds & {"DaemonSet", "StatefulSet"}:
            between.append(("apps/v1", "ControllerRevision"))
        controllers, pods = await asyncio.gather(
            self._list_all(between, workloads), self._list_all([("v1", "Pod")], workloads)
        )
        return _Surroundings(controllers, pods)

    async def _list_all(
        self, kinds: Sequence[tuple[str, str]], workloads: Sequence[Expected]
    ) -> tuple[JsonObject, ...]:
        namespaces = sorted({namespace_of(item.live) for item in workloads if item.live})
        wanted = [(version, kind, namespace) for namespace in namespaces for version, kind in kinds]
        lists = await run_all(wanted, self._list, patience=self._context.services.clock)
        return tuple(obj for items in lists for obj in items)

    async def _list(self, collection: tuple[str, str, str]) -> tuple[JsonObject, ...]:
        """List a collection; one that may not be listed only makes the verdict less telling."""
        found = await self._cluster.fetch_list(*collection)
        return () if isinstance(found, ApiRefusal) else found


def _as_applied(obj: JsonObject, applied: Applied) -> JsonObject:
    """Make of a manifest what the server has said that there is."""
    metadata = {**mapping_at(obj, "metadata"), "generation": applied.generation}
    return {**obj, "metadata": metadata}


def _are_events_due(verdict: SetVerdict, applied: Mapping[str, Applied], now: datetime) -> bool:
    if verdict.state is SetState.HEALTHY:
        return False
    newest = max((item.at for item in applied.values() if item.at is not None), default=None)
    return verdict.state is SetState.FAILED or newest is None or now - newest >= EVENTS_AFTER


def _all_fine(healths: Sequence[ObjectHealth]) -> bool:
    return all(found.health.value == "Healthy" for found in healths)


async def _load_applied(context: StepContext) -> Mapping[str, Applied]:
    """Read what the run's Apply was answered: generations, and when it changed something."""
    evidence = await context.load_evidence(EvidenceKind.HEALTH, "applied")
    objects = evidence.get("applied") if evidence is not None else None
    found = {}
    for item in objects if isinstance(objects, list) else ():
        if isinstance(item, dict):
            generation, at = item.get("generation"), item.get("at")
            found[identity_of(item)] = Applied(
                generation if isinstance(generation, int) else 0,
                datetime.fromisoformat(at) if isinstance(at, str) else None,
            )
    return found


def _judge_workloads(
    workloads: Sequence[Expected],
    around: _Surroundings,
    events: Sequence[JsonObject],
    now: datetime,
    settings: HealthSettings,
) -> list[RolloutVerdict]:
    return [
        compute_rollout_failure(
            item.live, around.controllers, around.pods, events, now, settings, item.applied
        )
        for item in workloads
        if item.live is not None
    ]


def _restarts(workloads: Sequence[Expected], around: _Surroundings) -> dict[str, int]:
    """Count restarts of the set's own new pods: others in the namespace are nobody's verdict."""
    counts: dict[str, int] = {}
    for item in workloads:
        if item.live is not None:
            counts |= restarts_of(find_new_pods(item.live, around.controllers, around.pods))
    return counts


async def keep_evidence(context: StepContext, sight: Sight) -> str:
    """Keep the last words of failing pods with the run, before anything removes them.

    Returns what failed, with the last words of the container that it is about, if it ended.

    Safe to repeat: each pod and container has one piece of evidence.
    """
    cluster, said = context.cluster(), sight.message
    for target in sight.verdict.evidence:
        lines = await _log(cluster, target)
        if said == sight.message and _is_about(said, target):
            said = say_last_words(said, lines)
        piece = make_evidence(target, lines, sight.events)
        content: dict[str, Json] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(piece).items()
        }
        await context.keep(
            EvidenceKind.POD, content, key=f"{target.namespace}/{target.pod}/{target.container}"
        )
    return said


def _is_about(message: str, target: EvidenceTarget) -> bool:
    return target.exit_code is not None and bool(target.message) and target.message in message


async def _log(cluster: Cluster, target: EvidenceTarget) -> tuple[str, ...]:
    """Read a container's last words: of the one that ended, else of the one that runs."""
    if not target.container:
        return ()
    for previous in (True, False) if target.previous else (False,):
        try:
            found = await cluster.fetch_log(
                target.namespace,
                target.pod,
                target.container,
                previous=previous,
                tail_lines=MAX_LOG_LINES,
            )
        except GitopsdError:
            return ()
        if not isinstance(found, ApiRefusal):
            return found
    return ()
