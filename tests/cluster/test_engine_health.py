"""Bad releases on a real cluster: found out, explained, and put back with every object."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.runs import AbortReason, Phase, RunKind, Step
from gitopsd.domain.work import EvidenceKind
from tests.support.cluster_world import (
    ClusterWorld,
    deployment,
    run_cluster_world,
    service,
    settings,
    with_smoke_check,
    without_identity,
)
from tests.support.images import (
    crashing_image,
    crashing_when,
    late_image,
    never_ready_image,
    smoke_failing_image,
    web_image,
)

if TYPE_CHECKING:
    from tests.support.cluster_site import Site

FAST = timedelta(seconds=8)


def impatient(stage: StageSpec) -> StageSpec:
    """Wait only a few seconds for health."""
    return replace(with_smoke_check(stage), health_timeout=FAST)


async def missing(world: ClusterWorld) -> str:
    """Name an image that nobody pushed."""
    return f"{world.site.registry.host}/{world.namespace}/web:not-there"


async def crashing(world: ClusterWorld) -> str:
    """Push an image that dies at its start."""
    return await world.image(crashing_image("2", code=3, line="fatal: no database"), "crash")


async def never_ready(world: ClusterWorld) -> str:
    """Push an image that is never ready."""
    return await world.image(never_ready_image("2"), "never")


async def failing_smoke(world: ClusterWorld) -> str:
    """Push an image whose smoke test fails."""
    return await world.image(smoke_failing_image("2"), "smoke")


@pytest.mark.parametrize(
    "bad, step, reason, words",
    [
        (crashing, Step.WAIT_HEALTHY, "CrashLoopBackOff", "code 3"),
        (missing, Step.WAIT_HEALTHY, "ErrImagePull|ImagePullBackOff", "not-there"),
        (never_ready, Step.WAIT_HEALTHY, "DeadlineExceeded", "Deployment"),
        (failing_smoke, Step.VERIFY, "VerificationFailed", "smoke"),
    ],
    ids=["crash", "missing image", "never ready", "failed smoke"],
)
async def test_a_bad_release_is_put_back_with_every_object_and_its_fix_flows(
    site: Site,
    bad: Callable[[ClusterWorld], Any],
    step: Step,
    reason: str,
    words: str,
) -> None:
    """Changed objects equal what they were, added ones are gone; then the fix goes through."""
    async with run_cluster_world(site, impatient) as world:
        good = await world.image(web_image("1"), "1")
        await world.push(
            "good", deployment(good), service(), settings(mode="a", kept="x"), settings("leaves")
        )
        await world.succeeded()
        before = await world.snapshot()

        broken = await bad(world)
        await world.push(
            "bad", deployment(broken), service(), settings(mode="b"), settings("added", mode="b")
        )
        run = await world.failed()
        await world.restored()

        assert run.step is step
        assert run.failure is not None
        assert run.failure.reason in reason.split("|")
        assert words in run.failure.message
        assert await world.snapshot() == before
        assert await world.inventory() == [
            "ConfigMap leaves",
            "ConfigMap settings",
            "Deployment web",
            "Service web",
        ]

        fix = await world.image(web_image("3"), "3")
        await world.push("fix", deployment(fix), service(), settings(mode="c"))
        await world.succeeded(2)
        found = await world.snapshot()
        assert set(found) == {"Deployment/web", "Service/web", "ConfigMap/settings"}
        assert found["ConfigMap/settings"]["data"] == {"mode": "c"}


async def test_an_object_that_was_pruned_comes_back_with_the_rollback(site: Site) -> None:
    """A failure after Prune restores what Prune deleted."""

    def certified(stage: StageSpec) -> StageSpec:
        return replace(impatient(stage), certify=timedelta(seconds=2))

    async with run_cluster_world(site, certified) as world:
        good = await world.image(web_image("1"), "1")
        await world.push("good", deployment(good), service(), settings("leaves", mode="a"))
        await world.succeeded()
        before = await world.snapshot()

        once = await world.image(web_image("2", smoke_statuses=[200, 500]), "2")
        await world.push("works once", deployment(once), service())
        run = await world.failed()
        await world.restored()

        assert run.step is Step.CERTIFY
        assert without_identity(await world.snapshot()) == without_identity(before)


async def test_a_stuck_release_is_overtaken_by_its_fix(site: Site) -> None:
    """The newer release takes over from the one that waits; nothing is rolled back."""
    async with run_cluster_world(site) as world:
        good = await world.image(web_image("1"), "1")
        await world.push("good", deployment(good))
        await world.succeeded()
        stuck = await world.image(never_ready_image("2"), "2")
        await world.push("stuck", deployment(stuck), settings("only-in-stuck"))
        await world.until_run(RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        fix = await world.image(web_image("3"), "3")
        await world.push("fix", deployment(fix))
        await world.succeeded(2)

        overtaken = await world.until_run(RunKind.ROLLOUT, Phase.ABORTED)
        assert overtaken.failure is not None
        assert overtaken.failure.reason == AbortReason.SUPERSEDED.value
        assert not [run for run in await world.runs() if run.kind is RunKind.ROLLBACK]
        assert set(await world.snapshot()) == {"Deployment/web"}
        live = await world.object("Deployment", "web")
        assert live["spec"]["template"]["spec"]["containers"][0]["image"] == fix


async def test_a_bad_setting_crashes_a_good_image_and_is_put_back(site: Site) -> None:
    """What fails is the release, whatever part of it: here a variable."""
    async with run_cluster_world(site, impatient) as world:
        image = await world.image(crashing_when("1", "MODE", "crash"), "1")
        await world.push(
            "good", deployment(image, env=[{"name": "MODE", "value": "work"}]), service()
        )
        await world.succeeded()
        before = await world.snapshot()
        await world.push(
            "bad", deployment(image, env=[{"name": "MODE", "value": "crash"}]), service()
        )
        run = await world.failed()
        await world.restored()

        assert run.failure is not None
        assert "code 1" in run.failure.message
        assert await world.snapshot() == before


async def test_the_last_words_of_a_failing_pod_are_kept(site: Site) -> None:
    """Reason, exit code, the last log lines and the events stay with the run."""
    async with run_cluster_world(site, impatient) as world:
        image = await crashing(world)
        await world.push("bad", deployment(image))
        run = await world.failed()

        kept = await world.evidence(run, EvidenceKind.POD)
        assert kept
        content: Any = kept[0].content
        assert content["container"] == "web"
        assert content["reason"] == "CrashLoopBackOff"
        assert content["exit_code"] == 3
        assert "fatal: no database" in content["log_lines"]
        assert any("BackOff" in event for event in content["events"])
        assert run.failure is not None
        assert run.failure.message.endswith("; its log ends: fatal: no database")


async def test_a_slow_release_is_waited_for(site: Site) -> None:
    """What needs some seconds to listen is not a failure."""
    async with run_cluster_world(site, with_smoke_check) as world:
        image = await world.image(late_image("1", seconds=4), "1")
        await world.push("slow", deployment(image), service())
        run = await world.succeeded()

        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        waited = [event.at for event in events if event.step is Step.WAIT_HEALTHY]
        assert waited[-1] - waited[0] >= timedelta(seconds=2)


async def test_waiting_asks_little_of_the_server(site: Site) -> None:
    """Objects that do not move are read once, and a change of the workload ends the rest."""
    async with run_cluster_world(site) as world:
        image = await world.image(late_image("1", seconds=5), "1")
        mark = await world.mark()
        await world.push("slow", deployment(image), service(), settings(mode="a"))
        await world.succeeded()

        asked = await world.requests(mark)
        still = [
            line
            for line in asked
            if line.startswith("get") and line.endswith(("configmaps/settings", "services/web"))
        ]
        # Validate, and the first looks of the two executions of WaitHealthy.
        assert len(still) <= 2 * 3
        assert len([line for line in asked if line.startswith("watch")]) >= 1
