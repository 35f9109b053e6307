"""What both policies that commit after a rollback are told with: a shop, and who waits for Git."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.agreements import Agreement
from gitopsd.domain.config import ApplicationSpec, RollbackGit
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.sources import CommitSha
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    shop_spec,
)

GOOD, BAD, FIX = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
CRASHING = Workload(None, "CrashLoopBackOff", "back-off restarting", restarts=3)


def agreeing(policy: RollbackGit = RollbackGit.REVERT_COMMIT) -> ApplicationSpec:
    """Make the shop with a policy for both stages."""
    spec = shop_spec()
    return replace(spec, stages=tuple(replace(stage, rollback_git=policy) for stage in spec.stages))


async def good_then_bad(world: World) -> CommitSha:
    """Release a good commit into production, push a bad one; returns the bad one."""
    world.cluster.workloads[BAD] = CRASHING
    await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
    await world.approve()
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
    return await world.push("bad", deployment(BAD), config_map("settings", mode="b"))


async def settled(world: World, key: StageKey = STAGING, *, count: int = 1) -> Agreement:
    """Wait until Git agrees with a stage's last Rollback, or is left to a person."""
    run = await world.until_run(key, RunKind.ROLLBACK, Phase.SUCCEEDED, count=count)
    found: list[Agreement] = []

    async def there() -> bool:
        agreement = await agreement_of(world, run)
        found[:] = [agreement] if agreement is not None and agreement.settled else []
        return bool(found)

    await world.until(there, "Git agrees", timedelta(hours=30))
    return found[0]


async def agreement_of(world: World, run: Run) -> Agreement | None:
    """Read how far Git agrees with a Rollback."""
    return await world.store.read(lambda tx: tx.agreements.get(run.id))


def pushed(world: World) -> list[CommitSha]:
    """List the commits that gitopsd pushed."""
    return [sha for _, _, sha in world.repositories.pushed]


async def told(world: World, trigger: str) -> list[str]:
    """List what was told under a trigger."""
    found = await world.store.read(lambda tx: tx.records.notifications_after(0, 1000))
    return [item.message for _, item in found if item.trigger == trigger]
