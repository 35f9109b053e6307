"""Releases of many objects of one kind: what is left alone is looked at as one list.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from collections import Counter

import pytest

from gitopsd.cluster_ports import ApiRefusal
from gitopsd.domain.manifests import JsonObject, ObjectRef
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.engine.leaving import LISTED
from gitopsd.store_ports import Transaction
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
)

pytestmark = pytest.mark.looptime

IMAGE = "registry.example/api:1"
COUNT = 2 * LISTED


def objects(changed: str) -> tuple[JsonObject, ...]:
    """Many ConfigMaps, the first of which holds something else in each release."""
    names = [f"settings-{number:02d}" for number in range(COUNT)]
    maps = [config_map(name, value=changed if name == names[0] else "") for name in names]
    return (deployment(IMAGE), *maps)


class Observed:
    """What is asked of the cluster for ConfigMaps while the newest run is in Apply.

    Args:
        world: The world.

    Attributes:
        asked: Method -> how often.
        written: Names of what was applied.
    """

    def __init__(self, world: World) -> None:
        self.asked: Counter[str] = Counter()
        self.written: list[str] = []
        self._applies = False
        self._meddle: tuple[JsonObject, ...] = ()
        self._world = world
        world.store.observe = self._note
        world.cluster.before = self._look

    def meddle(self, *changed: JsonObject) -> None:
        """Let somebody change objects right before the next list of Apply is answered."""
        self._meddle = changed

    def _note(self, tx: Transaction) -> None:
        self._applies = any(
            run.stage == STAGING and run.step is Step.APPLY for run in tx.runs.live()
        )

    async def _look(self, method: str, ref: ObjectRef | None) -> None:
        ours = ref is not None and ref.key.kind == "ConfigMap" and ref.key.namespace != "gitopsd"
        if not self._applies or not ours or ref is None:
            return
        self.asked[method] += 1
        if method == "apply":
            self.written.append(ref.key.name)
        if method == "list":
            changed, self._meddle = self._meddle, ()
            for obj in changed:
                self._applies = False
                await self._world.cluster.apply(obj, manager="somebody", force=True)
                self._applies = True


async def release(world: World, changed: str, count: int) -> None:
    """Release the set, and wait until it is verified."""
    await world.push(f"release {changed}", *objects(changed))
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


def theirs(name: str) -> JsonObject:
    """A ConfigMap as somebody else wants it."""
    made = config_map(name, value="by hand")
    return {**made, "metadata": {"name": name, "namespace": "shop-staging"}}


async def test_what_is_clean_is_read_as_one_list() -> None:
    """One list and one write for a release that changes one of many."""
    async with running_world() as world:
        await release(world, "a", 1)
        seen = Observed(world)
        await release(world, "b", 2)

        assert seen.asked == {"list": 1, "apply": 1}
        assert seen.written == ["settings-00"]


async def test_what_changed_since_its_dry_run_is_applied() -> None:
    """A list tells versions as well as a look at each: what a person wrote meanwhile is undone."""
    async with running_world() as world:
        await release(world, "a", 1)
        seen = Observed(world)
        seen.meddle(theirs("settings-07"), theirs("settings-11"))
        await release(world, "b", 2)

        assert sorted(seen.written) == ["settings-00", "settings-07", "settings-11"]
        live = world.cluster.live()
        assert live["ConfigMap shop-staging/settings-07"]["data"] == {"value": ""}


async def test_what_lost_our_labels_is_looked_at() -> None:
    """Gone from the list, but not from the cluster: it is applied, labels and all."""
    async with running_world() as world:
        await release(world, "a", 1)
        seen = Observed(world)
        taken = theirs("settings-07")
        labels = {"gitopsd.io/stage": "none"}
        metadata: JsonObject = {
            "name": "settings-07",
            "namespace": "shop-staging",
            "labels": labels,
        }
        seen.meddle({**taken, "metadata": metadata})
        await world.push("release b", *objects("b"))
        failed = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

        assert failed.failure is not None
        assert failed.failure.reason == "OwnedElsewhere"


async def test_who_may_not_list_looks_at_each() -> None:
    """The rights to get and patch are enough."""
    async with running_world() as world:

        def refuse(method: str, ref: ObjectRef, _: JsonObject) -> ApiRefusal | None:
            forbidden = method == "list" and ref.key.kind == "ConfigMap"
            return ApiRefusal(403, "Forbidden", "may not list") if forbidden else None

        world.cluster.refuse = refuse
        await release(world, "a", 1)
        seen = Observed(world)
        await release(world, "b", 2)

        assert seen.asked == {"list": 1, "get": COUNT - 1, "apply": 1}
