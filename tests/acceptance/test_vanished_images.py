"""Images that vanish from the registry, and images from the future, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside, the
registry among it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.images import (
    DigestPolicy,
    ImagePolicy,
    ImageSource,
    NewestPolicy,
    SemverPolicy,
)
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.testing.clock import LoopClock
from tests.support.engine_world import (
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

API, WORKER = "registry.example/team/api", "registry.example/team/worker"
SECOND = timedelta(seconds=1)


def _spec(*sources: ImageSource) -> ApplicationSpec:
    return replace(shop_spec(), images=sources)


async def _until_staged(world: World, count: int) -> None:
    await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)


def _image_in(world: World) -> str:
    live = world.cluster.live()["Deployment shop-staging/api"]
    template = live["spec"]["template"]  # type: ignore[index, call-overload] # a Deployment has one
    image = template["spec"]["containers"][0]["image"]  # type: ignore[index, call-overload] # of one container
    return str(image)


@pytest.mark.parametrize(
    "policy, tags",
    [
        (SemverPolicy(">=1"), ("1.0.0", "1.1.0", "1.2.0")),
        (NewestPolicy("main-*"), ("main-1", "main-2", "main-3")),
        (DigestPolicy("main"), ("main", "main", "main")),
    ],
)
@pytest.mark.parametrize("whole", [False, True], ids=["tag", "manifest"])
async def test_a_deleted_image_makes_no_release(
    policy: ImagePolicy, tags: tuple[str, str, str], *, whole: bool
) -> None:
    """What runs stays, and the image says what is gone; a newer push flows as ever."""
    start = LoopClock().now()
    async with running_world(_spec(ImageSource(API, policy))) as world:
        pushed = []
        for number, tag in enumerate(tags[:2]):
            made = start + number * SECOND
            pushed.append(world.registry.push(API, tag, content=str(number), created=made))
            await world.notify(API, tag)
            if number == 0:
                await world.push("first", deployment(API))
            await _until_staged(world, number + 1)
        world.registry.delete(API, pushed[1] if whole else tags[1])
        await world.clock.sleep(timedelta(minutes=5))

        assert len(await world.releases()) == 2
        assert len(await world.runs(STAGING)) == 2
        state = await world.store.read(lambda tx: tx.images.get(API))
        assert state is not None
        assert state.problem == (
            f"the registry no longer has {API}:{tags[1]}, which was the best for `{policy}`; "
            "nothing is released for that alone"
        )
        newest = world.registry.push(API, tags[2], content="new", created=start + 9 * SECOND)
        await world.notify(API, tags[2])
        await _until_staged(world, 3)
        assert _image_in(world) == f"{API}:{tags[2]}@{newest}"
        state = await world.store.read(lambda tx: tx.images.get(API))
        assert state is not None
        assert state.problem == ""


async def test_a_commit_takes_what_is_left_of_deleted_images() -> None:
    """A commit cannot go out with an image that is not there: it goes with the best that is."""
    async with running_world(_spec(ImageSource(API, SemverPolicy(">=1")))) as world:
        left = world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        gone = world.registry.push(API, "2.0.0")
        await world.notify(API, "2.0.0")
        await _until_staged(world, 2)
        world.registry.delete(API, gone)
        await world.clock.sleep(timedelta(minutes=2))

        await world.push("fix", deployment(API), config_map("settings", mode="fixed"))
        await _until_staged(world, 3)

        assert _image_in(world) == f"{API}:1.0.0@{left}"


async def test_a_version_that_was_a_mistake_holds_up_none_after_it() -> None:
    """Somebody deletes 20.0.0 and goes on with 1.1.0: that is pushed after it, and released."""
    async with running_world(_spec(ImageSource(API, SemverPolicy(">=1")))) as world:
        world.registry.push(API, "1.0.0")
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        mistake = world.registry.push(API, "20.0.0")
        await world.notify(API, "20.0.0")
        await _until_staged(world, 2)
        world.registry.delete(API, mistake)
        await world.clock.sleep(timedelta(minutes=2))

        right = world.registry.push(API, "1.1.0")
        await world.notify(API, "1.1.0")
        await _until_staged(world, 3)

        assert _image_in(world) == f"{API}:1.1.0@{right}"


async def test_a_group_does_not_go_back_because_one_image_was_deleted() -> None:
    """The build that runs stays, as long as no newer one is whole."""
    policy = SemverPolicy(">=1")
    sources = (ImageSource(API, policy, "build"), ImageSource(WORKER, policy, "build"))
    async with running_world(_spec(*sources)) as world:
        for number, tag in enumerate(("1.0.0", "1.1.0")):
            for name in (API, WORKER):
                world.registry.push(name, tag)
                await world.notify(name, tag)
            if number == 0:
                await world.push("first", deployment(API), deployment(WORKER, "worker"))
            await _until_staged(world, number + 1)
        world.registry.delete(WORKER, "1.1.0")
        await world.clock.sleep(timedelta(minutes=5))

        assert len(await world.releases()) == 2
        assert ":1.1.0@" in _image_in(world)


async def test_an_image_from_the_future_is_not_the_newest() -> None:
    """A clock that ran ahead holds up no later build; tomorrow is still today somewhere."""
    start = LoopClock().now()
    async with running_world(_spec(ImageSource(API, NewestPolicy("main-*")))) as world:
        world.registry.push(API, "main-1", created=start)
        world.registry.push(API, "main-9", created=start + timedelta(days=3650))
        await world.push("first", deployment(API))
        await _until_staged(world, 1)
        assert ":main-1@" in _image_in(world)

        world.registry.push(API, "main-2", created=start + timedelta(hours=23))
        await world.notify(API, "main-2")
        await _until_staged(world, 2)
        assert ":main-2@" in _image_in(world)
