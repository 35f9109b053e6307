"""A real registry reports its pushes, and releases follow from what it holds."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.domain.images import DigestPolicy, ImageSource, SemverPolicy
from gitopsd.domain.runs import Phase, RunKind
from tests.support.engine_world import STAGING, config_map, deployment
from tests.support.images import build_index, web_image
from tests.support.registry_world import RegistryWorld, run_registry_world

pytestmark = pytest.mark.timeout(120)


def _main(host: str) -> tuple[ImageSource, ...]:
    return (ImageSource(f"{host}/team/api", DigestPolicy("main")),)


def _build(host: str) -> tuple[ImageSource, ...]:
    policy = SemverPolicy(">=1")
    return tuple(ImageSource(f"{host}/team/{name}", policy, "build") for name in ("api", "worker"))


async def _begin(site: RegistryWorld, tag: str = "main") -> str:
    """Bring a first release to staging; returns the image's name."""
    name = site.name("team/api")
    await site.push(web_image("0"), f"team/api:{tag}")
    await site.world.push("first", deployment(name))
    await site.until_staged(1)
    await site.until_told(tag)
    return name


async def _digests(site: RegistryWorld) -> list[str]:
    name = site.name("team/api")
    return [release.images[name] for release in await site.world.releases()]


@pytest.mark.parametrize("poll", [timedelta(minutes=10), timedelta(seconds=1)], ids=str)
async def test_a_tag_that_moves_twice_within_a_second_ends_in_one_release(
    tmp_path: Path, poll: timedelta
) -> None:
    """Two pushes and two reports make one release, with what the tag points to in the end."""
    async with run_registry_world(tmp_path, _main, poll=poll) as site:
        name = await _begin(site)

        first = await site.push(web_image("1"), "team/api:main")
        second = await site.push(web_image("2"), "team/api:main")
        pushed_at = site.world.clock.now()
        await site.until_told("main", count=3)
        await site.until_staged(2)
        await site.until_looked(pushed_at)

        assert first.digest != second.digest
        assert (await _digests(site))[1:] == [second.digest]
        live = site.world.cluster.live()["Deployment shop-staging/api"]
        assert f"{name}:main@{second.digest}" in str(live)


async def test_a_report_with_a_false_digest_changes_nothing(tmp_path: Path) -> None:
    """The registry itself is asked; what somebody else says about it is not believed."""
    async with run_registry_world(tmp_path, _main) as site:
        name = await _begin(site)
        other = await site.push(web_image("other"), "team/api:other")

        assert await site.world.notify(name, "main", other.digest) == 202
        await site.until_told("other")
        await site.look_twice()

        assert len(await site.world.releases()) == 1
        assert len(await site.world.runs(STAGING)) == 1


async def test_an_index_is_released_by_its_own_digest(tmp_path: Path) -> None:
    """The images of its platforms are reported before it; only its tag makes a release."""
    async with run_registry_world(tmp_path, _main) as site:
        await _begin(site)
        images = [web_image("1", revision="a" * 40), web_image("1", port=8081)]
        for image in images:
            await site.push(image, "team/api")
        index = await site.push(
            build_index(*images, platforms=("linux/amd64", "linux/arm64")), "team/api:main"
        )
        await site.until_staged(2)
        await site.look_twice()

        releases = await site.world.releases()
        assert [release.images[site.name("team/api")] for release in releases][1:] == [index.digest]
        assert releases[1].origins[site.name("team/api")].revision == "a" * 40


async def test_what_is_no_tag_of_an_image_makes_no_release(tmp_path: Path) -> None:
    """Images by digest, layers, mounts, deletions and pulls are reported and not even stored."""
    async with run_registry_world(tmp_path, _main) as site:
        await _begin(site)
        before = len(await site.deliveries())
        loose = await site.push(web_image("loose"), "team/api")
        mounted = await asyncio.to_thread(
            site.server.mount, "team/worker", "team/api", web_image("loose").blobs[1]
        )
        await asyncio.to_thread(site.server.delete, "team/api", loose.digest)
        await asyncio.to_thread(site.server.manifest, "team/api:main")
        await site.push(web_image("last"), "team/api:last")
        await site.until_told("last")
        await site.look_twice()

        assert mounted == 201
        assert len(await site.deliveries()) == before + 1
        assert len(await site.world.releases()) == 1


