"""How the sandbox's controllers are run: woken by changes and by times, asleep otherwise."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.api.storage import ObjectStore
from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.controllers.admission import Admission
from gitopsd.sandbox.controllers.desk import Desk
from gitopsd.sandbox.controllers.event_journal import EventJournal
from gitopsd.sandbox.controllers.facts import (
    CONFIG_MAP,
    DEPLOYMENT,
    EVENT,
    JOB,
    NOTHING,
    POD,
    REPLICA_SET,
    Announcement,
    Facts,
    Plan,
    Refusal,
)
from gitopsd.sandbox.controllers.facts import Key as ObjectKey
from gitopsd.sandbox.controllers.interests import itself
from gitopsd.sandbox.controllers.mirror import Mirror
from gitopsd.sandbox.controllers.queue import WorkQueue
from gitopsd.sandbox.controllers.runner import Controller, ControllerRunner
from gitopsd.testing.clock import ManualClock
from tests.support.controller_twins import SandboxSide
from tests.support.controller_world import NOON, World, conditions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import JsonObject

SECOND = timedelta(seconds=1)


def test_work_that_waits_is_not_doubled() -> None:
    """What is added again while it waits is done once, in its old place."""
    queue = WorkQueue[str]()
    for work in ("a", "b", "a"):
        queue.add(work)
    assert [queue.take(NOON) for _ in range(3)] == ["a", "b", None]


def test_the_earliest_of_several_times_counts() -> None:
    """Later ones for the same work are forgotten."""
    queue = WorkQueue[str]()
    queue.add_later("a", NOON + 10 * SECOND)
    queue.add_later("a", NOON + 5 * SECOND)
    queue.add_later("a", NOON + 20 * SECOND)
    assert queue.next_due() == NOON + 5 * SECOND
    assert queue.take(NOON + 4 * SECOND) is None
    assert queue.take(NOON + 5 * SECOND) == "a"
    assert queue.take(NOON + 60 * SECOND) is None
    assert queue.next_due() is None


def test_failures_wait_longer_each_time_and_are_forgiven() -> None:
    """Twice as long, up to half a minute; success begins anew."""
    queue = WorkQueue[str]()
    waits = []
    for _ in range(12):
        queue.add_failed("a", NOON)
        due = queue.next_due()
        assert due is not None
        waits.append((due - NOON).total_seconds())
        assert queue.take(due) == "a"
    assert waits[:3] == [0.05, 0.1, 0.2]
    assert waits[-1] == 30
    queue.forgive("a")
    queue.add_failed("a", NOON)
    assert queue.next_due() == NOON + timedelta(seconds=0.05)


def item(name: str, uid: str, *owners: tuple[str, bool]) -> dict[str, Any]:
    """An object with owners: uid, and whether that one controls it."""
    references = [
        {"uid": owner, "controller": controls, "kind": "X", "name": owner}
        for owner, controls in owners
    ]
    metadata = {"namespace": "shop", "name": name, "uid": uid, "ownerReferences": references}
    return {"metadata": metadata}


def test_the_mirror_knows_owners_and_orphans() -> None:
    """Its indexes follow every change of an object."""
    mirror = Mirror()
    pods = POD.resource
    mirror.put(pods, item("a", "1", ("rs", True)))
    mirror.put(pods, item("b", "2", ("rs", False)))
    assert [found["metadata"]["name"] for _, found in _dependents(mirror, "rs")] == ["a", "b"]
    assert [found["metadata"] for found in mirror.orphans(pods, "shop")] == [
        item("b", "2", ("rs", False))["metadata"]
    ]

    mirror.put(pods, item("a", "1"))
    assert len(mirror.orphans(pods, "shop")) == 2
    mirror.put(pods, item("b", "3", ("other", True)))
    assert mirror.by_uid("2") is None
    assert mirror.dependents("rs") == []
    mirror.remove(pods, item("b", "2"))
    assert mirror.find(pods, "shop", "b") is not None
    mirror.remove(pods, item("b", "3"))
    mirror.remove(pods, item("a", "1"))
    assert mirror.resources() == []
    assert mirror.among(pods) == mirror.orphans(pods, "shop") == []


def _dependents(mirror: Mirror, uid: str) -> Any:  # noqa: ANN401 - objects as JSON
    return mirror.dependents(uid)


def test_a_controller_that_breaks_is_tried_again_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its trouble is logged; others go on."""
    seen: list[str] = []

    def breaks(key: ObjectKey, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        raise LookupError(f"{key.name} at {now}: {refusals} {facts}")

    def works(key: ObjectKey, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        assert not refusals
        assert facts.find(CONFIG_MAP.resource, *key) is not None
        seen.append(f"{key.name} at {now:%H:%M:%S}")
        return NOTHING

    follow = {CONFIG_MAP.resource: itself}
    world = World([Controller("bad", breaks, follow), Controller("good", works, follow)])
    world.make(CONFIG_MAP, "one")
    world.settle()
    world.advance(minutes=1)
    assert seen == ["one at 12:00:00"]
    assert len(caplog.records) > 5
    caplog.clear()


def test_repeated_events_raise_a_count() -> None:
    """The first stays; after an hour it is gone."""
    news: list[Announcement] = []

    def tells(key: ObjectKey, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        assert (now >= NOON, *refusals) == (True,)
        found = facts.find(CONFIG_MAP.resource, *key)
        assert found is not None
        news.append(Announcement(found, "Again", "the same words"))
        return Plan(tuple(news[-1:]), again=timedelta(minutes=20))

    world = World([Controller("teller", tells, {CONFIG_MAP.resource: itself})])
    world.make(CONFIG_MAP, "one")
    world.advance(minutes=45)
    (event,) = world.all(EVENT)
    assert (event["count"], event["source"]) == (3, {"component": "teller"})
    assert event["firstTimestamp"] == "2026-03-01T12:00:00Z"
    assert event["lastTimestamp"] == "2026-03-01T12:40:00Z"
    assert event["involvedObject"]["kind"] == "ConfigMap"

    world.advance(minutes=40)
    (event,) = world.all(EVENT)
    assert event["firstTimestamp"] == "2026-03-01T13:20:00Z"


def test_one_object_can_only_tell_so_much() -> None:
    """Beyond 25 at once its Events are dropped."""

    def tells(key: ObjectKey, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        assert (now >= NOON, *refusals) == (True,)
        found = facts.find(CONFIG_MAP.resource, *key)
        assert found is not None
        return Plan(tuple(Announcement(found, f"R{number}", "m") for number in range(40)))

    world = World([Controller("teller", tells, {CONFIG_MAP.resource: itself})])
    world.make(CONFIG_MAP, "one")
    world.settle()
    assert len(world.all(EVENT)) == 25


class HandClock(Clock):
    """The sandbox's time, moved by hand."""

    def __init__(self) -> None:
        """Begin where manual clocks do."""
        self.hand = ManualClock()

    def now(self) -> datetime:
        """The time of day."""
        return self.hand.now()

    async def sleep(self, duration: timedelta) -> None:
        """Until the hand has moved that far."""
        await self.hand.sleep(duration)


async def test_the_runner_sleeps_until_something_changes_or_is_due() -> None:
    """It asks for no time of its own: a change wakes it, and so does the moment it waits for."""
    clock = HandClock()
    store = ObjectStore(clock)
    seen: asyncio.Queue[str] = asyncio.Queue()
    plans = [Plan(again=10 * SECOND), Plan(again=10 * SECOND), NOTHING]

    def looks(key: ObjectKey, facts: Facts, now: datetime, refusals: Sequence[Refusal]) -> Plan:
        assert not refusals
        assert facts.find(CONFIG_MAP.resource, *key) is not None
        seen.put_nowait(f"{now:%M:%S}")
        return plans.pop(0)

    mirror = Mirror()
    desk = Desk(store, EventJournal(store, clock), admit=Admission(lambda: mirror), clock=clock)
    controllers = [Controller("looker", looks, {CONFIG_MAP.resource: itself})]
    key = Key(*CONFIG_MAP.resource, "shop", "one")
    with ControllerRunner(store, desk, controllers, clock) as runner:
        task = asyncio.create_task(runner.run())
        made = store.create(key, {"apiVersion": "v1", "kind": "ConfigMap"})
        assert await seen.get() == "00:00"
        await clock.hand.until_sleeping(1)
        assert clock.hand.next_wake == 10 * SECOND
        clock.hand.advance(4 * SECOND)
        store.update(key, {**made, "data": {"a": "b"}})
        assert await seen.get() == "00:04"
        await clock.hand.until_sleeping(1)
        clock.hand.advance(6 * SECOND)
        assert await seen.get() == "00:10"
        for _ in range(10):
            await clock.sleep(timedelta())
        assert clock.hand.sleeping == 0
        assert runner.next_due() is None
        task.cancel()
        await asyncio.wait({task})


def test_controllers_write_as_the_real_ones_do_through_the_whole_path() -> None:
    """Defaults, managed fields and generations are the API's."""
    side = SandboxSide("shop")
    side.make_node("node-1", {}, {"cpu": "100", "memory": "100Gi", "pods": "1000"})
    for number in range(5):
        labels = {"app": f"web-{number}"}
        template: JsonObject = {
            "metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }
        spec: JsonObject = {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": template,
        }
        side.create(DEPLOYMENT, {"metadata": {"name": f"web-{number}"}, "spec": spec})

    pods = side.all(POD)
    assert len(pods) == 15
    assert {pod["metadata"]["generation"] for pod in pods} == {1}
    assert {pod["spec"]["restartPolicy"] for pod in pods} == {"Always"}
    managers = {
        (entry["manager"], entry.get("subresource", ""))
        for kind in (REPLICA_SET, DEPLOYMENT)
        for found in side.all(kind)
        for entry in found["metadata"]["managedFields"]
    }
    assert managers == {
        ("kube-controller-manager", ""),
        ("kube-controller-manager", "status"),
        ("gitopsd-test-harness", ""),
    }


def test_a_job_gets_its_own_selector_from_the_api() -> None:
    """So that its pods are its own; deleting the namespace ends all of it."""
    side = SandboxSide("shop")
    containers: list[JsonObject] = [{"name": "a", "image": "a"}]
    template: JsonObject = {"spec": {"restartPolicy": "Never", "containers": containers}}
    side.create(JOB, {"metadata": {"name": "work"}, "spec": {"template": template}})
    (job,), (pod,) = side.all(JOB), side.all(POD)
    uid = job["metadata"]["uid"]
    assert pod["metadata"]["labels"]["batch.kubernetes.io/controller-uid"] == uid
    assert conditions(job) == {}

    side.api.store.delete(Key("", "namespaces", "", "shop"))
    side.controllers.settle()
    assert side.api.store.get(Key("", "namespaces", "", "shop")) is None
