"""An API server in trouble is never a verdict: in no step, and not in a Rollback.

Faked: the cluster in memory, which fails as `gitopsd.adapters.cluster` does when the server is in
that trouble (tests/integration/cluster/test_trouble.py), from the moment a run enters a step.
Checks are the real ones, through this cluster. Time is virtual.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise

import pytest

from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.cluster_ports import (
    HttpAnswer,
)
from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.store_ports import Transaction
from gitopsd.testing.cluster import MemoryClusters
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

GOOD, NEXT, BAD = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
CERTIFY = timedelta(seconds=20)
REQUEST = timedelta(seconds=10)
PATIENCE = timedelta(seconds=7)

CLUSTER_STEPS = (
    Step.VALIDATE,
    Step.DIFF,
    Step.APPLY,
    Step.WAIT_HEALTHY,
    Step.VERIFY,
    Step.PRUNE,
    Step.CERTIFY,
)
ROLLBACK_STEPS = (Step.APPLY, Step.WAIT_HEALTHY, Step.VERIFY, Step.PRUNE, Step.CERTIFY)


@dataclass(frozen=True, slots=True)
class Trouble:
    """What the API server does.

    Attributes:
        error: What its client raises.
        hangs: How long that takes.
        broken: Whether the connection is what broke, rather than an answer that came.
        watches: Whether only watches are in trouble.
    """

    error: TemporaryError
    hangs: timedelta = timedelta(0)
    broken: bool = False
    watches: bool = False


TROUBLES = {
    "refuses connections": Trouble(TemporaryError("one: connection refused"), broken=True),
    "hangs": Trouble(TemporaryError("one: no answer within 10 s"), hangs=REQUEST, broken=True),
    "answers 500": Trouble(TemporaryError("one: etcdserver: leader changed")),
    "answers 429": Trouble(TemporaryError("one: too many requests", retry_after=PATIENCE)),
}
CUT_WATCHES = Trouble(TemporaryError("one: connection reset"), broken=True, watches=True)


@dataclass
class Ailing:
    """The server's trouble, while the newest run of a kind is in a step.

    Attributes:
        world: The world.
        kind: Kind of the runs.
        step: The step.
        trouble: What it does.
        failed: When each request that failed was sent, in virtual seconds.
    """

    world: World
    kind: RunKind
    step: Step
    trouble: Trouble
    failed: list[float] = field(default_factory=list)
    _current: Step | None = None

    def begin(self) -> None:
        """Begin with it."""
        self.world.store.observe = self._note
        self.world.cluster.before = self._hold
        self.world.cluster.fault = self._fail

    def end(self) -> None:
        """Be well again."""
        self.world.cluster.before = self.world.cluster.fault = None

    def pauses(self) -> list[float]:
        """Tell how long each burst of requests was followed by none, in seconds."""
        least = max(self.trouble.hangs.total_seconds(), 0.0) + 0.75
        gaps = [later - sooner for sooner, later in pairwise(self.failed)]
        return [gap for gap in gaps if gap > least]

    def _note(self, tx: Transaction) -> None:
        live = [run for run in tx.runs.live() if (run.kind, run.stage) == (self.kind, STAGING)]
        self._current = live[-1].step if live else None

    def _concerns(self, method: str) -> bool:
        return self._current is self.step and (method == "watch") >= self.trouble.watches

    async def _hold(self, method: str, _: ObjectRef | None) -> None:
        if self._concerns(method) and self.trouble.hangs:
            await self.world.clock.sleep(self.trouble.hangs)

    def _fail(self, method: str, _: ObjectRef | None) -> GitopsdError | None:
        if not self._concerns(method):
            return None
        hung = self.trouble.hangs.total_seconds()
        self.failed.append(self.world.clock.monotonic() - hung)
        error = self.trouble.error
        made = TemporaryError(error.message, retry_after=error.retry_after)
        made.__cause__ = OSError(error.message) if self.trouble.broken else None
        return made


def checked_world() -> World:
    """A world whose checks go through its cluster, and whose staging is certified."""
    spec = shop_spec()
    staging, production = spec.stages
    stages = (replace(staging, certify=CERTIFY), production)
    world = make_world(replace(spec, stages=stages))
    clusters = MemoryClusters({"one": world.cluster})
    world.services = replace(world.services, verifier=HttpVerifier(clusters, world.clock))
    world.cluster.proxied["api", "/health"] = HttpAnswer(200, {}, b"{}", from_proxy=False)
    return world


def objects(image: str, *more: JsonObject) -> tuple[JsonObject, ...]:
    """What a release holds."""
    return (deployment(image), config_map("kept"), *more)


async def first_release(world: World) -> None:
    """Bring a good release to staging, with an object that the next one leaves out."""
    await world.push("good", *objects(GOOD, config_map("leaving")))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def no_verdict(world: World) -> None:
    """Nothing was rolled back or quarantined."""
    assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
    assert not [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]


def backed_off(ailing: Ailing) -> None:
    """Requests came in bursts with longer and longer pauses, never less than was asked for."""
    pauses = ailing.pauses()
    assert len(pauses) >= 5, pauses
    assert max(pauses[-3:]) > pauses[0]
    asked = ailing.trouble.error.retry_after
    if asked is not None:
        assert min(pauses) >= asked.total_seconds() - 0.01, pauses


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", CLUSTER_STEPS)
async def test_trouble_in_a_step_ends_errored_and_is_tried_again(step: Step, trouble: str) -> None:
    """Every step retries with back-off until its deadline, then Errored; no verdict follows."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        if step is Step.WAIT_HEALTHY:
            world.cluster.workloads[NEXT] = Workload(timedelta(seconds=20))
        ailing = Ailing(world, RunKind.ROLLOUT, step, TROUBLES[trouble])
        ailing.begin()
        await world.push("next", *objects(NEXT))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)

        assert run.step is step
        assert run.failure is not None
        assert TROUBLES[trouble].error.message in run.failure.message
        backed_off(ailing)
        await no_verdict(world)
        ailing.end()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await no_verdict(world)
        assert NEXT in str(world.cluster.live()["Deployment shop-staging/api"])


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", CLUSTER_STEPS)
async def test_trouble_that_passes_costs_only_its_time(step: Step, trouble: str) -> None:
    """A minute of it is waited out within the same run."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        ailing = Ailing(world, RunKind.ROLLOUT, step, TROUBLES[trouble])
        ailing.begin()
        await world.push("next", *objects(NEXT))
        await world.until(lambda: ailing.failed, "the trouble")
        await world.clock.sleep(timedelta(minutes=1))
        ailing.end()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert len(await world.runs(STAGING)) == 2
        await no_verdict(world)


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("step", ROLLBACK_STEPS)
async def test_trouble_in_a_rollback_is_tried_again_until_it_restores(
    step: Step, trouble: str
) -> None:
    """A Rollback that cannot be done now ends Errored, a person is called, and it goes on."""
    world = checked_world()
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        ailing = Ailing(world, RunKind.ROLLBACK, step, TROUBLES[trouble])
        ailing.begin()
        await world.push("bad", *objects(BAD, config_map("added")))
        errored = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        stalled = (await world.stage(STAGING)).stall
        ailing.end()
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert errored.step is step
        backed_off(ailing)
        assert stalled is not None
        assert stalled.reason is StallReason.UNREACHABLE
        assert GOOD in str(world.cluster.live()["Deployment shop-staging/api"])
        assert "ConfigMap shop-staging/leaving" in world.cluster.live()
        assert "ConfigMap shop-staging/added" not in world.cluster.live()
        assert len(await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))) == 1


@pytest.mark.parametrize("step", CLUSTER_STEPS)
async def test_cut_watches_delay_nothing_but_a_look(step: Step) -> None:
    """Whatever becomes of watches, looks go on; the release is as good as with them."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        world.cluster.workloads[NEXT] = Workload(timedelta(seconds=20))
        ailing = Ailing(world, RunKind.ROLLOUT, step, CUT_WATCHES)
        ailing.begin()
        await world.push("next", *objects(NEXT))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert bool(ailing.failed) is (step is Step.WAIT_HEALTHY), "only waiting watches"
        assert len(await world.runs(STAGING)) == 2
        await no_verdict(world)


