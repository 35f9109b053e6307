"""One application on five clusters: staging, and four of production that form a group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from gitopsd.domain.config import ApplicationSpec, ClusterSpec, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import GateAnswer
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.engine.actions import Actions
from gitopsd.engine.queries import load_gates
from gitopsd.store_ports import Transaction
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    PRODUCTION,
    SHOP,
    World,
    config_map,
    deployment,
    make_world,
    shop_spec,
)

A, B, C, D = FLEET = tuple(StageKey(SHOP, StageName(name)) for name in ("a", "b", "c", "d"))
ONE_BY_ONE = tuple((key.stage,) for key in FLEET)
WEEK = timedelta(days=7)
CRASHING = Workload(None, "CrashLoopBackOff", "back-off restarting", restarts=3)


@dataclass
class Fleet:
    """The world, and the clusters of production by stage."""

    world: World
    clusters: dict[StageKey, MemoryCluster]

    def break_on(self, image: str, *stages: StageKey) -> None:
        """Let an image crash on the clusters of some stages."""
        for key in stages:
            self.clusters[key].workloads[image] = CRASHING

    def live(self, key: StageKey) -> list[str]:
        """Images that run on the cluster of a stage."""
        objects = self.clusters[key].live().values()
        return sorted(_image_of(one) for one in objects if one["kind"] == "Deployment")

    async def push(self, number: int) -> str:
        """Push a release; returns its image."""
        image = f"registry.example/api:{number}"
        await self.world.push(
            f"release {number}", deployment(image), config_map("settings", number=str(number))
        )
        return image

    async def until_live(self, image: str, *stages: StageKey) -> None:
        """Wait until stages run an image, verified."""
        for key in stages:

            async def there(key: StageKey = key) -> bool:
                stage = await self.world.store.read(lambda tx: tx.stages.get(key))
                verified = stage is not None and stage.verified is not None
                return verified and self.live(key) == [image]

            await self.world.until(there, f"{image} is Live in {key}", WEEK)

    async def until_held(self, key: StageKey, word: str) -> Run:
        """Wait until a stage's run stands at its Gate and its group says a word."""

        async def held() -> bool:
            answer = await self.group_says(key)
            return word in getattr(answer, "reason", "")

        await self.world.until(held, f"{key} is held: {word}")
        runs = await self.world.runs(key)
        return runs[-1]

    async def group_says(self, key: StageKey) -> GateAnswer | None:
        """Read what the gate of the group answered last to a stage's waiting run."""

        def read(tx: Transaction) -> GateAnswer | None:
            stage = tx.stages.get(key)
            run = tx.runs.get(stage.next) if stage is not None and stage.next else None
            if run is None or run.phase is not Phase.RUNNING or run.step is not Step.GATE:
                return None
            states = load_gates(tx, run)
            return next((state.answer for state in states if state.name == "group"), None)

        return await self.world.store.read(read)

    async def endings(self) -> dict[str, list[tuple[str, ...]]]:
        """Read kind, phase and reason of each run, by stage."""
        found: dict[str, list[tuple[str, ...]]] = {}
        for key in FLEET:
            found[str(key.stage)] = [
                (run.kind.value, run.phase.value, run.failure.reason if run.failure else "")
                for run in await self.world.runs(key)
            ]
        return found

    async def until_ended(self, key: StageKey, kind: RunKind, phase: Phase) -> Run:
        """Wait until a stage has had such a run."""
        return await self.world.until_run(key, kind, phase)


def fleet_spec(
    group: GroupSpec, change: Callable[[StageSpec], StageSpec] | None = None
) -> ApplicationSpec:
    """Make the application: staging, then a group of four stages on clusters of their own."""
    spec = shop_spec()
    staging, production = spec.stages
    members = [
        replace(
            production,
            name=key.stage,
            cluster=str(key.stage),
            path=PATH,
            group=group.name,
            gates=(group.approval,) if group.approval is not None else (),
        )
        for key in FLEET
    ]
    stages = (staging, *(change(one) if change is not None else one for one in members))
    return replace(spec, stages=stages, groups=(group,), digest=repr(group))


PATH = f"overlays/{PRODUCTION.stage}"
APPROVAL = ApprovalGate(("group:release-managers",))


def make_fleet(spec: ApplicationSpec) -> Fleet:
    """Build the world without starting its engine."""
    world = make_world(spec)
    clusters = {key: MemoryCluster(world.clock) for key in FLEET}
    named = {str(key.stage): cluster for key, cluster in clusters.items()}
    ports = MemoryClusters({"one": world.cluster, **named})
    world.services = replace(world.services, clusters=ports)
    world.actions = Actions(world.services)
    configured = {name: ClusterSpec(name) for name in ("one", *named)}
    world.configuration[0] = replace(world.configuration[0], clusters=configured)
    return Fleet(world, clusters)


def _image_of(workload: JsonObject) -> str:
    found: Any = workload
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
