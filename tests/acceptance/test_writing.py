"""Who may write to a stage: never two, and never one whose right has ended.

Real: the permit, Apply and Prune. In memory and in virtual time: database, cluster, clocks.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from gitopsd.engine.outcomes import Done
from gitopsd.engine.steps.apply import run_apply
from gitopsd.engine.writing import write_permit
from gitopsd.errors import LeaseLostError, TemporaryError
from tests.support.engine_world import STAGING, config_map
from tests.support.two_owners import in_wave, rivals

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject, ObjectRef

pytestmark = pytest.mark.looptime

WAVES = tuple(in_wave(config_map(f"settings-{number}", mode="a"), number) for number in range(4))
LONGER_THAN_A_LEASE = timedelta(seconds=31)


def applied(names: list[tuple[str, str]]) -> list[str]:
    """Pick the objects that were sent."""
    return [name for method, name in names if method == "apply"]


async def test_of_two_owners_one_writes() -> None:
    """The one that did not get the lease sends nothing at all."""
    async with rivals(*WAVES) as both:
        first, second = await asyncio.gather(
            run_apply(both.first.context),
            run_apply(both.second.context),
            return_exceptions=True,
        )

        assert isinstance(first, Done)
        assert isinstance(second, TemporaryError)
        assert second.reason == "LeaseHeld"
        assert both.second.cluster.writes() == []
        assert len(applied(both.first.cluster.writes())) == len(WAVES)


async def test_the_loser_of_the_fence_swap_writes_nothing() -> None:
    """Its lease ended before its swap: the swap is refused and nothing is sent after it."""
    async with rivals(*WAVES) as both:
        reached = asyncio.Event()

        async def stop(method: str, _: ObjectRef | None) -> None:
            if method in ("create", "replace"):
                both.first.clock.stop()
                reached.set()
            await both.first.clock.until_going()

        both.first.cluster.before = stop
        late = asyncio.create_task(run_apply(both.first.context))
        await reached.wait()
        await both.world.clock.sleep(LONGER_THAN_A_LEASE)
        assert isinstance(await run_apply(both.second.context), Done)
        after, fence = both.versions(), both.fence()
        both.first.clock.go_on()

        with pytest.raises(LeaseLostError, match="another owner changed the inventory"):
            await late
        await both.world.clock.sleep(timedelta(minutes=5))
        assert both.versions() == after
        assert both.fence() == fence
        assert applied(both.first.cluster.writes()) == []


async def test_an_owner_that_was_stopped_between_two_objects_writes_no_other() -> None:
    """Stopped for longer than its lease while another owner applied: it sends nothing more."""
    async with rivals(*WAVES) as both:
        await both.first.stop_after("settings-1")
        late = asyncio.create_task(run_apply(both.first.context))
        await both.world.clock.sleep(LONGER_THAN_A_LEASE)
        assert isinstance(await run_apply(both.second.context), Done)
        after, fence = both.versions(), both.fence()
        both.first.clock.go_on()

        with pytest.raises(LeaseLostError, match="was not renewed for 31 s"):
            await late
        await both.world.clock.sleep(timedelta(minutes=5))
        assert both.versions() == after
        assert both.fence() == fence
        assert applied(both.first.cluster.writes()) == [
            "ConfigMap shop-staging/settings-0",
            "ConfigMap shop-staging/settings-1",
        ]


async def test_an_owner_that_was_stopped_shortly_goes_on() -> None:
    """A stop that its lease outlives costs nothing."""
    async with rivals(*WAVES) as both:
        await both.first.stop_after("settings-1")
        work = asyncio.create_task(run_apply(both.first.context))
        await both.world.clock.sleep(timedelta(seconds=9))
        with pytest.raises(TemporaryError):
            await run_apply(both.second.context)
        both.first.clock.go_on()

        assert isinstance(await work, Done)
        assert len(applied(both.first.cluster.writes())) == len(WAVES)


async def test_a_lease_is_renewed_for_as_long_as_it_is_needed() -> None:
    """Work that takes longer than a lease keeps it, and others out."""
    async with rivals(*WAVES) as both:

        async def slow(method: str, _: ObjectRef | None) -> None:
            if method == "apply":
                await both.first.clock.sleep(timedelta(seconds=15))

        both.first.cluster.before = slow
        work = asyncio.create_task(run_apply(both.first.context))
        for _ in range(5):
            await both.world.clock.sleep(timedelta(seconds=10))
            with pytest.raises(TemporaryError):
                await run_apply(both.second.context)

        assert not isinstance(await work, Exception)
        assert both.second.cluster.writes() == []


async def test_without_its_database_an_owner_stops_by_itself() -> None:
    """When nobody can say whether the lease is still ours, the last write is in its budget."""
    async with rivals(*WAVES) as both:

        async def slow(method: str, _: ObjectRef | None) -> None:
            if method == "apply":
                both.first.store.unavailable = True
                await both.first.clock.sleep(timedelta(seconds=8))

        both.first.cluster.before = slow
        began = both.world.clock.now()
        with pytest.raises(LeaseLostError):
            await run_apply(both.first.context)

        assert both.world.clock.now() - began < timedelta(seconds=30)
        assert len(applied(both.first.cluster.writes())) == 3


async def test_a_short_outage_of_the_database_is_survived() -> None:
    """A renewal that failed is tried again before the budget is spent."""
    async with rivals(*WAVES) as both:
        store = both.first.store

        async def slow(method: str, _: ObjectRef | None) -> None:
            if method == "apply":
                store.unavailable = True
                await both.first.clock.sleep(timedelta(seconds=12))
                store.unavailable = False
                await both.first.clock.sleep(timedelta(seconds=3))

        both.first.cluster.before = slow

        assert isinstance(await run_apply(both.first.context), Done)


async def test_a_newer_permit_of_the_same_process_voids_the_older() -> None:
    """A step that was given up and still works stops when its successor begins."""
    async with rivals(*WAVES) as both:
        await both.first.stop_after("settings-1")
        left_behind = asyncio.create_task(run_apply(both.first.context))
        await both.world.clock.sleep(timedelta(seconds=1))
        both.first.cluster.after = None
        both.first.clock.go_on()
        async with write_permit(both.first.context):
            with pytest.raises(LeaseLostError, match="has taken a newer one"):
                await left_behind


async def test_a_permit_writes_nothing_once_its_step_is_over() -> None:
    """Whoever keeps it cannot use it."""
    async with rivals(*WAVES) as both:
        async with write_permit(both.first.context) as permit:
            permit.check()

        with pytest.raises(LeaseLostError, match="the step is over"):
            permit.check()
        with pytest.raises(LeaseLostError):
            await permit.save_inventory(())


async def test_a_step_that_ends_gives_its_lease_back() -> None:
    """Another owner need not wait for it to run out, also when the first could not begin."""
    async with rivals(*WAVES) as both:
        both.first.cluster.fault = lambda method, _: (
            TemporaryError("no answer") if method == "create" else None
        )
        with pytest.raises(TemporaryError, match="no answer"):
            await run_apply(both.first.context)

        assert isinstance(await run_apply(both.second.context), Done)


async def test_nothing_is_written_behind_a_failure() -> None:
    """When one object cannot be sent, those under way are waited for and no other is begun."""
    many = [config_map(f"settings-{number:02}", mode="a") for number in range(40)]
    async with rivals(*many) as both:
        sent: list[str] = []

        async def hold(method: str, ref: ObjectRef | None) -> None:
            if method == "apply" and ref is not None:
                sent.append(ref.key.name)
                if ref.key.name == "settings-03":
                    raise TemporaryError("no answer")
                await both.first.clock.sleep(timedelta(seconds=5))

        both.first.cluster.before = hold
        with pytest.raises(TemporaryError, match="no answer"):
            await run_apply(both.first.context)
        after = both.versions()
        assert len(set(sent)) < 20

        await both.world.clock.sleep(timedelta(minutes=1))
        assert both.versions() == after


async def test_what_was_sent_before_a_failure_is_not_sent_again() -> None:
    """The next execution of the step goes on where the first stopped."""
    async with rivals(*WAVES) as both:
        both.first.cluster.fault = lambda method, ref: (
            TemporaryError("no answer")
            if method == "apply" and ref is not None and ref.key.name == "settings-2"
            else None
        )
        with pytest.raises(TemporaryError):
            await run_apply(both.first.context)
        assert isinstance(await run_apply(both.second.context), Done)

        assert applied(both.second.cluster.writes()) == [
            "ConfigMap shop-staging/settings-2",
            "ConfigMap shop-staging/settings-3",
        ]


async def test_a_cancelled_step_leaves_nothing_running() -> None:
    """An aborted run's requests end with it, and its lease is given back."""
    async with rivals(*WAVES) as both:

        async def slow(_method: str, _ref: ObjectRef | None) -> None:
            await both.first.clock.sleep(timedelta(seconds=5))

        both.first.cluster.before = slow
        work = asyncio.create_task(run_apply(both.first.context))
        await both.world.clock.sleep(timedelta(seconds=22))
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        after = both.versions()
        await both.world.clock.sleep(timedelta(minutes=1))

        assert both.versions() == after
        assert isinstance(await run_apply(both.second.context), Done)


async def test_a_person_can_stop_every_writer() -> None:
    """An inventory annotated as paused lets nobody write, and says who did that."""
    async with rivals(*WAVES) as both:
        async with write_permit(both.first.context):
            pass
        for key, stored in both.world.cluster.objects:
            if key.name == "gitopsd-shop-staging":
                annotations: dict[str, JsonObject] = stored.body["metadata"]["annotations"]  # type: ignore[index,call-overload,assignment] # our own ConfigMap
                annotations["gitopsd.io/paused"] = "true"  # type: ignore[assignment] # as above
        after = both.versions()

        with pytest.raises(TemporaryError, match=f"a person paused {STAGING}") as raised:
            await run_apply(both.second.context)

        assert raised.value.reason == "Paused"
        assert both.versions() == after