async def test_cut_watches_do_not_disturb_a_rollback() -> None:
    """It restores at the pace of its looks."""
    world = checked_world()
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=10))
        await first_release(world)
        Ailing(world, RunKind.ROLLBACK, Step.WAIT_HEALTHY, CUT_WATCHES).begin()
        await world.push("bad", *objects(BAD))
        restored = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert _took(restored) < timedelta(minutes=1)


def _took(run: Run) -> timedelta:
    assert run.ended_at is not None
    assert run.created_at is not None
    return run.ended_at - run.created_at


async def test_time_without_sight_is_not_the_applications() -> None:
    """A check that may take five seconds has them after an outage, not before its end."""
    world = checked_world()
    configuration = world.configuration[0]
    (spec,) = configuration.applications.values()
    staging, production = spec.stages
    check = replace(staging.verify[0], within=timedelta(seconds=5))
    changed = replace(spec, stages=(replace(staging, verify=(check,)), production))
    world.configuration[0] = replace(configuration, applications={spec.name: changed})
    async with started(world):
        await first_release(world)
        ailing = Ailing(world, RunKind.ROLLOUT, Step.VERIFY, TROUBLES["refuses connections"])
        ailing.begin()
        await world.push("next", *objects(NEXT))
        await world.until(lambda: ailing.failed, "the trouble")
        starting = HttpAnswer(503, {}, b"{}", from_proxy=False)
        world.cluster.proxied["api", "/health"] = starting
        await world.clock.sleep(timedelta(seconds=30))
        ailing.end()
        asked = len(world.cluster.requests)
        await world.until(
            lambda: ("send", "", False) in world.cluster.requests[asked:], "an attempt"
        )
        world.cluster.proxied["api", "/health"] = replace(starting, status=200)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await no_verdict(world)
