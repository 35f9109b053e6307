"""An API server in trouble is never a verdict: in no step, in no hook, and not in a Rollback.

Faked: the cluster in memory, which fails as `gitopsd.adapters.cluster` does when the server is in
that trouble (tests/integration/cluster/test_trouble.py and test_watching.py), from the moment a run
comes to a place. Checks are the real ones, through this cluster. Time is virtual.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.cluster_ports import (
    HttpAnswer,
)
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.verifications import StallReason
from gitopsd.pipeline.commands import Trigger
from gitopsd.testing.cluster import MemoryClusters
from gitopsd.testing.workloads import Workload
from tests.support.ailing import (
    AFTER,
    BEFORE,
    CREDENTIAL_REFUSED,
    DURING,
    TROUBLES,
    Ailing,
    Lasting,
    Rolling,
)
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    job,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

GOOD, NEXT, BAD = "registry.example/api:1", "registry.example/api:2", "registry.example/api:3"
TOOL = "registry.example/tool:1"
CERTIFY = timedelta(seconds=20)
STARTING = timedelta(seconds=20)
BEYOND_DEADLINES = timedelta(minutes=40)
REFUSED_FOR = dict.fromkeys(("Validate", "WaitHealthy"), timedelta(hours=2))
SWEEP = timedelta(seconds=10)
"""Rarer than in earnest, for hours in which nothing else happens."""

PLACES = {
    # refused  no answer  read-only  30 % 500  500  429  watches: silent  ended
    "Validate": "  x   x   x   ?   x   x   -   -",
    "Diff": "      x   x   -   ?   x   x   -   -",
    "PreSync hook": "x x   x   ?   x   x   -   -",
    "Apply": "     x   x   x   ?   x   x   -   -",
    "Sync hook": " x   x   x   ?   x   x   -   -",
    "WaitHealthy": "x  x   -   ?   x   x   x   x",
    "PostSync hook": "x x  x   ?   x   x   -   -",
    "Verify": "    x   x   -   ?   x   x   -   -",
    "Prune": "     x   x   x   ?   x   x   -   -",
    "Certify": "   x   x   -   ?   x   x   -   -",
}
"""Where each of `TROUBLES`, in their order, is met and waited out; ``-``: nothing of that kind is
asked there; ``?``: by chance."""

STEP_OF = {"PreSync hook": "Prepare", "Sync hook": "Apply", "PostSync hook": "Verify"}
ROLLBACK_PLACES = tuple(place for place in PLACES if place not in ("Validate", "Diff"))
LASTING = (
    "refuses connections",
    "accepts, never answers",
    "reads, cannot write",
    "500",
    "429 with Retry-After",
)
BLINDING = tuple(trouble for trouble in LASTING if trouble != "reads, cannot write")
BY_CHANCE = "30 % random 500"
MOST_LOTS = 12


def cells(place: str) -> dict[str, str]:
    """Read a line of the table: trouble -> what is written there."""
    return dict(zip(TROUBLES, PLACES[place].split(), strict=True))


def met(trouble: str, places: tuple[str, ...], cell: str = "x") -> set[str]:
    """Read a column of the table: the places where the cell says so."""
    return {place for place in places if cells(place)[trouble] == cell}


def lasting_in(places: tuple[str, ...]) -> list[tuple[str, str]]:
    """List the steps, and the lasting trouble that holds each of them up."""
    steps = [place for place in places if "hook" not in place]
    return [(place, name) for place in steps for name in LASTING if cells(place)[name] == "x"]


def checked_world() -> World:
    """A world whose checks go through its cluster, and whose staging is certified."""
    spec = shop_spec()
    staging, production = spec.stages
    stages = (replace(staging, certify=CERTIFY, rollback_certify=CERTIFY), production)
    world = make_world(replace(spec, stages=stages))
    clusters = MemoryClusters({"one": world.cluster})
    verifier = VerifierByKind(clusters, world.clock)
    world.services = replace(world.services, clusters=clusters, verifier=verifier)
    world.cluster.proxied["api", "/health"] = HttpAnswer(200, {}, b"{}", from_proxy=False)
    return world


def objects(image: str, *more: JsonObject) -> tuple[JsonObject, ...]:
    """What a release holds: one hook of each phase, which run for a restore too."""
    hooks = {BEFORE: "PreSync", DURING: "Sync", AFTER: "PostSync"}
    jobs = [job(TOOL, name, hook=phase, on_rollback="true") for name, phase in hooks.items()]
    return (deployment(image), config_map("kept"), *more, *jobs)


async def first_release(world: World) -> None:
    """Bring a good release to staging, with an object that the next one leaves out."""
    await world.push("good", *objects(GOOD, config_map("leaving")))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


def calls_told(world: World) -> list[str]:
    """What a person was called for because a run waits."""
    return [
        note.message
        for notes in world.notifier.received.values()
        for note in notes
        if note.trigger == Trigger.STALLED.value and " waits in " in note.message
    ]


async def no_verdict(world: World) -> None:
    """Nothing was rolled back or quarantined."""
    assert not await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))
    assert not [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]


async def restored(world: World) -> None:
    """What was good is there again, all of it and nothing else."""
    live = world.cluster.live()
    assert GOOD in str(live["Deployment shop-staging/api"])
    assert "ConfigMap shop-staging/leaving" in live
    assert "ConfigMap shop-staging/added" not in live
    assert len(await world.store.read(lambda tx: tx.quarantines.in_force(STAGING))) == 1


def backed_off(ailing: Ailing, place: str, trouble: str) -> None:
    """Requests came in bursts with longer and longer pauses, never less than was asked for."""
    pauses = ailing.pauses(place)
    assert len(pauses) >= 5, pauses
    assert max(pauses[-3:]) > pauses[0]
    error = TROUBLES[trouble].error
    if error is not None and error.retry_after is not None:
        assert min(pauses) >= error.retry_after.total_seconds() - 0.01, pauses


def once_each(ailing: Ailing) -> None:
    """Every hook was created once, whatever became of the requests around it."""
    for name in (BEFORE, DURING, AFTER):
        assert ailing.passed.count(("create", name)) == 1


async def bring_through(trouble: str, salt: int = 0) -> set[str]:
    """Bring a release through trouble that begins anew at each place; where it was met."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        world.cluster.workloads[NEXT] = Workload(STARTING)
        ailing = Rolling(world, RunKind.ROLLOUT, TROUBLES[trouble], salt=salt)
        ailing.begin()
        many = [config_map(f"settings-{number}") for number in range(30)]
        await world.push("next", *objects(NEXT, *many))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        assert len(await world.runs(STAGING)) == 2
        await no_verdict(world)
        once_each(ailing)
        assert NEXT in str(world.cluster.live()["Deployment shop-staging/api"])
        return set(ailing.failed)


