"""A branch for each stage, in virtual time: `develop` to staging, `main` to production.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, Configuration, StageSpec, UpstreamSpec
from gitopsd.domain.gate_specs import SoakGate
from gitopsd.domain.gates import Closed
from gitopsd.domain.images import DigestPolicy, ImageSource, PinImages
from gitopsd.domain.manifests import Digest, JsonObject
from gitopsd.domain.releases import Line, StageName
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.engine.actors import ActionDone
from gitopsd.engine.explaining import load_run_facts
from gitopsd.engine.queries import fetch_commit_statuses, load_gates
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.explained_run import explain_run
from gitopsd.pipeline.explanation import Wait
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

DEVELOP = RefName("refs/heads/develop")
API = "registry.example/team/api"
MINUTE = timedelta(minutes=1)


def branches(*images: ImageSource, soak: timedelta | None = None) -> ApplicationSpec:
    """The shop with a branch for each stage; production takes images that staging verified."""
    gates = (SoakGate(StageName("staging"), soak),) if soak is not None else ()

    def asking(production: StageSpec) -> StageSpec:
        upstream = UpstreamSpec(StageName("staging"))
        return replace(production, after=(), gates=gates, upstream=upstream)

    spec = shop_spec(asking)
    staging, production = spec.stages
    stages = (replace(staging, ref=DEVELOP), production)
    return replace(spec, stages=stages, images=images, pin_images=PinImages.ALL)


class Branches:
    """The two branches of a repository, each with its own history."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._heads: dict[RefName, CommitSha] = {}

    async def push(self, ref: RefName, subject: str, *objects: JsonObject) -> CommitSha:
        """Push a commit to one branch and ring its webhook."""
        world, before = self._world, self._heads.get(ref)
        overlays = {"overlays/staging": objects, "overlays/production": objects}
        subject = f"{subject} on {ref}"
        sha = world.repositories.commit(REPO, subject, parent=before, overlays=overlays)
        world.repositories.push(REPO, ref, sha)
        self._heads[ref] = sha
        await world.ring(before, sha, ref=ref)
        return sha


async def _waits(world: World, count: int = 1) -> tuple[Run, Closed]:
    """Wait until production stands at its Gate; returns the run and what its images wait for."""

    async def there() -> bool:
        return len(await world.runs(PRODUCTION)) >= count

    await world.until(there, f"{count} runs of production")
    await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(2 * MINUTE)
    run = (await world.runs(PRODUCTION))[-1]
    gates = await world.store.read(lambda tx: load_gates(tx, run))
    closed = {state.name: state.answer for state in gates if isinstance(state.answer, Closed)}
    assert list(closed) == ["upstream"], closed
    return run, closed["upstream"]


async def _done(world: World, count: int) -> Run:
    return await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


