"""Releases that are verified by asking a server that lies.

Real: the engine, the checks, every byte on a socket. In memory: the cluster, Git, the store. What
an attempt sees is tested in tests/integration/verify; here is what a release comes to by it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.testing.cluster import MemoryClusters
from gitopsd.testing.verifier import MemoryAnswer
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    running_world,
    shop_spec,
    started,
)
from tests.support.lying_server import (
    Answering,
    LyingServer,
    drip,
    drop,
    pour,
    reply,
    reply_json,
    reset_in_body,
    run_lying_server,
)

GOOD, NEXT = "registry.example/api:1", "registry.example/api:2"
WITHIN = timedelta(seconds=2)
HEALTHY = reply_json({"status": "healthy"})


@dataclass
class Verified:
    """A world whose staging is verified by a server on a socket.

    Attributes:
        world: The world.
        server: The server.
    """

    world: World
    server: LyingServer

    async def release(self, *answers: Answering) -> Run:
        """Release something good, then something that the server says this about; its run."""
        self.server.answer(HEALTHY)
        await self.world.push("good", deployment(GOOD))
        await self.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        self.server.answer(*answers)
        self.server.requests.clear()
        await self.world.push("next", deployment(NEXT), config_map("added"))
        ended: list[Run] = []

        async def over() -> bool:
            ended[:] = [
                run
                for run in await self.world.runs(STAGING)
                if run.kind is RunKind.ROLLOUT and not run.live
            ]
            return len(ended) > 1

        await self.world.until(over, "the end of the release", timedelta(seconds=20))
        return ended[1]


@asynccontextmanager
async def verified_world(successes: int) -> AsyncIterator[Verified]:
    """Run a world; its check asks for ``status: healthy``, so often in a row, within two seconds.

    Args:
        successes: How often in a row.
    """
    async with run_lying_server() as server:
        spec = shop_spec()
        check = HttpCheck(
            name="health",
            url=f"{server.url}/health",
            json_path={"status": "healthy"},
            within=WITHIN,
            timeout=timedelta(milliseconds=500),
            successes=successes,
        )
        staging = replace(spec.stages[0], verify=(check,))
        world = make_world(replace(spec, stages=(staging, spec.stages[1])))
        clusters = MemoryClusters({"one": world.cluster})
        verifier = VerifierByKind(clusters, world.clock, allow_loopback=True)
        pace = replace(world.services.pace, look=timedelta(milliseconds=50))
        world.services = replace(world.services, verifier=verifier, pace=pace)
        try:
            async with started(world):
                yield Verified(world, server)
        finally:
            await verifier.close()


def often(*answers: Answering) -> Sequence[Answering]:
    """Answer like this again and again, for longer than any check asks."""
    return answers * 200


LIES: dict[str, tuple[Sequence[Answering], str]] = {
    "200 with wrong JSON": ([reply_json({"status": "sick"})], 'status is "sick"'),
    "200 with HTML": ([reply(200, b"<html>healthy</html>")], "the body is not JSON"),
    "a body that drips past the bound": ([drip()], "no complete answer within 0.5 s"),
    "200 200 500": (often(HEALTHY, HEALTHY, reply(500)), "failed after"),
    "1 GB": ([pour(2**30)], "failed after"),
    "a reset in mid-body": ([reset_in_body()], "failed after"),
    "no word": ([drop()], "failed after"),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_lie_is_rolled_back(lie: str) -> None:
    """Three successes in a row never come: the release fails in Verify and is taken back."""
    answers, said = LIES[lie]
    async with verified_world(successes=3) as site:
        run = await site.release(*answers)
        site.server.answer(HEALTHY)
        await site.world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        live = site.world.cluster.live()

    assert (run.phase, run.step) == (Phase.FAILED, Step.VERIFY)
    assert run.failure is not None
    assert run.failure.reason == "VerificationFailed"
    assert run.failure.message.startswith("check health failed after ")
    assert said in run.failure.message
    assert GOOD in str(live["Deployment shop-staging/api"])
    assert "ConfigMap shop-staging/added" not in live
    assert site.server.sent < len(site.server.requests) * 16 * 2**20, "no gigabyte was read"


async def test_a_redirect_to_another_host_leads_nowhere() -> None:
    """The release fails, and the other host is never asked."""
    async with run_lying_server(HEALTHY) as other, verified_world(successes=1) as site:
        run = await site.release(reply(302, Location=f"{other.url}/health"))
        site.server.answer(HEALTHY)
        await site.world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

    assert run.phase is Phase.FAILED
    assert run.failure is not None
    assert "302" in run.failure.message
    assert other.requests == []


async def test_right_on_the_third_try_is_right() -> None:
    """Failures within the time cost nothing; as many attempts are made as it takes."""
    async with verified_world(successes=1) as site:
        run = await site.release(reply(503), drop(), HEALTHY)

    assert run.phase is Phase.SUCCEEDED
    assert len(site.server.requests) == 3


async def test_successes_have_to_come_in_a_row() -> None:
    """A failure in between begins the count anew."""
    async with verified_world(successes=3) as site:
        run = await site.release(HEALTHY, HEALTHY, reply(500), HEALTHY)

    assert run.phase is Phase.SUCCEEDED
    assert len(site.server.requests) == 6


@pytest.mark.looptime
@pytest.mark.parametrize("seconds", [0, 14.9, 29, 29.7])
async def test_one_failed_repeat_fails_certify(seconds: float) -> None:
    """The checks are repeated, and once more after the time is over: its last second counts too."""
    spec = shop_spec()
    staging = replace(spec.stages[0], certify=timedelta(seconds=30))
    async with running_world(replace(spec, stages=(staging, spec.stages[1]))) as world:
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("next", deployment(NEXT))
        begun = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.CERTIFY)
        await world.clock.sleep(timedelta(seconds=seconds))
        world.verifier.serve("api", MemoryAnswer(status=500), MemoryAnswer(), path="/health")
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

    assert failed.id == begun.id
    assert failed.step is Step.CERTIFY
    assert failed.failure is not None
    said = "Service shop-staging/api: check api /health failed when repeated: answered 500"
    assert failed.failure.message.startswith(said)