async def test_deleting_what_runs_makes_no_release(tmp_path: Path) -> None:
    """The highest version is deleted from the registry: nothing goes back to the one before."""

    def follow(host: str) -> tuple[ImageSource, ...]:
        return (ImageSource(f"{host}/team/api", SemverPolicy(">=1")),)

    async with run_registry_world(tmp_path, follow) as site:
        name = await _begin(site, "1.0.0")
        second = await site.push(web_image("1"), "team/api:1.1.0")
        await site.until_staged(2)
        await asyncio.to_thread(site.server.delete, "team/api", second.digest)
        await site.look_twice()

        state = await site.world.store.read(lambda tx: tx.images.get(name))
        assert state is not None
        assert f"no longer has {name}:1.1.0" in state.problem
        assert len(await site.world.releases()) == 2
        assert len(await site.world.runs(STAGING)) == 2
        third = await site.push(web_image("2"), "team/api:1.0.1")
        await site.until_staged(3)
        assert (await _digests(site))[2] == third.digest


async def test_a_registry_that_is_down_holds_up_no_fix(tmp_path: Path) -> None:
    """What runs is left alone, a commit goes out with the known image, and pushes flow again."""
    async with run_registry_world(tmp_path, _main) as site:
        name = await _begin(site)
        [digest] = await _digests(site)
        await asyncio.to_thread(site.server.stop)

        async def troubled() -> bool:
            state = await site.world.store.read(lambda tx: tx.images.get(name))
            return state is not None and state.tries > 1

        await site.world.until(troubled, "looks that fail")
        assert len(await site.world.runs(STAGING)) == 1
        await site.world.push("fix", deployment(name), config_map("settings", mode="fixed"))
        await site.until_staged(2)
        assert await _digests(site) == [digest, digest]
        live = site.world.cluster.live()
        assert f"{name}:main@{digest}" in str(live["Deployment shop-staging/api"])
        assert "ConfigMap shop-staging/settings" in live

        site.server.start()
        pushed = await site.push(web_image("1"), "team/api:main")
        await site.until_staged(3)
        assert (await _digests(site))[2] == pushed.digest
        assert not [run for run in await site.world.runs(STAGING) if run.phase is Phase.FAILED]


async def test_a_report_that_was_not_taken_comes_again(tmp_path: Path) -> None:
    """While the database is down the registry is told so; its event is stored once, later."""
    async with run_registry_world(tmp_path, _main) as site:
        await _begin(site)
        site.door.down = True
        pushed = await site.push(web_image("1"), "team/api:main")
        await site.world.until(lambda: site.door.refused >= 3, "reports that are refused")
        site.door.down = False

        await site.until_told("main", count=2)
        await site.until_staged(2)
        assert (await _digests(site))[1:] == [pushed.digest]
        keys = [row.key for row in await site.deliveries()]
        assert len(keys) == len(set(keys)) == 2
        assert all(len(key) == 36 for key in keys)


async def test_a_group_of_real_images_moves_as_one(tmp_path: Path) -> None:
    """The second image of a build completes it; one release has both."""
    async with run_registry_world(tmp_path, _build) as site:
        names = [site.name("team/api"), site.name("team/worker")]
        for path in ("api", "worker"):
            await site.push(web_image("1"), f"team/{path}:1.0.0")
        await site.world.push("first", deployment(names[0]), deployment(names[1], "worker"))
        await site.until_staged(1)

        api = await site.push(web_image("2"), "team/api:v1.1.0")
        await site.until_told("v1.1.0")
        await site.look_twice()
        assert len(await site.world.releases()) == 1
        worker = await site.push(web_image("3"), "team/worker:v1.1.0")
        await site.until_staged(2)

        release = (await site.world.releases())[1]
        assert dict(release.images) == {names[0]: api.digest, names[1]: worker.digest}
        assert {origin.tag for origin in release.origins.values()} == {"v1.1.0"}
        rollbacks = [run for run in await site.world.runs(STAGING) if run.kind is RunKind.ROLLBACK]
        assert rollbacks == []
