"""Releases that are verified by their metrics: fine, bad, worse than before, and unknown.

Real: the engine and the analysis. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest

from gitopsd.adapters.prometheus.measuring import MetricReader
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import Check, PrometheusCheck
from gitopsd.domain.config import ClusterSpec, MonitorSpec, StageSpec
from gitopsd.domain.metrics import Comparison, Condition, MetricsServer, Worsening
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.verifier import MemoryVerifier
from tests.support.engine_world import (
    PRODUCTION,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)
from tests.support.figures import FigureClient

pytestmark = pytest.mark.looptime

ONE, TWO = "registry.example/api:1", "registry.example/api:2"
SECOND = timedelta(seconds=1)
ERRORS = "errors"
CHECK = PrometheusCheck(
    "errors",
    ERRORS,
    Condition(Comparison.LESS, 0.05),
    worsening=Worsening(0.1),
    interval=10 * SECOND,
    count=3,
    inconclusive_limit=2,
)


@dataclass
class Measured:
    """A world whose production is verified by metrics.

    Attributes:
        world: The world.
        metrics: Its metric server.
        history: Since when the figure was what; None for nothing.
    """

    world: World
    metrics: FigureClient
    history: list[tuple[datetime, float | None]]

    def show(self, figure: float | None) -> None:
        """Let the figure be that from now on."""
        self.history.append((self.world.clock.now(), figure))

    def at(self, moment: datetime) -> float | None:
        """Tell what it was at a moment."""
        return next(one for since, one in reversed(self.history) if since <= moment)


@asynccontextmanager
async def measured(check: PrometheusCheck = CHECK, **more: object) -> AsyncIterator[Measured]:
    """Run the engine, and release what is fine."""

    def verify(stage: StageSpec) -> StageSpec:
        changed: StageSpec = replace(stage, gates=(), verify=(check,), **more)  # type: ignore[arg-type]  # fields of a stage
        return changed

    world = make_world(shop_spec(verify))
    clusters = {"one": ClusterSpec("one", metrics=MetricsServer("http://metrics.example"))}
    world.configuration[0] = replace(world.configuration[0], clusters=clusters)
    metrics = FigureClient()
    site = Measured(world, metrics, [(world.clock.now() - timedelta(days=1), 0.01)])
    metrics.figures[ERRORS] = site.at
    reader = MetricReader(metrics, lambda: world.configuration[0])
    verifier = _Measuring(VerifierByKind(world.services.clusters, world.clock, metrics=reader))
    world.services = replace(world.services, verifier=verifier)
    async with started(world):
        await world.push("one", deployment(ONE))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        yield site


class _Measuring(MemoryVerifier):
    """Analyses for real; other checks are answered from memory."""

    def __init__(self, real: VerifierByKind) -> None:
        super().__init__()
        self._real = real

    async def run_check(self, check: Check, target: CheckTarget) -> CheckAttempt:
        """Make one attempt."""
        if isinstance(check, PrometheusCheck):
            return await self._real.run_check(check, target)
        return await super().run_check(check, target)


async def live_image(world: World) -> str:
    """What production runs."""
    return str(world.cluster.live()["Deployment shop/api"])


async def checks_of(world: World, run: Run) -> list[Evidence]:
    """What was kept of a run's checks."""
    kept = await world.store.read(lambda tx: tx.runs.evidence(run.id))
    return [one for one in kept if one.kind is EvidenceKind.CHECK]


async def test_a_first_release_is_measured_as_often_as_it_asks() -> None:
    """Three figures, ten seconds apart, and nothing to compare them with."""
    async with measured() as site:
        (run,) = await site.world.runs(PRODUCTION)
        events = await site.world.store.read(lambda tx: list(tx.runs.events(run.id)))
        at = {one.step: one.at for one in events if one.name == "StepSucceeded"}
        took = at[Step.VERIFY] - at[Step.WAIT_HEALTHY]
        assert 30 * SECOND <= took < 40 * SECOND
        (kept, *_) = await checks_of(site.world, run)
        assert isinstance(kept.content, dict)
        assert "0.01" in str(kept.content["evidence"])


