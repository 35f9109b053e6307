"""kill -9 of ``gitopsd serve`` between what a channel did and what gitopsd knows of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.testing.clock import LoopClock
from tests.support import github_server, slack_server
from tests.support.configuration import write_files
from tests.support.github_server import GitHubServer, run_github
from tests.support.odd_answers import DROP_AFTER, Odd
from tests.support.service_process import Site
from tests.support.slack_server import CONVERSATION, SlackServer, run_slack

if TYPE_CHECKING:
    from aiohttp import web

pytestmark = pytest.mark.timeout(180)

BROKEN = {"overlays/staging/kustomization.yaml": "resources: [missing.yaml]\n"}
STATUS = "gitopsd/staging/shop"
SLACK = """\
apiVersion: gitopsd.io/v1
kind: Channel
metadata: {{name: deploys}}
spec: {{type: slack, tokenFile: {file}, conversation: {conversation}, subscriptions: [{{}}]}}
"""
GITHUB = """\
apiVersion: gitopsd.io/v1
kind: Channel
metadata: {{name: commits}}
spec: {{type: github, tokenFile: {file}, repository: {repository}, subscriptions: [{{}}]}}
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """An installation with a Slack and a GitHub channel, taken down at the end."""
    site = Site.make(tmp_path)
    tokens = {"slack": slack_server.TOKEN, "github": github_server.TOKEN}
    for name, token in tokens.items():
        (tmp_path / name).write_text(token)
    write_files(
        tmp_path / "config" / "channels",
        {
            "deploys.yaml": SLACK.format(file=tmp_path / "slack", conversation=CONVERSATION),
            "commits.yaml": GITHUB.format(
                file=tmp_path / "github", repository=github_server.REPOSITORY
            ),
        },
    )
    yield site
    site.stop_all()


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    """A workspace."""
    async with run_slack() as running:
        yield running


@pytest.fixture
async def github() -> AsyncIterator[GitHubServer]:
    """A host with a repository."""
    async with run_github(SystemClock()) as running:
        yield running


class Killer:
    """Kills the service at certain requests.

    Attributes:
        struck: The requests that were done and never answered. Two that come at once from one
            process are lost with it, both.
    """

    def __init__(self, site: Site) -> None:
        self.struck: list[str] = []
        self.ready = asyncio.Event()
        self._site = site

    def strike(self, odd: Odd, word: str, times: int = 1) -> None:
        """Do what the next requests ask, for somebody who is dead before it is done."""

        async def behave(request: web.Request) -> None:
            await self.ready.wait()
            request[DROP_AFTER] = True
            self.struck.append(word)
            self._site.running["data"].popen.kill()

        odd.once(word, *(behave for _ in range(times)))


def _is_dead(site: Site) -> bool:
    return site.running["data"].popen.poll() is not None


async def _until(condition: Callable[[], object], what: str) -> None:
    clock = LoopClock()
    async with asyncio.timeout(60):
        while not condition():
            await clock.sleep(timedelta(milliseconds=50))
    assert condition(), what


async def test_what_was_posted_and_not_remembered_is_found_again(
    site: Site, slack: SlackServer, github: GitHubServer
) -> None:
    """Killed in the middle of two postings and a status: each message is there once."""
    killer = Killer(site)
    killer.strike(slack.odd, "chat.postMessage", times=2)
    killer.strike(github.odd, "/statuses/")
    site.repository.commit(BROKEN)
    where = {
        "GITOPSD_SLACK__BASE_URL": slack.url,
        "GITOPSD_GITHUB__BASE_URL": github.url,
        "GITOPSD_POLL_INTERVAL": "2s",
    }

    def told() -> bool:
        release = [one for one in slack.parents if "*shop*" in one.text]
        return (
            any(slack.below(one) for one in release)
            and github.states(STATUS)[-1:] == ["failure"]
            and "missing.yaml" in release[0].text
        )

    while not told():
        await asyncio.to_thread(lambda: site.start("serve", **where))
        killer.ready.set()
        await _until(lambda: told() or _is_dead(site), "it is told, or killed")
        killer.ready.clear()
        if _is_dead(site):
            site.kill()

    assert sorted(killer.struck) == ["/statuses/", "chat.postMessage", "chat.postMessage"]
    assert not slack.odd.waiting["chat.postMessage"]
    assert not github.odd.waiting["/statuses/"]
    named = [one.arguments["metadata"]["event_payload"]["id"] for one in slack.messages]
    assert len(named) == len(set(named))
    assert len([one for one in slack.parents if "*shop*" in one.text]) == 1
    states = github.states(STATUS)
    assert states == sorted(set(states), key=states.index), "no state is said twice"
