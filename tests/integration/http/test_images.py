"""What the API tells about images: what is followed, what waits, where a build stands."""

from __future__ import annotations

from dataclasses import replace

from gitopsd.domain.images import DigestPolicy, ImageSource, SemverPolicy
from gitopsd.domain.runs import Phase, RunKind
from tests.support.engine_world import STAGING, deployment, shop_spec
from tests.support.http_world import serving_world

API, WORKER = "registry.example/team/api", "registry.example/team/worker"


async def test_an_application_shows_its_images_and_what_waits() -> None:
    """Each image with its policy, where it stands, and why a newer one is not out yet."""
    policy = SemverPolicy(">=1")
    sources = (ImageSource(API, policy, "build"), ImageSource(WORKER, policy, "build"))
    async with serving_world(replace(shop_spec(), images=sources)) as http:
        world = http.world
        before = await http.get("/applications/shop")
        digest = world.registry.push(API, "1.0.0", revision="a" * 40)
        other = world.registry.push(WORKER, "1.0.0")
        await world.notify(API, "1.0.0")
        await world.notify(WORKER, "1.0.0")
        await world.push("first", deployment(API))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        world.registry.push(API, "1.1.0")
        await world.notify(API, "1.1.0")

        async def waits() -> bool:
            return bool((await http.get("/applications/shop"))["waiting"])

        await world.until(waits, "the image waits for its group")
        shop = await http.get("/applications/shop")
        [release] = (await http.get("/applications/shop/releases"))["items"]
        asked = await http.get(f"/commits/{'a' * 40}")

    nothing = [f"{name} fits `semver >=1`" for name in (API, WORKER)]
    assert before["waiting"] == [
        f"group build has no build in common yet: nothing of {nothing[0]}; nothing of {nothing[1]}"
    ]
    assert [image["digest"] for image in before["images"]] == ["", ""]
    assert shop["images"] == [
        {
            "name": name,
            "policy": "semver >=1",
            "group": "build",
            "tag": "1.0.0",
            "digest": pushed,
            "problem": "",
        }
        for name, pushed in ((API, digest), (WORKER, other))
    ]
    assert shop["waiting"] == [f"{API}:1.1.0 waits for {WORKER}"]
    assert release["images"] == {API: digest, WORKER: other}
    assert release["tags"] == {API: "1.0.0", WORKER: "1.0.0"}
    assert release["revisions"] == {API: "a" * 40}
    assert asked["stages"][0]["state"] == "Live"


async def test_an_application_shows_why_a_registry_cannot_be_asked() -> None:
    """The sentence about the registry stands beside the image."""
    spec = replace(shop_spec(), images=(ImageSource(API, DigestPolicy("main")),))
    async with serving_world(spec) as http:

        async def told() -> bool:
            shop = await http.get("/applications/shop")
            return bool(shop["images"][0]["problem"])

        await http.world.until(told, "the problem is told")
        shop = await http.get("/applications/shop")

    assert shop["images"][0]["problem"] == "registry registry.example does not answer"
    assert shop["waiting"] == [f"nothing of {API} fits `digest main` yet"]