async def test_main_takes_only_images_that_develop_brought_to_staging() -> None:
    """It waits and says for what; opens at once; a failure there keeps the image out; a fix flows.

    A change of settings waits for nobody, a person's wish opens nothing, and a rollback asks
    nobody.
    """
    async with running_world(branches()) as world:
        git = Branches(world)
        one = world.registry.push(API, "1", content="one")
        head = await git.push(MAIN, "one", deployment(f"{API}:1"))
        run, closed = await _waits(world)
        image = f"{API}:1@{one}"
        assert closed.reason == f"{image} is not verified in staging"
        assert closed.opener == "bring it to staging; this opens as soon as it verifies it"
        config = world.services.configuration()
        told = await world.store.read(lambda tx: explain_run(load_run_facts(tx, run, config)))
        assert told.waiting_for == (Wait(f"upstream: {closed.reason}", closed.opener),)
        [status] = await fetch_commit_statuses(world.services, head, stage="production")
        assert (status.state, status.waiting_for) == (CommitState.HELD, closed.opener)
        assert closed.reason in status.reason

        # Another commit, other bytes around it, the same image: verified there, it opens here.
        await git.push(DEVELOP, "one", deployment(f"{API}:1"), config_map("only-there"))
        verified = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        live = await _done(world, 1)
        assert live.id == run.id
        assert live.ended_at is not None
        assert verified.ended_at is not None
        assert live.ended_at - verified.ended_at < 3 * timedelta(seconds=1)

        # Settings alone go on by themselves: what the stage runs is nothing new.
        settings = config_map("settings", LOG_LEVEL="debug")
        await git.push(MAIN, "settings", deployment(f"{API}:1"), settings)
        await _done(world, 2)
        assert len(await world.runs(STAGING)) == 1

        # What crashes in staging is kept out of production, whoever asks for it.
        two = world.registry.push(API, "2", content="two")
        bad = f"{API}:2@{two}"
        world.cluster.workloads[bad] = Workload(None, "CrashLoopBackOff", "x", restarts=4)
        await git.push(DEVELOP, "two", deployment(f"{API}:2"), config_map("only-there"))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await git.push(MAIN, "two", deployment(f"{API}:2"), settings)
        waiting, closed = await _waits(world, 3)
        [quarantine] = await world.store.read(lambda tx: tuple(tx.quarantines.in_force(STAGING)))
        assert closed.reason.startswith(f"{bad} is quarantined in staging: ")
        assert quarantine.reason in closed.reason
        assert closed.opener.endswith(f"gitopsd quarantine lift {quarantine.id}")
        await world.actions.promote(APPROVER, PRODUCTION, waiting.release)
        assert (await _waits(world, 3))[0].id == waiting.id

        # A rollback restores what was verified here, and no gate is asked.
        asked = await world.actions.rollback(APPROVER, PRODUCTION, None)
        assert isinstance(asked, ActionDone), asked
        await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.actions.resume(APPROVER, PRODUCTION)

        # Mended, it comes to staging again, and from there on to production.
        world.cluster.workloads[bad] = Workload()
        await world.actions.lift_quarantine(APPROVER, quarantine.id)
        await git.push(DEVELOP, "mend", deployment(f"{API}:2"), config_map("mended"))
        await _done(world, 3)
        assert [one.phase for one in await world.runs(STAGING)][-1] is Phase.SUCCEEDED


async def test_an_image_that_failed_in_staging_holds_up_no_commit_on_main() -> None:
    """Image sources feed both branches: what staging refused is left out of what main offers."""
    source = ImageSource(API, DigestPolicy("main"))
    async with running_world(branches(source)) as world:
        git = Branches(world)
        good = world.registry.push(API, "main", content="good")
        await git.push(DEVELOP, "one", deployment(API))
        await git.push(MAIN, "one", deployment(API))
        await _done(world, 1)

        bad = world.registry.push(API, "main", content="bad")
        image = f"{API}:main@{bad}"
        world.cluster.workloads[image] = Workload(None, "CrashLoopBackOff", "x", restarts=4)
        await world.notify(API, "main", bad)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        _, closed = await _waits(world, 2)
        assert closed.reason.startswith(f"{image} is quarantined in staging")

        await git.push(MAIN, "two", deployment(API), config_map("settings"))
        await _done(world, 2)
        assert await _offered(world, MAIN) == good


async def _offered(world: World, ref: RefName) -> Digest:
    head = await world.store.read(lambda tx: tx.releases.head(Line(SHOP, ref)))
    assert head is not None
    release = await world.store.read(lambda tx: tx.releases.get(head.release))
    assert release is not None
    return release.images[API]


async def test_images_soak_and_a_file_may_begin_to_ask_for_them() -> None:
    """The soak counts from when staging verified the images; a loose image is told, not passed."""
    spec = branches(soak=10 * MINUTE)
    async with running_world(replace(spec, pin_images=PinImages.NONE)) as world:
        git = Branches(world)
        world.registry.push(API, "1", content="one")
        await git.push(DEVELOP, "one", deployment(f"{API}:1"))
        verified = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await git.push(MAIN, "one", deployment(f"{API}:1"))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        gates = await world.store.read(lambda tx: load_gates(tx, run))
        said = {state.name: state.answer for state in gates}
        assert isinstance(said["upstream"], Closed)
        assert said["upstream"].reason.startswith(f"{API}:1 has no digest")

        before = world.configuration[0]
        pinned = Configuration(
            applications={SHOP: replace(spec, digest="2")},
            clusters=before.clusters,
            receivers=before.receivers,
        )
        await world.configure(pinned)
        await world.clock.sleep(MINUTE)
        await git.push(DEVELOP, "two", deployment(f"{API}:1"), config_map("two"))
        verified = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await git.push(MAIN, "two", deployment(f"{API}:1"), config_map("two"))
        live = await _done(world, 1)
        assert live.ended_at is not None
        assert verified.ended_at is not None
        assert 10 * MINUTE <= live.ended_at - verified.ended_at <= 11 * MINUTE
