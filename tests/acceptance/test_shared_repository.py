"""Several applications in one repository, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, Release, StageKey
from gitopsd.domain.reports import StageReport
from gitopsd.domain.runs import Phase, Run, RunKind
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.domain.work import Page
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.tag_choice import TagSelector, format_selector
from gitopsd.ports import Rejection
from gitopsd.testing.source_repository import Overlay
from tests.support.engine_world import (
    MAIN,
    REPO,
    World,
    config_map,
    make_world,
    shop_spec,
    started,
)

pytestmark = pytest.mark.looptime

NEXT = RefName("refs/heads/next")
MINUTE = timedelta(minutes=1)
API, WEB, DOCS, CLI = (ApplicationName(name) for name in ("api", "web", "docs", "cli"))
BROKEN = Rejection("NoKustomization", "web:1: the commit has no kustomization here")


def application(name: ApplicationName, ref: RefName) -> ApplicationSpec:
    """One application of the repository: a folder of its own, and one stage."""
    spec = shop_spec()
    [staging, _] = spec.stages
    staging = replace(staging, path=name, namespace=name, verify=())
    return replace(
        spec, name=name, source=replace(spec.source, ref=ref), stages=(staging,), digest=name
    )


def settings(name: str, text: str) -> tuple[JsonObject, ...]:
    """What the folder of an application renders to."""
    return (config_map(name, text=text),)


class Shared:
    """The repository, and what became of each application in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.heads: dict[RefName, CommitSha] = {}

    async def push(self, ref: RefName, subject: str, **overlays: Overlay) -> CommitSha:
        """Push a commit that changes some folders, and ring the webhook once."""
        world, before = self.world, self.heads.get(ref)
        sha = world.repositories.commit(REPO, subject, parent=before, overlays=overlays)
        world.repositories.push(REPO, ref, sha)
        self.heads[ref] = sha
        assert await world.ring(before, sha, ref=ref) == 202
        return sha

    async def runs(self, name: ApplicationName) -> list[Run]:
        """Runs of an application, oldest first."""
        return await self.world.runs(_key(name))

    async def live(self, name: ApplicationName, count: int) -> Release:
        """Wait until an application went live so often; returns what runs."""
        run = await self.world.until_run(_key(name), RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)
        release = await self.world.store.read(lambda tx: tx.releases.get(run.release))
        assert release is not None
        return release

    async def states(self, sha: CommitSha) -> dict[str, CommitState]:
        """Where a commit stands, by application."""
        found = await fetch_commit_statuses(self.world.services, sha)
        return {one.key.application: one.state for one in found}


def _key(name: ApplicationName) -> StageKey:
    return StageKey(name, shop_spec().stages[0].name)


@asynccontextmanager
async def shared() -> AsyncIterator[Shared]:
    """Four applications: two follow a branch, one another branch, one tags of its own."""
    tags = format_selector(TagSelector("cli/v*"))
    follows = {API: MAIN, WEB: MAIN, DOCS: NEXT, CLI: tags}
    world = make_world(*(application(name, ref) for name, ref in follows.items()))
    github = ChannelSpec("commits", ChannelType.GITHUB)
    world.configuration[0] = replace(world.configuration[0], channels={"commits": github})
    async with started(world):
        yield Shared(world)


async def test_a_push_concerns_those_whose_files_it_touches() -> None:
    """One look for all who follow the ref; each goes its own way, and fails alone."""
    async with shared() as repository:
        world = repository.world
        first = await repository.push(
            MAIN, "all", api=settings("api", "1"), web=settings("web", "1")
        )
        assert (await repository.live(API, 1)).commit.sha == first
        assert (await repository.live(WEB, 1)).commit.sha == first
        looked = len(world.repositories.fetched)
        assert world.repositories.fetched.count((REPO, MAIN)) >= 1
        assert await repository.runs(DOCS) == []

        # A folder of one: the other takes no notice, and says so when it is asked.
        second = await repository.push(MAIN, "api", api=settings("api", "2"))
        assert (await repository.live(API, 2)).commit.sha == second
        assert world.repositories.fetched[looked:].count((REPO, MAIN)) == 1
        assert len(await repository.runs(WEB)) == 1
        states = await repository.states(second)
        assert states == {
            API: CommitState.LIVE,
            WEB: CommitState.LIVE,  # it changes nothing there: what it stands on is live
            DOCS: CommitState.NOT_SEEN,
            CLI: CommitState.NOT_SEEN,
        }

        # One is broken in the commit that changes both: the other arrives.
        third = await repository.push(MAIN, "both", api=settings("api", "3"), web=BROKEN)
        assert (await repository.live(API, 3)).commit.sha == third
        failed = await world.until_run(_key(WEB), RunKind.ROLLOUT, Phase.FAILED)
        assert failed.failure is not None
        assert BROKEN.message in failed.failure.message
        states = await repository.states(third)
        assert (states[API], states[WEB]) == (CommitState.LIVE, CommitState.FAILED)
        assert world.cluster.live()["ConfigMap web/web"]["data"] == {"text": "1"}

        # Other refs are for those who follow them.
        docs = await repository.push(NEXT, "docs", docs=settings("docs", "1"))
        assert (await repository.live(DOCS, 1)).commit.sha == docs
        cli = world.repositories.commit(REPO, "cli", overlays={"cli": settings("cli", "1")})
        for name in ("api/v9.0.0", "cli/v1.0.0"):
            tag = world.repositories.annotate(REPO, name, cli)
            await world.ring(None, tag, ref=RefName(f"refs/tags/{name}"))
        assert (await repository.live(CLI, 1)).commit.sha == cli
        await world.clock.sleep(MINUTE)
        counts = {name: len(await repository.runs(name)) for name in (API, WEB, DOCS, CLI)}
        assert counts == {API: 3, WEB: 2, DOCS: 1, CLI: 1}

        # Each commit has a status for each application and stage that it concerns.
        reports = [one for one in world.notifier.history if isinstance(one, StageReport)]
        told = {(one.sha, one.application): one.state.value for one in reports}
        assert not any(one.alone for one in reports)
        assert told[third, API] == "success"
        assert told[third, WEB] == "failure"
        assert (third, DOCS) not in told
        assert told[docs, DOCS] == told[cli, CLI] == "success"

        released = await world.store.read(lambda tx: tx.releases.page(WEB, Page(10)))
        assert [release.commit.sha for release in released] == [third, first]
