"""What a Rollback found in the cluster is kept before it writes."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.work import LiveState
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.kube.objects import kind_of, name_of
from gitopsd.kube.redaction import MASK
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import STAGING, World, config_map, deployment, running_world

pytestmark = pytest.mark.looptime

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"


def secret(value: str) -> JsonObject:
    """Make a Secret that says a value in both ways."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys"},
        "data": {"plain": base64.b64encode(value.encode()).decode()},
        "stringData": {"words": value},
    }


async def roll_back(world: World) -> LiveState:
    """Push a good release, then one that crashes; what its Rollback kept."""
    world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
    await world.push("good", deployment(GOOD), config_map("settings", password="hunter2hunter2"))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    await world.push("bad", deployment(BAD), config_map("added", mode="bad"))
    run = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
    kept = await world.store.read(lambda tx: tx.runs.live_state(run.id))
    assert kept is not None
    return kept


async def test_what_was_there_is_kept_without_secrets() -> None:
    """The objects as the bad release left them, added ones too."""
    async with running_world() as world:
        kept = await roll_back(world)

        names = [f"{kind_of(obj)} {name_of(obj)}" for obj in kept.objects]
        assert names == ["ConfigMap added", "ConfigMap settings", "Deployment api"]
        assert BAD in str(kept.objects)
        assert "hunter2" not in str(kept.objects)
        assert kept.unread == ()


async def test_a_managed_secret_is_kept_without_what_it_says() -> None:
    """Its keys are there, as the failed release left them; no value is, in no disguise."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        await world.push("good", deployment(GOOD), secret("first-value"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD), secret("second-value"))
        run = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        kept = await world.store.read(lambda tx: tx.runs.live_state(run.id))

        assert kept is not None
        [found] = [obj for obj in kept.objects if kind_of(obj) == "Secret"]
        assert found["data"] == {"plain": MASK}
        assert found["stringData"] == {"words": MASK}
        text = str(kept.objects)
        for value in ("first-value", "second-value"):
            assert value not in text
            assert base64.b64encode(value.encode()).decode() not in text
        restored = world.cluster.live()["Secret shop-staging/keys"]
        assert restored["stringData"] == {"words": "first-value"}


async def test_an_object_that_does_not_answer_holds_no_restore_up() -> None:
    """It is named with the reason, and the restore goes on after ten seconds at most."""
    async with running_world() as world:
        broken: list[bool] = []

        def fail(method: str, ref: ObjectRef | None) -> GitopsdError | None:
            there = "ConfigMap shop-staging/added" in world.cluster.live()
            wanted = method == "get" and ref is not None and ref.key.name == "added"
            if wanted and there and not broken:
                broken.append(True)
                return TemporaryError("the API server does not answer")
            return None

        world.cluster.fault = fail
        begun = world.clock.now()
        kept = await roll_back(world)

        assert kept.unread == ("ConfigMap shop-staging/added: the API server does not answer",)
        assert world.clock.now() - begun < timedelta(minutes=1)


async def test_a_request_that_hangs_is_given_ten_seconds() -> None:
    """What was read until then is kept; the rest is named."""
    async with running_world() as world:
        held: list[str] = []

        async def hold(method: str, ref: ObjectRef | None) -> None:
            live = world.cluster.live()
            crashed = BAD in str(live.get("Deployment shop-staging/api"))
            wanted = method == "get" and ref is not None and ref.key.name == "settings"
            if wanted and crashed and not held:
                held.append(method)
                await world.clock.sleep(timedelta(seconds=60))

        world.cluster.before = hold
        kept = await roll_back(world)

        assert [text for text in kept.unread if "no time" in text] == [
            "ConfigMap shop-staging/settings: there was no time to read it"
        ]
        assert BAD in str(kept.objects)
