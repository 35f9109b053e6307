"""What stays of checks with a run: the first failure beside the last ones, and the repeats.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.config import ApplicationSpec, MonitorSpec
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.testing.verifier import MemoryAnswer
from tests.support.engine_world import STAGING, World, deployment, running_world, shop_spec

pytestmark = pytest.mark.looptime

IMAGE = "registry.example/api:1"
SECOND = timedelta(seconds=1)
CHECK = HttpCheck("api /health", service="api", port="http", path="/health", within=60 * SECOND)


def spec_with(certify: timedelta = timedelta(0), **changes: object) -> ApplicationSpec:
    """The usual application, whose staging makes one check and certifies for a while."""
    spec = shop_spec()
    check = replace(CHECK, **changes)  # type: ignore[arg-type]  # any field of a check
    staging = replace(spec.stages[0], verify=(check,), certify=certify)
    return replace(spec, stages=(staging, *spec.stages[1:]))


def answers(world: World, *statuses: int) -> None:
    """Let the service answer with these in turn; the last one stays."""
    made = [MemoryAnswer(status=status) for status in statuses]
    world.verifier.serve("api", *made, path="/health")


async def evidence_of(world: World, run: Run, step: Step = Step.VERIFY) -> list[Evidence]:
    """Read what the checks of a step left."""
    found = await world.store.read(lambda tx: tx.runs.evidence(run.id))
    return [one for one in found if one.kind is EvidenceKind.CHECK and one.step is step]


def read(one: Evidence) -> Mapping[str, Json]:
    """The content of a piece of evidence."""
    assert isinstance(one.content, dict)
    return one.content


async def test_the_first_failure_is_kept_beside_the_last_attempts() -> None:
    """However many attempts follow; the sentence names both when they differ."""
    async with running_world(spec_with(successes=3)) as world:
        answers(world, 200, 200, 418, *[500] * 200)
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        kept = await evidence_of(world, run)

    assert run.failure is not None
    assert "Service shop-staging/api: check api /health failed after " in run.failure.message
    assert run.failure.message.endswith(
        "answered 500, expected 200 (the first failure, attempt 3, was: answered 418, expected 200)"
    )
    [first] = [read(one) for one in kept if read(one).get("firstFailure")]
    assert (first["attempt"], first["message"]) == (3, "answered 418, expected 200")
    assert first["evidence"] == {"status": 418, "body": None}
    numbers = sorted(int(str(read(one)["attempt"])) for one in kept)
    assert len(numbers) == 11
    assert numbers[1:] == list(range(numbers[-1] - 9, numbers[-1] + 1))
    assert numbers[-1] > 60


async def test_a_failure_that_was_overcome_stays_in_the_evidence() -> None:
    """The check passed in the end; what was wrong at first can still be read."""
    async with running_world(spec_with()) as world:
        answers(world, 503, 200)
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        kept = [read(one) for one in await evidence_of(world, run)]

    assert [(one["attempt"], one["passed"]) for one in kept] == [(1, False), (2, True)]


@pytest.mark.parametrize("certify", [SECOND / 10, SECOND, 5 * SECOND, 60 * SECOND])
async def test_every_check_is_repeated_at_least_twice(certify: timedelta) -> None:
    """However short Certify is: once before its end, and once after."""
    async with running_world(spec_with(certify)) as world:
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        kept = [read(one) for one in await evidence_of(world, run, Step.CERTIFY)]
        events = await world.store.read(lambda tx: tx.runs.events(run.id))
        at = {event.step: event.at for event in events if event.name == "StepSucceeded"}

    assert len(kept) >= 2
    assert all(one["passed"] is True for one in kept)
    assert at[Step.CERTIFY] - at[Step.PRUNE] >= certify
    assert at[Step.CERTIFY] - at[Step.PRUNE] <= certify + 3 * SECOND


async def test_without_certify_nothing_is_repeated() -> None:
    """A stage that certifies for no time is done when it is verified."""
    async with running_world(spec_with()) as world:
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)

        assert await evidence_of(world, run, Step.CERTIFY) == []
        assert len(world.verifier.asked) == 1


@pytest.mark.parametrize("repeat", [1, 2])
async def test_a_repeat_that_fails_is_a_verdict_and_is_kept(repeat: int) -> None:
    """The first repeat or the last one: the release fails, and its evidence says with what."""
    async with running_world(spec_with(2 * SECOND)) as world:
        answers(world, 200, *[200] * (repeat - 1), 500)
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        kept = [read(one) for one in await evidence_of(world, run, Step.CERTIFY)]

    assert run.step is Step.CERTIFY
    assert run.failure is not None
    assert "failed when repeated: answered 500, expected 200" in run.failure.message
    [failed] = [one for one in kept if not one["passed"]]
    assert (failed["attempt"], failed["firstFailure"]) == (repeat, True)


async def test_a_repeat_that_saw_nothing_is_made_again() -> None:
    """While the API server is away nothing is judged, and no repeat is counted."""
    async with running_world(spec_with(2 * SECOND)) as world:
        gone = MemoryAnswer(visible=False)
        world.verifier.serve(
            "api", MemoryAnswer(), MemoryAnswer(), gone, gone, MemoryAnswer(), path="/health"
        )
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        kept = [read(one) for one in await evidence_of(world, run, Step.CERTIFY)]

    assert [one["passed"] for one in kept] == [True, True]
    assert len(world.verifier.asked) == 5


async def test_what_a_monitor_saw_stays_with_the_run_it_watches() -> None:
    """The sentence is told to channels; the evidence is kept beside that of the other checks."""
    spec = spec_with()
    every = timedelta(minutes=1)
    staging = replace(spec.stages[0], monitor=MonitorSpec(every, (replace(CHECK, path="/rules"),)))
    async with running_world(replace(spec, stages=(staging,))) as world:
        await world.push("one", deployment(IMAGE))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.verifier.serve("api", MemoryAnswer(status=418), path="/rules")
        await world.clock.sleep(5 * every)
        kept = [read(one) for one in await evidence_of(world, run, Step.CERTIFY)]

    [seen] = kept
    assert (seen["monitored"], seen["message"]) == (True, "answered 418, expected 200")