async def test_a_bad_figure_brings_the_last_release_back() -> None:
    """With the figure in the reason, as soon as it is seen."""
    async with measured() as site:
        site.show(0.2)
        await site.world.push("two", deployment(TWO))
        failed = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        assert failed.failure is not None
        assert failed.failure.message.endswith(
            "check errors failed after 1 attempt: 0.2 is not < 0.05: 1 of 1 measurements"
        )
        site.show(0.01)
        await site.world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert ONE in await live_image(site.world)


async def test_a_figure_that_is_fine_and_worse_than_before_brings_the_last_release_back() -> None:
    """A look-alike that only knows the bound would have passed it."""
    async with measured() as site:
        await site.world.push("two", deployment(TWO))
        await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY)
        site.show(0.04)
        failed = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        assert failed.failure is not None
        assert "0.04 is worse than the 0.01 of before by more than 10%" in failed.failure.message
        # What comes back is compared with nothing: what ran before it was the bad one.
        site.show(0.045)
        await site.world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)


async def test_a_figure_as_good_as_before_stays() -> None:
    """A little more is within the share that is allowed."""
    async with measured() as site:
        site.show(0.0105)
        await site.world.push("two", deployment(TWO))
        await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert TWO in await live_image(site.world)


async def test_what_turns_bad_in_certify_is_seen() -> None:
    """The last measurements are made again until the end."""
    async with measured(certify=timedelta(minutes=2)) as site:
        await site.world.push("two", deployment(TWO))
        await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.CERTIFY)
        await site.world.clock.sleep(30 * SECOND)
        site.show(0.3)
        failed = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        assert failed.failure is not None
        assert failed.failure.step is Step.CERTIFY
        assert "0.3" in failed.failure.message


async def test_a_silent_server_is_no_verdict() -> None:
    """The release stays while nothing is known, and passes when the figures are there again."""
    async with measured() as site:
        site.metrics.away = True
        await site.world.push("two", deployment(TWO))
        run = await site.world.until_run(
            PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY
        )
        await site.world.clock.sleep(timedelta(minutes=3))
        assert (await site.world.run(run.id)).phase is Phase.RUNNING
        site.metrics.away = False
        done = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert done.id == run.id


async def test_figures_that_never_come_call_a_person() -> None:
    """The run ends without a verdict: nothing is quarantined and nothing rolled back."""
    async with measured() as site:
        site.show(None)
        await site.world.push("two", deployment(TWO))
        run = await site.world.until_run(
            PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.VERIFY
        )
        began = site.world.clock.now()
        errored = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ERRORED)
        assert errored.id == run.id
        assert errored.failure is not None
        assert errored.failure.reason == "Inconclusive"
        assert errored.failure.message == (
            "check errors tells nothing: only 0 of 3 measurements tell something, 3 do not"
        )
        assert site.world.clock.now() - began < 60 * SECOND
        kinds = {run.kind for run in await site.world.runs(PRODUCTION)}
        assert kinds == {RunKind.ROLLOUT}
        assert not await site.world.store.read(lambda tx: list(tx.quarantines.in_force(PRODUCTION)))


async def test_an_attempt_made_again_is_not_compared_with_itself() -> None:
    """The baseline is what was verified, also after an attempt that could not be judged."""
    async with measured() as site:
        site.metrics.away = True
        await site.world.push("two", deployment(TWO))
        errored = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ERRORED)
        events = await site.world.store.read(lambda tx: list(tx.runs.events(errored.id)))
        (left,) = [
            one.at for one in events if one.name == "StepSucceeded" and one.step is Step.GATE
        ]
        site.metrics.figures[ERRORS] = lambda at: 0.01 if at <= left else 0.04
        site.metrics.away = False
        failed = await site.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        assert failed.failure is not None
        assert "0.04 is worse than the 0.01 of before" in failed.failure.message


async def test_a_monitor_measures_the_last_moments() -> None:
    """It waits for nothing, and tells when the figure turns bad."""
    monitor = MonitorSpec(timedelta(minutes=1), (CHECK,))
    async with measured(monitor=monitor) as site:
        await site.world.clock.sleep(timedelta(minutes=3))
        site.show(0.4)
        await site.world.until(
            lambda: any(
                "0.4" in one.message for one in site.world.notifier.received.get("ops", [])
            ),
            "a message",
        )