async def restore_through(trouble: str, salt: int = 0) -> set[str]:
    """Restore through trouble that begins anew at each place; where it was met."""
    world = checked_world()
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        world.cluster.workloads[GOOD] = Workload(STARTING)
        await first_release(world)
        ailing = Rolling(world, RunKind.ROLLBACK, TROUBLES[trouble], salt=salt)
        ailing.begin()
        await world.push("bad", *objects(BAD, config_map("added")))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert len(await world.runs(STAGING)) == 3
        once_each(ailing)
        await restored(world)
        return set(ailing.failed)


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble != BY_CHANCE])
async def test_trouble_at_every_place_of_a_release_costs_only_its_time(trouble: str) -> None:
    """At each step and hook in turn it is waited out, within the same run and without a verdict."""
    assert await bring_through(trouble) == met(trouble, tuple(PLACES))


@pytest.mark.parametrize("trouble", [trouble for trouble in TROUBLES if trouble != BY_CHANCE])
async def test_trouble_at_every_place_of_a_rollback_costs_only_its_time(trouble: str) -> None:
    """It restores everything in its first attempt, as if nothing had been."""
    assert await restore_through(trouble) == met(trouble, ROLLBACK_PLACES)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [RunKind.ROLLOUT, RunKind.ROLLBACK])
async def test_trouble_by_chance_is_waited_out_wherever_it_strikes(kind: RunKind) -> None:
    """With other lots each time, until every place was struck: nothing but time is lost at any."""
    restores = kind is RunKind.ROLLBACK
    wanted = met(BY_CHANCE, ROLLBACK_PLACES if restores else tuple(PLACES), "?")
    struck: set[str] = set()
    for salt in range(MOST_LOTS):
        play = restore_through if restores else bring_through
        struck |= await play(BY_CHANCE, salt)
        if struck >= wanted:
            break
    assert struck == wanted


