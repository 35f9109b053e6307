"""What a person sees at a terminal of images that do not come and channels that do not answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.images import ImageSource, SemverPolicy
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.errors import ConfigError, TemporaryError
from tests.support.command_line import CommandLine
from tests.support.engine_world import STAGING, deployment, shop_spec
from tests.support.http_world import HttpWorld, serving_world

API, WORKER = "registry.example/team/api", "registry.example/team/worker"
GROUP = tuple(ImageSource(name, SemverPolicy(">=1"), "build") for name in (API, WORKER))
SPEC = replace(shop_spec(), images=GROUP)


async def _release(http: HttpWorld) -> None:
    for name in (API, WORKER):
        http.world.registry.push(name, "1.0.0", revision="a" * 40)
    await http.world.push("first", deployment(API), deployment(WORKER, "worker"))
    await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def _push_half_a_build(http: HttpWorld) -> None:
    http.world.registry.push(API, "1.1.0")
    await http.world.notify(API, "1.1.0")

    async def seen() -> bool:
        return bool((await http.get("/applications/shop"))["waiting"])

    await http.until(seen, "the half is seen")


async def test_half_a_build_is_seen_to_wait(tmp_path: Path) -> None:
    """Which image waits for which is said with the images, the stages, and the story of a stage."""
    async with serving_world(SPEC) as http:
        await _release(http)
        await _push_half_a_build(http)
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        images = await person.run("get", "images")
        same = await person.run("get", "images", "shop")
        stages = await person.run("get")
        told = await person.run("explain", "shop", "staging")
        by_path = await person.run("explain", "shop/staging")
        run = (await http.world.runs(STAGING))[0]
        by_run = await person.run("explain", run.id)
        rows = await person.run("get", "images", "-o", "json")
        document = await person.run("get", "stages", "-o", "json")

    waits = f"{API}:1.1.0 waits for {WORKER}"
    head, *lines = images.out.splitlines()
    assert head.split() == ["APPLICATION", "IMAGE", "POLICY", "GROUP", "RELEASED", "PROBLEM"]
    assert [line.split() for line in lines] == [
        ["shop", API, "semver", ">=1", "build", "1.0.0"],
        ["shop", WORKER, "semver", ">=1", "build", "1.0.0"],
        ["shop:", *waits.split()],
    ]
    assert same.out == images.out
    assert stages.err == f"shop: {waits}\n"
    assert waits not in stages.out
    assert f"Because: {waits}" in told.out.splitlines()
    assert f"Because: {waits}" in by_path.out.splitlines()
    assert waits not in by_run.out
    assert [row["name"] for row in rows.document["items"]] == [API, WORKER]
    assert (rows.err, document.err) == ("", "")


async def test_a_release_names_its_images(tmp_path: Path) -> None:
    """Tag, digest, and the commit that each was built from."""
    async with serving_world(SPEC) as http:
        await _release(http)
        [release] = await http.world.releases()
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        shown = await person.run("get", "releases", release.id)

    for name in (API, WORKER):
        line = f"image {name}:1.0.0@{release.images[name]} (built from {'a' * 40})\n"
        assert line in shown.out


async def test_a_registry_that_is_down_is_seen(tmp_path: Path) -> None:
    """Before the first release and after it, with the registry's own problem."""
    async with serving_world(SPEC) as http:
        http.world.registry.down.add("registry.example")
        http.world.registry.push(API)
        await http.world.push("first", deployment(API))

        async def troubled() -> bool:
            images = (await http.get("/applications/shop"))["images"]
            return all(image["problem"] for image in images)

        await http.until(troubled, "both looks failed")
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        images = await person.run("get", "images", "shop")
        stages = await person.run("get", "stages", "shop")

    assert images.out.count("registry registry.example does not answer") == 2
    assert images.out.count("nothing yet") == 2
    assert "shop: group build has no build in common yet" in images.out
    assert f"shop: {API}: registry registry.example does not answer\n" in stages.err


async def test_a_file_that_is_not_used_is_seen(tmp_path: Path) -> None:
    """Who changed a file and sees nothing change is told why where the stages are listed."""
    async with serving_world(replace(shop_spec(), file="applications/shop.yaml")) as http:
        problem = ConfigError(
            file="applications/shop.yaml",
            path="spec.stages",
            problem="is missing",
            remedy="write it",
        )
        http.problems.append(problem)
        stages = await CommandLine(http.url, http.tokens["viewer"], tmp_path).run("get")

    assert stages.err.startswith("shop: its file is not used: applications/shop.yaml")


async def test_channels_say_how_they_fare(tmp_path: Path) -> None:
    """Which takes messages, which does not since when and why, and what was given up."""
    async with serving_world() as http:
        channels = dict(http.world.configuration[0].channels)
        channels["deploys"] = ChannelSpec("deploys", ChannelType.SLACK)
        await http.world.configure(replace(http.world.configuration[0], channels=channels))
        error = TemporaryError("channel deploys: Slack: no answer within 10 s")
        http.world.notifier.break_channel("deploys", error)
        await http.post("/freezes", {"scope": "*", "reason": "audit"})

        async def failing() -> bool:
            return bool((await http.get("/channels"))["items"][0]["problem"])

        await http.until(failing, "the trouble is told")
        person = CommandLine(http.url, http.tokens["viewer"], tmp_path)
        listed = await person.run("get", "channels")
        wide = await person.run("get", "channels", "-o", "wide")
        rows = await person.run("get", "channels", "-o", "json")

    head, first, second = listed.out.splitlines()
    assert head.split() == ["CHANNEL", "TYPE", "STATE", "SINCE", "GIVEN", "UP", "PROBLEM"]
    assert first.split()[:3] == ["deploys", "slack", "trouble"]
    assert first.endswith("0         channel deploys: Slack: no answer within 10 s")
    assert second.split() == ["ops", "webhook", "works", "0"]
    assert "WHY GIVEN UP" in wide.out.splitlines()[0]
    assert [row["name"] for row in rows.document["items"]] == ["deploys", "ops"]
