"""Git tags as where releases come from, in virtual time.

Real: intake, looks, admission, machine, steps, worker, sweep. In memory: everything outside.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import ApplicationSpec, RewindPolicy
from gitopsd.domain.gates import Closed
from gitopsd.domain.releases import Release
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.engine.queries import fetch_commit_statuses, load_gates
from gitopsd.errors import PermanentError
from gitopsd.pipeline.commit_status import CommitState
from gitopsd.pipeline.tag_choice import TagSelector, format_selector
from tests.support.engine_world import (
    MAIN,
    REPO,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

MINUTE = timedelta(minutes=1)
ONES = TagSelector("v*", ">=1 <2")


def tagged(
    selector: TagSelector = ONES, rewind: RewindPolicy = RewindPolicy.HOLD
) -> ApplicationSpec:
    """The shop, which follows tags, with staging alone."""
    spec = shop_spec()
    source = replace(spec.source, ref=format_selector(selector), rewind=rewind)
    return replace(spec, source=source, stages=spec.stages[:1])


class Tags:
    """A repository's history, and tags in it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.head: CommitSha | None = None

    def commit(self, text: str, *, parent: CommitSha | None = None) -> CommitSha:
        """Make a commit that changes what is rendered; no branch has it."""
        overlays = {"overlays/staging": (deployment("host/api:1"), config_map("it", text=text))}
        before = parent or self.head
        self.head = self.world.repositories.commit(REPO, text, parent=before, overlays=overlays)
        return self.head

    async def push(self, name: str, sha: CommitSha, *, hint: bool = True) -> CommitSha:
        """Push an annotated tag; the webhook names the tag's own object, as hosts do."""
        made = self.world.repositories.annotate(REPO, name, sha)
        if hint:
            await self.ring(name, made)
        return made

    async def delete(self, name: str) -> None:
        """Delete a tag."""
        self.world.repositories.delete(REPO, RefName(f"refs/tags/{name}"))
        await self.ring(name, None)

    async def ring(self, name: str, after: CommitSha | None) -> None:
        """Send the webhook of a pushed tag."""
        assert await self.world.ring(None, after, ref=RefName(f"refs/tags/{name}")) == 202


async def _live(world: World, count: int) -> Release:
    run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=count)
    release = await world.store.read(lambda tx: tx.releases.get(run.release))
    assert release is not None
    return release


async def _problem(world: World, spec: ApplicationSpec) -> str:
    state = await world.store.read(lambda tx: tx.refs.get(REPO, spec.source.ref))
    assert state is not None
    return state.problem


async def test_a_pushed_tag_is_a_release_and_the_highest_version_wins() -> None:
    """By webhook and by poll; lower versions, other names, branches and lies change nothing.

    A release can be asked for by its tag, and each push of a tag costs one look.
    """
    spec = tagged()
    async with running_world(spec) as world:
        tags = Tags(world)
        world.repositories.push(REPO, MAIN, tags.commit("on main"))
        await world.clock.sleep(2 * MINUTE)
        assert await world.releases() == []
        assert await _problem(world, spec) == (
            "the remote has no tag for v* in >=1 <2; what runs keeps running"
        )

        first = tags.commit("one")
        await tags.push("v1.9.0", first)
        assert (await _live(world, 1)).commit.sha == first
        assert await _problem(world, spec) == ""

        # By version, not by name or time; nobody announces it: the poll sees it.
        second = tags.commit("two")
        pushed = world.clock.now()
        await tags.push("v1.10.0", second, hint=False)
        assert (await _live(world, 2)).commit.sha == second
        assert world.clock.now() - pushed < timedelta(seconds=90)
        for wanted in ("v1.10.0", second):
            [status] = await fetch_commit_statuses(world.services, wanted, stage="staging")
            assert (status.state, status.exact) == (CommitState.LIVE, True), wanted
        [status] = await fetch_commit_statuses(world.services, "v1.9.0", stage="staging")
        assert (status.state, status.exact) == (CommitState.LIVE, False)

        # A lower version is no news; other names are not even looked for.
        await tags.push("v1.9.1", tags.commit("a late fix", parent=first))
        for other in ("v2.0.0", "v1.11.0-rc.1", "nightly", "api/v1.12.0"):
            await tags.push(other, tags.commit(other))
        world.repositories.push(REPO, MAIN, tags.commit("more on main"))
        # A forged hint names a commit that no tag has, and is a reason to look, no more.
        await tags.ring("v1.99.0", tags.commit("forged"))
        await world.clock.sleep(5 * MINUTE)
        assert len(await world.releases()) == 2
        assert len(await world.runs(STAGING)) == 2

        # The same commit under a higher name: no release of its own, found by both names.
        await tags.push("v1.10.1", second)
        await world.clock.sleep(MINUTE)
        assert len(await world.releases()) == 2
        [status] = await fetch_commit_statuses(world.services, "v1.10.1", stage="staging")
        assert status.state is CommitState.LIVE

        third = tags.commit("three")
        await tags.push("v1.11.0", third)
        assert (await _live(world, 3)).commit.sha == third
        notes = world.notifier.received["ops"]
        told = [one.message for one in notes if one.trigger == "on-release-created"]
        assert len(told) == 3
        assert all(f" (v1.{n}.0, " in said for n, said in zip((9, 10, 11), told, strict=True))


