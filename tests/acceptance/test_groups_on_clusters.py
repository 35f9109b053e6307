"""A release goes through a group of stages on four clusters, and fails in two of them.

Nothing is faked: see tests/support/group_site.py. What every order, wave and death of the process
comes to is shown in virtual time (test_groups.py); here it is seen on four API servers, by their
live objects and by what they were asked.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.runs import Phase, RunKind, Step
from tests.support.group_site import CLUSTERS, GROUP, GroupSite, Shop, list_writes, run_group_site
from tests.support.sandbox_server import SandboxServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.registry import RegistryServer

HOLD, BACK = "storefront", "checkout"
CHANGES = {
    HOLD: (),
    BACK: (
        ("onFailure: hold", "onFailure: rollbackAll"),
        ("order: [canary, eu, us, asia]", "order: [canary, [eu, us], asia]"),
    ),
}
LIVE, FAILED, RESTORED = "Rollout Succeeded", "Rollout Failed", "Rollback Succeeded"
WAITS = "Rollout Running"


@pytest.fixture
def clusters(
    sandbox_registry: RegistryServer, tmp_path: Path
) -> Iterator[dict[str, SandboxServer]]:
    """A simulated cluster for each stage of the group."""
    folders = [tmp_path / name for name in CLUSTERS.values()]
    for folder in folders:
        folder.mkdir()
    servers = SandboxServer.start_all(folders, sandbox_registry.url)
    yield dict(zip(CLUSTERS, servers, strict=True))
    for server in servers:
        server.process.terminate()
    for server in servers:
        server.close()


async def _approve_at_a_terminal(shop: Shop) -> None:
    """Once for all: the plans are shown, and the one vote is for these."""
    group = await shop.until_plans_wait(*CLUSTERS)
    told = await shop.type("approve", shop.name, "--group", GROUP, "--reason", "read all four")
    assert told.code == 0, told
    for one in group["waiting"]:
        assert re.search(
            rf"^{one['stage']} +{one['run']} .* {one['plan']} ", told.out, re.MULTILINE
        )
    said = f"admin approved 4 plans of group {GROUP} of {shop.name}: {', '.join(CLUSTERS)}"
    assert told.out.splitlines()[-1] == said


async def _approve_by_request(shop: Shop) -> None:
    """The plans that were read are named; all of them get the vote, or none."""
    group = await shop.until_plans_wait(*CLUSTERS)
    plans = {one["run"]: one["plan"] for one in group["waiting"]}
    path = f"/api/v1/applications/{shop.name}/groups/{GROUP}/approve"
    await shop.site.call("POST", path, {"plans": plans})


async def _release_everywhere(world: GroupSite) -> None:
    """The first release goes Live in every stage, in both applications."""
    hold, back = world.shops[HOLD], world.shops[BACK]
    for shop in (hold, back):
        await shop.push("one", world.good)
    await asyncio.gather(_approve_at_a_terminal(hold), _approve_by_request(back))
    for shop in (hold, back):
        await shop.until_ended("asia", RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert shop.images() == dict.fromkeys(CLUSTERS, world.good)


@pytest.mark.timeout(300)
async def test_two_of_four_clusters_fail_and_the_last_is_not_touched(
    clusters: dict[str, SandboxServer], sandbox_registry: RegistryServer, tmp_path: Path
) -> None:
    """One approval for four plans; after the second failure the release stays, or leaves all.

    The service is killed while the release is being brought to the third stage: that changes
    nothing.
    """
    async with run_group_site(clusters, sandbox_registry, tmp_path / "site", CHANGES) as world:
        await _release_everywhere(world)
        hold, back = world.shops[HOLD], world.shops[BACK]
        asked = {stage: server.last_request() for stage, server in clusters.items()}
        untouched = {shop.name: shop.versions("asia") for shop in (hold, back)}

        for shop in (hold, back):
            await shop.push("two", world.choosy)
        await asyncio.gather(_approve_by_request(hold), _approve_at_a_terminal(back))
        await hold.until_at("us", Step.WAIT_HEALTHY, 2)
        await world.die()

        await hold.until_ended("us", RunKind.ROLLBACK, Phase.SUCCEEDED)
        for stage in ("canary", "eu", "us"):
            await back.until_ended(stage, RunKind.ROLLBACK, Phase.SUCCEEDED)

        good, choosy = world.good, world.choosy
        assert hold.images() == {"canary": choosy, "eu": good, "us": good, "asia": good}
        assert back.images() == dict.fromkeys(CLUSTERS, good)
        assert {stage: await hold.endings(stage) for stage in CLUSTERS} == {
            "canary": [LIVE, LIVE],
            "eu": [LIVE, FAILED, RESTORED],
            "us": [LIVE, FAILED, RESTORED],
            "asia": [LIVE, WAITS],
        }
        assert {stage: await back.endings(stage) for stage in CLUSTERS} == {
            "canary": [LIVE, LIVE, RESTORED],
            "eu": [LIVE, FAILED, RESTORED],
            "us": [LIVE, FAILED, RESTORED],
            "asia": [LIVE, WAITS],
        }

        assert list_writes(clusters["asia"], asked["asia"]) == []
        for shop in (hold, back):
            assert shop.versions("asia") == untouched[shop.name]
        for stage in ("canary", "eu", "us"):
            assert list_writes(clusters[stage], asked[stage])

        for shop in (hold, back):
            release = (await shop.group())["release"]
            sentence = (
                f"{release} failed in eu (CrashLoopBackOff) and us (CrashLoopBackOff): "
                f"2 of 4 stages of group {GROUP}, which allows 1"
            )
            assert (await shop.group())["stopped"] == sentence
            told = await shop.type("explain", shop.name, "asia")
            assert sentence in told.out
            assert "gitopsd skip" in told.out
            queue = await shop.type("get", "stages", f"{shop.name}/asia")
            assert re.search(
                rf"^1 +\S+ +Next +group: {re.escape(sentence)}", queue.out, re.MULTILINE
            )
