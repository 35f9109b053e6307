"""Releases in real time, with a real database, and a Slack and a GitHub on sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.notify.by_type import NotifierByType
from gitopsd.adapters.notify.outgoing import Outgoing
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.engine.actions import Actions
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import open_store
from gitopsd.testing.workloads import Workload
from tests.support import github_server, slack_server
from tests.support.engine_world import (
    PRODUCTION,
    STAGING,
    ObservedStore,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)
from tests.support.github_server import GitHubServer, run_github
from tests.support.odd_answers import drop_after, say
from tests.support.slack_server import CONVERSATION, SlackServer, run_slack

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"
SOON = timedelta(seconds=30)


@dataclass
class Scene:
    """A world with real servers to tell."""

    world: World
    slack: SlackServer
    github: GitHubServer


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    """One application, a Slack channel and a GitHub channel."""
    async with _open(tmp_path) as made:
        yield made


@asynccontextmanager
async def _open(folder: Path) -> AsyncIterator[Scene]:
    world = make_world(shop_spec())
    url = f"sqlite:///{folder / 'gitopsd.db'}"
    migrate(url)
    (folder / "slack").write_text(slack_server.TOKEN)
    (folder / "github").write_text(github_server.TOKEN)
    channels = (
        ChannelSpec(
            "deploys",
            ChannelType.SLACK,
            token_file=str(folder / "slack"),
            conversation=CONVERSATION,
        ),
        ChannelSpec(
            "commits",
            ChannelType.GITHUB,
            token_file=str(folder / "github"),
            repository=github_server.REPOSITORY,
        ),
    )
    world.configuration[0] = replace(
        world.configuration[0], channels={one.name: one for one in channels}
    )
    clock = SystemClock()
    store = open_store(url)
    async with run_slack() as slack, run_github(clock) as github:
        notifier = NotifierByType(
            clock,
            slack_url=slack.url,
            github_url=github.url,
            outgoing=Outgoing(timeout=timedelta(seconds=1)),
        )
        world.store = ObservedStore(store)
        world.services = replace(
            world.services,
            store=world.store,
            clock=clock,
            notifier=notifier,
            public_url="https://gitopsd.example",
        )
        world.actions = Actions(world.services)
        yield Scene(world, slack, github)
        await notifier.close()
    await store.close()


async def test_a_release_is_told_from_its_push_to_production(scene: Scene) -> None:
    """One message with two lines, a request that was approved, statuses and deployments."""
    world, slack, github = scene.world, scene.slack, scene.github
    async with started(world):
        sha = await world.push("two kinds of tea", deployment(GOOD))
        await world.until(
            lambda: any("gitopsd approve" in one.text for one in slack.parents),
            "the approval is asked for",
            SOON,
        )
        await world.approve()
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)

        def told() -> bool:
            release = [one for one in slack.parents if "*shop*" in one.text]
            approved = [one for one in slack.parents if "*Approved:" in one.text]
            both = bool(release and approved) and release[0].text.count("verified") == 2
            return both and len(slack.below(release[0])) == 2

        await world.until(told, "Slack shows production", SOON)
        await world.until(
            lambda: github.states("gitopsd/production/shop")[-1:] == ["success"],
            "GitHub shows production",
            SOON,
        )
        await world.until(
            lambda: (
                [one["statuses"][-1:] for one in github.deployments]
                and all(
                    [said["state"] for said in one["statuses"]][-1:] == ["success"]
                    for one in github.deployments
                )
                and len(github.deployments) == 2
            ),
            "GitHub shows both deployments",
            SOON,
        )
    assert len(slack.parents) == 2
    assert github.states("gitopsd/staging/shop")[-1] == "success"
    assert {one["environment"] for one in github.deployments} == {"staging", "production"}
    [last] = [one for of, one in github.statuses if one["context"].startswith("gitopsd/prod")][-1:]
    assert last["target_url"] == f"https://gitopsd.example/api/v1/runs/{run.id}"
    assert {of for of, _ in github.statuses} == {sha}


async def test_channels_that_hang_for_the_whole_release_are_not_waited_for(scene: Scene) -> None:
    """Not one request is answered until production runs it; then the newest state comes at once."""
    world, slack, github = scene.world, scene.slack, scene.github
    slack.odd.always("/api/", slack.odd.hang())
    github.odd.always("/repos/", github.odd.hang())
    async with started(world):
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert slack.messages == []
        assert github.statuses == []
        await world.until(slack.odd.reached.is_set, "Slack was asked", SOON)
        slack.odd.forever.clear()
        github.odd.forever.clear()
        await world.until(
            lambda: any(one.text.count("verified") == 2 for one in slack.parents),
            "Slack shows production",
            SOON,
        )
        await world.until(
            lambda: github.states("gitopsd/production/shop") == ["success"],
            "GitHub shows production",
            SOON,
        )
    release = next(one for one in slack.parents if "*shop*" in one.text)
    assert len(release.versions) == 1


async def test_every_way_to_be_ill_ends_in_the_same_messages(scene: Scene) -> None:
    """Limits, failures, silence and lost answers: then everything is there, and once."""
    world, slack, github = scene.world, scene.slack, scene.github
    limited = say(429, {"ok": False, "error": "ratelimited"}, Retry_After="1")
    slack.odd.once("/api/", say(200, {"ok": False, "error": "internal_error"}), limited)
    slack.odd.once("chat.postMessage", drop_after(), say(500, b"<html>"))
    github.odd.once("/repos/", say(429, {}, Retry_After="1"), say(502, b"<html>"))
    github.odd.once("/deployments", drop_after())
    async with started(world):
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.until(
            lambda: (
                any(one.text.count("verified") == 2 for one in slack.parents)
                and any("*Approved:" in one.text for one in slack.parents)
                and len(slack.messages) >= 4
            ),
            "Slack shows production",
            timedelta(minutes=1),
        )
        await world.until(
            lambda: (
                len(github.deployments) == 2
                and all(one["statuses"][-1:] for one in github.deployments)
                and {one["statuses"][-1]["state"] for one in github.deployments} == {"success"}
            ),
            "GitHub shows both deployments",
            timedelta(minutes=1),
        )
    assert len(slack.parents) == 2
    release = next(one for one in slack.parents if "*shop*" in one.text)
    assert len(slack.below(release)) == 2


async def test_after_a_crash_between_posting_and_remembering_nothing_is_posted_twice(
    scene: Scene,
) -> None:
    """The next process finds the message, and the deployment, that nobody remembers."""
    world, slack, github = scene.world, scene.slack, scene.github
    slack.odd.once("chat.postMessage", drop_after())
    github.odd.once("/deployments", drop_after())
    async with started(world):
        await world.push("good", deployment(GOOD))
        await world.until(
            lambda: slack.messages and github.deployments, "both have posted once", SOON
        )
        slack.odd.always("/api/", slack.odd.hang())
        github.odd.always("/repos/", github.odd.hang())
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    slack.odd.forever.clear()
    github.odd.forever.clear()
    world.services = replace(world.services, pauses={}, replica="replica-2")
    world.actions = Actions(world.services)
    async with started(world):
        await world.approve()
        await world.until(
            lambda: any(one.text.count("verified") == 2 for one in slack.parents),
            "Slack shows production",
            SOON,
        )
        await world.until(
            lambda: github.states("gitopsd/production/shop")[-1:] == ["success"],
            "GitHub shows production",
            SOON,
        )
    assert len([one for one in slack.parents if "*shop*" in one.text]) == 1
    staging = [one for one in github.deployments if one["environment"] == "staging"]
    assert len(staging) == 1


async def test_a_rollback_reaches_both(scene: Scene) -> None:
    """Why it failed, what is back, a call in the thread, and the older commit deployed again."""
    world, slack, github = scene.world, scene.slack, scene.github
    world.cluster.workloads[BAD] = Workload(
        None, "CrashLoopBackOff", "back-off restarting", restarts=3, log=("fatal: no database",)
    )
    async with started(world):
        good = await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        bad = await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.until(
            lambda: any("back on" in one.text for one in slack.parents),
            "Slack shows what is back",
            SOON,
        )
        await world.until(
            lambda: (
                [(one["task"], one["ref"]) for one in github.deployments][-1:]
                == [("rollback", good)]
            ),
            "GitHub shows the rollback",
            SOON,
        )
        await world.until(
            lambda: any(":rotating_light:" in one.text for one in slack.messages),
            "people are called",
            SOON,
        )
    release = next(one for one in slack.parents if "back on" in one.text)
    assert "CrashLoopBackOff" in release.text or "back-off" in release.text
    call = next(one for one in slack.below(release) if ":rotating_light:" in one.text)
    assert call.arguments["reply_broadcast"] is True
    said = [one["state"] for of, one in github.statuses if of == bad]
    assert said[-1] == "failure"