@pytest.mark.parametrize("place,trouble", lasting_in(tuple(PLACES)))
async def test_trouble_that_lasts_ends_errored_and_is_tried_again(place: str, trouble: str) -> None:
    """Every step retries with back-off until its deadline, then Errored; no verdict follows."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        if place == Step.WAIT_HEALTHY.value:
            world.cluster.workloads[NEXT] = Workload(STARTING)
        ailing = Lasting(world, RunKind.ROLLOUT, place, TROUBLES[trouble])
        ailing.begin()
        await world.push("next", *objects(NEXT))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ERRORED)

        assert run.step is Step(place)
        assert run.failure is not None
        assert TROUBLES[trouble].make_error().message in run.failure.message
        backed_off(ailing, place, trouble)
        await no_verdict(world)
        ailing.end()
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await no_verdict(world)
        assert NEXT in str(world.cluster.live()["Deployment shop-staging/api"])


@pytest.mark.parametrize("place,trouble", lasting_in(ROLLBACK_PLACES))
async def test_trouble_in_a_rollback_is_tried_again_until_it_restores(
    place: str, trouble: str
) -> None:
    """A Rollback that cannot be done now ends Errored, a person is called, and it goes on."""
    world = checked_world()
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        ailing = Lasting(world, RunKind.ROLLBACK, place, TROUBLES[trouble])
        ailing.begin()
        await world.push("bad", *objects(BAD, config_map("added")))
        errored = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED)
        stalled = (await world.stage(STAGING)).stall
        ailing.end()
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert errored.step is Step(place)
        backed_off(ailing, place, trouble)
        assert stalled is not None
        assert stalled.reason is StallReason.UNREACHABLE
        await restored(world)


@pytest.mark.parametrize("trouble", BLINDING)
@pytest.mark.parametrize("kind", [RunKind.ROLLOUT, RunKind.ROLLBACK])
async def test_trouble_after_a_look_that_was_not_healthy_is_no_verdict(
    kind: RunKind, trouble: str
) -> None:
    """What was seen last was seen too long ago: the run ends Errored, and another one finds out."""
    world = checked_world()
    restores = kind is RunKind.ROLLBACK
    image = GOOD if restores else NEXT
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        world.cluster.workloads[image] = Workload(None)
        place = Step.WAIT_HEALTHY.value
        ailing = Lasting(world, kind, place, TROUBLES[trouble], after_look=True)
        ailing.begin()
        await world.push("next", *objects(BAD if restores else NEXT, config_map("added")))
        errored = await world.until_run(STAGING, kind, Phase.ERRORED)
        ailing.end()
        world.cluster.workloads[image] = Workload()
        await world.until_run(STAGING, kind, Phase.SUCCEEDED, count=1 if restores else 2)

        assert ("get", "api") in ailing.passed, "it was looked at before the trouble"
        assert ailing.failed[place]
        assert errored.step is Step.WAIT_HEALTHY
        assert errored.failure is not None
        assert errored.failure.reason == "Unreachable"
        assert not [run for run in await world.runs(STAGING) if _is_false(run, kind)]
        await (restored(world) if restores else no_verdict(world))


def _is_false(run: Run, kind: RunKind) -> bool:
    """Whether a run of a kind, none of which is ill, was condemned."""
    return run.kind is kind and run.phase is Phase.FAILED


@pytest.mark.parametrize("kind", [RunKind.ROLLOUT, RunKind.ROLLBACK])
async def test_a_refused_credential_is_waited_for_at_every_place(kind: RunKind) -> None:
    """The run says why it waits, tries again each minute, and at once when a file was replaced."""
    world = checked_world()
    clusters = world.services.clusters
    assert isinstance(clusters, MemoryClusters)
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        ailing = Rolling(world, kind, CREDENTIAL_REFUSED)
        ailing.begin()
        restores = kind is RunKind.ROLLBACK
        await world.push("next", *objects(BAD if restores else NEXT, config_map("added")))
        for place in ROLLBACK_PLACES if restores else PLACES:
            await world.until(partial(ailing.has_met, place), f"a refusal at {place}")
            await world.clock.sleep(timedelta(seconds=100))
            begun = ailing.failed[place][0]
            tries = {round(at - begun) for at in ailing.failed[place]}
            assert tries <= {0, 1, 60, 61}, (place, tries)
            assert {round(at / 60) for at in tries} == {0, 1}, (place, tries)
            (run,) = [run for run in await world.runs(STAGING) if run.live]
            assert "refuses our credential" in run.waiting_for, place
            ailing.heal(place)
            done = len(ailing.passed)
            clusters.renewed.add("one")
            await world.clock.sleep(timedelta(seconds=2))
            assert len(ailing.passed) > done, f"{place} goes on at once"
        await world.until_run(STAGING, kind, Phase.SUCCEEDED, count=1 if restores else 2)

        assert len(await world.runs(STAGING)) == (3 if restores else 2)
        if restores:
            await restored(world)
        else:
            await no_verdict(world)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", [RunKind.ROLLOUT, RunKind.ROLLBACK])
async def test_a_credential_refused_for_hours_costs_nothing_but_them(kind: RunKind) -> None:
    """At each place the run waits beyond every deadline, and goes on at once with a new file.

    A person is called once for each step, at the second refusal. The stage is stalled until the
    step is over, and what follows has all the time that it would have had.
    """
    world = checked_world()
    world.services = replace(world.services, pace=replace(world.services.pace, sweep=SWEEP))
    clusters = world.services.clusters
    assert isinstance(clusters, MemoryClusters)
    restores = kind is RunKind.ROLLBACK
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        world.cluster.workloads[GOOD if restores else NEXT] = Workload(STARTING)
        ailing = Rolling(world, kind, CREDENTIAL_REFUSED)
        ailing.begin()
        await world.push("next", *objects(BAD if restores else NEXT, config_map("added")))
        for place in ROLLBACK_PLACES if restores else PLACES:
            await world.until(partial(ailing.has_met, place), f"a refusal at {place}")
            refused = len(ailing.failed[place])
            lasts = REFUSED_FOR.get(place, BEYOND_DEADLINES)
            await world.clock.sleep(lasts)
            (run,) = [run for run in await world.runs(STAGING) if run.live]
            assert "refuses our credential" in run.waiting_for, place
            assert len(ailing.failed[place]) - refused >= lasts / timedelta(seconds=75)
            stalled = (await world.stage(STAGING)).stall
            assert (stalled is not None) is run.mutated, place
            waiting = STEP_OF.get(place, place)
            assert stalled is None or f" waits in {waiting}: " in stalled.message
            ailing.heal(place)
            done = len(ailing.passed)
            clusters.renewed.add("one")
            await world.clock.sleep(SWEEP + timedelta(seconds=1))
            assert len(ailing.passed) > done, f"{place} goes on at once"
        await world.until_run(STAGING, kind, Phase.SUCCEEDED, count=1 if restores else 2)

        assert len(await world.runs(STAGING)) == (3 if restores else 2)
        assert (await world.stage(STAGING)).stall is None
        places = ROLLBACK_PLACES if restores else PLACES
        steps = {place: STEP_OF.get(place, place) for place in places}
        told = [message.partition(" waits in ")[2] for message in calls_told(world)]
        assert [words.partition(":")[0] for words in told] == list(dict.fromkeys(steps.values()))
        once_each(ailing)
        await (restored(world) if restores else no_verdict(world))


async def test_a_rollback_that_pauses_begins_at_once_with_a_new_file() -> None:
    """Its last attempt had no verdict and the next is minutes away; a replaced file ends that."""
    world = checked_world()
    clusters = world.services.clusters
    assert isinstance(clusters, MemoryClusters)
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await first_release(world)
        ailing = Lasting(world, RunKind.ROLLBACK, "Apply", TROUBLES["refuses connections"])
        ailing.begin()
        await world.push("bad", *objects(BAD, config_map("added")))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.ERRORED, count=2)
        ailing.end()
        await world.clock.sleep(timedelta(seconds=3))
        assert (await world.runs(STAGING))[-1].phase is Phase.PENDING
        clusters.renewed.add("one")
        await world.clock.sleep(timedelta(seconds=3))
        assert (await world.runs(STAGING))[-1].phase is Phase.RUNNING
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        await restored(world)


@pytest.mark.parametrize("watches", ["watches end at once", "silent watches"])
async def test_watches_that_tell_nothing_do_not_slow_a_rollback_down(watches: str) -> None:
    """It restores at the pace of its looks."""
    world = checked_world()
    async with started(world):
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        world.cluster.workloads[GOOD] = Workload(timedelta(seconds=10))
        await first_release(world)
        Rolling(world, RunKind.ROLLBACK, TROUBLES[watches]).begin()
        await world.push("bad", *objects(BAD))
        done = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert _took(done) < timedelta(minutes=2)


async def test_silent_watches_hide_no_failure() -> None:
    """Looks see for themselves that a release never becomes healthy; its time is not prolonged."""
    world = checked_world()
    async with started(world):
        await first_release(world)
        world.cluster.workloads[NEXT] = Workload(None)
        place = Step.WAIT_HEALTHY.value
        ailing = Lasting(world, RunKind.ROLLOUT, place, TROUBLES["silent watches"])
        ailing.begin()
        await world.push("next", *objects(NEXT, config_map("added")))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        assert ailing.failed[place], "watches were opened"
        assert failed.failure is not None
        assert failed.failure.reason == "DeadlineExceeded"
        assert _took(failed) < timedelta(minutes=5, seconds=30)
        await restored(world)


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
        place = Step.VERIFY.value
        ailing = Lasting(world, RunKind.ROLLOUT, place, TROUBLES["refuses connections"])
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
