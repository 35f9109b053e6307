"""One look at everything a run applied: live objects, their pods, and what that means."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime

from gitopsd.domain.manifests import Json, JsonObject, ObjectHealth
from gitopsd.domain.work import EvidenceKind
from gitopsd.engine.assessment import IN_FLIGHT, identity_of, identity_of_placed
from gitopsd.engine.placing import Placed, place_objects
from gitopsd.engine.refusals import raise_if_temporary
from gitopsd.engine.step_context import StepContext
from gitopsd.errors import GitopsdError
from gitopsd.kube.findings import NOT_APPLIED, Applied, HealthSettings
from gitopsd.kube.health import Expected, compute_set_health
from gitopsd.kube.objects import kind_of, namespace_of
from gitopsd.kube.restarts import restarts_of
from gitopsd.kube.rollouts import EvidenceTarget, RolloutVerdict, compute_rollout_failure
from gitopsd.kube.verdicts import MAX_LOG_LINES, SetState, SetVerdict, judge, make_evidence
from gitopsd.ports import ApiRefusal, Cluster

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "Pod"})
"""Kinds whose pods are looked at."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw.

    Attributes:
        verdict: What it means.
        missing: Whether an applied object does not exist.
        restarts: Restarts by pod and container, of all pods of the namespaces looked at.
        events: Events of those namespaces; empty while nothing is wrong.
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
    def reason(self) -> str:
        """PascalCase word for what failed."""
        return self.verdict.reason

    @property
    def message(self) -> str:
        """One sentence about what is not healthy; empty when everything is."""
        return self.verdict.message


@dataclass(frozen=True, slots=True)
class _Surroundings:
    """What stands around workloads: their controllers' objects, pods, events."""

    controllers: tuple[JsonObject, ...]
    pods: tuple[JsonObject, ...]
    events: tuple[JsonObject, ...]


async def look_at(context: StepContext) -> Sight:
    """Look at everything the run applied, once.

    Raises:
        TemporaryError: The cluster did not answer; that is no verdict.
    """
    rendered = await context.load_rendered()
    cluster = context.cluster()
    applied = await _applied(context)
    placed = await place_objects(cluster, rendered.objects, context.spec.namespace)
    live = await _get_all(cluster, placed)
    now = context.services.clock.now()
    settings = HealthSettings(unschedulable_grace=context.spec.unschedulable_grace)
    expected = [
        await _expected(cluster, item, found, applied.get(identity_of_placed(item), NOT_APPLIED))
        for item, found in zip(placed, live, strict=True)
    ]
    healths = compute_set_health(expected, now, settings)
    workloads = [item for item in expected if item.live and kind_of(item.live) in WORKLOADS]
    around = await _surroundings(cluster, workloads)
    rollouts = _judge_workloads(workloads, around, now, settings)
    return Sight(
        verdict=judge(healths, rollouts),
        missing=any(item.live is None for item in expected) and not _all_fine(healths),
        restarts=restarts_of(around.pods),
        events=around.events,
    )


def _all_fine(healths: Sequence[ObjectHealth]) -> bool:
    return all(found.health.value == "Healthy" for found in healths)


async def _applied(context: StepContext) -> Mapping[str, Applied]:
    """Read what the run's Apply was answered: generations, and when it wrote."""
    evidence = await context.load_evidence(EvidenceKind.HEALTH, "applied")
    if evidence is None:
        return {}
    objects, at = evidence.get("applied"), evidence.get("at")
    moment = datetime.fromisoformat(at) if isinstance(at, str) else None
    found = {}
    for item in objects if isinstance(objects, list) else ():
        if isinstance(item, dict):
            generation = item.get("generation")
            found[identity_of(item)] = Applied(
                generation if isinstance(generation, int) else 0,
                moment if item.get("written") else None,
            )
    return found


async def _get_all(cluster: Cluster, placed: tuple[Placed, ...]) -> tuple[JsonObject | None, ...]:
    limit = asyncio.Semaphore(IN_FLIGHT)

    async def one(item: Placed) -> JsonObject | None:
        async with limit:
            live = await cluster.get(item.ref)
        if isinstance(live, ApiRefusal):
            raise_if_temporary(item.ref, live)
            return None
        return live

    return tuple(await asyncio.gather(*(one(item) for item in placed)))


async def _expected(
    cluster: Cluster, item: Placed, live: JsonObject | None, applied: Applied
) -> Expected:
    info = await cluster.fetch_kind(item.ref)
    return Expected(item.obj, live, applied, has_status=info is not None and info.has_status)


async def _surroundings(cluster: Cluster, workloads: Sequence[Expected]) -> _Surroundings:
    """List pods, controllers' objects and events of every namespace with workloads."""
    namespaces = sorted({namespace_of(item.live) for item in workloads if item.live is not None})
    kinds = [("apps/v1", "ReplicaSet"), ("v1", "Pod"), ("v1", "Event")]
    if any(item.live and kind_of(item.live) in ("DaemonSet", "StatefulSet") for item in workloads):
        kinds.append(("apps/v1", "ControllerRevision"))
    wanted = [(version, kind, namespace) for namespace in namespaces for version, kind in kinds]
    lists = await asyncio.gather(*(_list(cluster, *item) for item in wanted))
    found: dict[str, list[JsonObject]] = {kind: [] for _, kind in kinds}
    for (_, kind, _), items in zip(wanted, lists, strict=True):
        found[kind] += items
    return _Surroundings(
        controllers=(*found["ReplicaSet"], *found.get("ControllerRevision", ())),
        pods=tuple(found["Pod"]),
        events=tuple(found["Event"]),
    )


async def _list(
    cluster: Cluster, api_version: str, kind: str, namespace: str
) -> tuple[JsonObject, ...]:
    """List a collection; one that may not be listed only makes the verdict less telling."""
    found = await cluster.fetch_list(api_version, kind, namespace)
    return () if isinstance(found, ApiRefusal) else found


def _judge_workloads(
    workloads: Sequence[Expected], around: _Surroundings, now: datetime, settings: HealthSettings
) -> list[RolloutVerdict]:
    return [
        compute_rollout_failure(
            item.live,
            around.controllers,
            around.pods,
            around.events,
            now,
            settings,
            item.applied,
        )
        for item in workloads
        if item.live is not None
    ]


async def keep_evidence(context: StepContext, sight: Sight) -> None:
    """Keep the last words of failing pods with the run, before anything removes them.

    Safe to repeat: each pod and container has one piece of evidence.
    """
    cluster = context.cluster()
    for target in sight.verdict.evidence:
        lines = await _log(cluster, target)
        piece = make_evidence(target, lines, sight.events)
        content: dict[str, Json] = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(piece).items()
        }
        await context.keep(
            EvidenceKind.POD, content, key=f"{target.namespace}/{target.pod}/{target.container}"
        )


async def _log(cluster: Cluster, target: EvidenceTarget) -> tuple[str, ...]:
    if not target.container:
        return ()
    try:
        found = await cluster.fetch_log(
            target.namespace,
            target.pod,
            target.container,
            previous=target.previous,
            tail_lines=MAX_LOG_LINES,
        )
    except GitopsdError:
        return ()
    return () if isinstance(found, ApiRefusal) else found