async def test_a_tag_that_goes_away_takes_nothing_back_by_itself() -> None:
    """What is below a deleted one waits for a person; moved forward is followed, back waits."""
    spec = tagged()
    async with running_world(spec) as world:
        tags = Tags(world)
        first, second = tags.commit("one"), tags.commit("two")
        aside = tags.commit("a hotfix beside it", parent=first)
        await tags.push("v1.0.0", first)
        await _live(world, 1)
        await tags.push("v1.1.0", second)
        await _live(world, 2)

        # v1.0.1 is no ancestor of v1.1.0, and going there is going back all the same.
        await tags.push("v1.0.1", aside)
        await tags.delete("v1.1.0")
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(2 * MINUTE)
        gates = await world.store.read(lambda tx: load_gates(tx, run))
        closed = {one.name: one.answer for one in gates if isinstance(one.answer, Closed)}
        assert list(closed) == ["rewind"]
        assert closed["rewind"].reason == (
            "a tag above it was deleted, or its tag was moved back to an older commit"
        )
        assert (await world.stage(STAGING)).front is None

        # The next version goes on from there; what waited is superseded.
        third = tags.commit("three", parent=second)
        await tags.push("v1.2.0", third)
        assert (await _live(world, 3)).commit.sha == third

        # The same name elsewhere: forward is followed, back to its ancestor waits.
        fourth = tags.commit("four", parent=third)
        await tags.push("v1.2.0", fourth)
        assert (await _live(world, 4)).commit.sha == fourth
        await tags.push("v1.2.0", third)
        waiting = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(2 * MINUTE)
        assert (await world.run(waiting.id)).step is Step.GATE

        # Nothing left: what runs keeps running, and it is said.
        for name in ("v1.0.0", "v1.0.1", "v1.2.0"):
            world.repositories.delete(REPO, RefName(f"refs/tags/{name}"))
        await world.clock.sleep(3 * MINUTE)
        assert "what runs keeps running" in await _problem(world, spec)
        assert len(await world.releases()) == 5


async def test_a_file_may_ask_to_follow_tags_back() -> None:
    """With ``rewind: follow`` the tag below a deleted one is brought, verified as it was."""
    async with running_world(tagged(rewind=RewindPolicy.FOLLOW)) as world:
        tags = Tags(world)
        first, second = tags.commit("one"), tags.commit("two")
        await tags.push("v1.0.0", first)
        await _live(world, 1)
        await tags.push("v1.1.0", second)
        await _live(world, 2)
        await tags.delete("v1.1.0")
        assert (await _live(world, 3)).commit.sha == first


async def test_a_tag_of_no_commit_is_passed_over_and_told() -> None:
    """It keeps nobody from following the others; any other trouble is tried again."""
    spec = tagged()
    async with running_world(spec, start=True) as world:
        tags = Tags(world)
        first = tags.commit("one")
        await tags.push("v1.0.0", first, hint=False)
        await tags.push("v1.5.0", tags.commit("a file"), hint=False)
        fetch = RefName("refs/tags/v1.5.0")
        world.repositories.refuse(REPO, fetch, PermanentError("no commit", reason="NoCommit"))
        assert (await _live(world, 1)).commit.sha == first
        said = "tag v1.5.0 points to no commit and is passed over"
        assert await _problem(world, spec) == said

        world.repositories.refuse(REPO, fetch, PermanentError("bad address", reason="Address"))
        await world.clock.sleep(3 * MINUTE)
        assert await _problem(world, spec) == "bad address"
        world.repositories.refuse(REPO, fetch, None)
        assert (await _live(world, 2)).commit.sha != first
