"""Git is made to agree with a rollback: one commit, once, and never against somebody's newer wish.

Real: the engine. In memory: everything outside, in virtual time; a commit there holds one file for
each overlay.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from gitopsd.domain.agreements import AgreementState
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.runs import Phase, RunKind
from gitopsd.domain.sources import CommitSha
from gitopsd.engine.actions import ActionDone, ActionRefused
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.agreeing import say_by_hand
from tests.support.crash_world import Schedule, living, remains_of
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    STAGING,
    World,
    config_map,
    deployment,
    make_world,
    running_world,
)
from tests.support.git_agreeing import (
    CRASHING,
    FIX,
    GOOD,
    agreeing,
    agreement_of,
    good_then_bad,
    pushed,
    settled,
    told,
)

pytestmark = pytest.mark.looptime


def overlays(world: World, sha: CommitSha) -> Sequence[JsonObject]:
    """Read what staging's overlay of a commit holds."""
    found = world.repositories.overlay(REPO, sha, "overlays/staging")
    assert isinstance(found, tuple)
    return found


async def test_a_rollback_ends_in_one_commit_and_everything_is_unchanged() -> None:
    """The branch holds again what was restored; the release of that commit changes nothing."""
    async with running_world(agreeing()) as world:
        bad = await good_then_bad(world)
        agreement = await settled(world)
        assert (agreement.state, agreement.commit) == (AgreementState.COMMITTED, pushed(world)[0])
        sha = pushed(world)[0]
        assert world.repositories.history(REPO, MAIN) == (sha, bad, world.commits[0])
        assert overlays(world, sha) == overlays(world, world.commits[0])
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert not run.mutated
        release = (await world.releases())[-1]
        assert (run.release, release.commit.sha) == (release.id, sha)
        message = world.repositories.message(REPO, sha)
        assert message.startswith(f"Undo {bad[:12]} in shop\n\nshop/staging is back on ")
        assert "CrashLoopBackOff" in message
        assert "\nGitopsd-Run: " in message
        assert await told(world, "on-git-agrees") == [
            f"shop/staging was rolled back, and Git agrees: commit {sha[:12]} on main says so"
        ]
        assert not [one for one in await told(world, "on-release-created") if sha[:12] in one]
        assert len(pushed(world)) == 1
        assert (await world.stage(STAGING)).stall is None


async def test_without_a_policy_git_is_left_alone() -> None:
    """`none` is the default: nothing is stored, nothing is pushed."""
    async with running_world() as world:
        await good_then_bad(world)
        run = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert await agreement_of(world, run) is None
        assert pushed(world) == []


async def test_a_rollback_by_hand_is_committed_too() -> None:
    """A person goes back from what ran well; the hold stays, and nothing fights it."""
    async with running_world(agreeing()) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        newer = await world.push("newer", deployment(FIX), config_map("settings", mode="b"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert isinstance(await world.actions.rollback(APPROVER, PRODUCTION, None), ActionDone)
        agreement = await settled(world, PRODUCTION)
        assert agreement.state is AgreementState.COMMITTED
        sha = pushed(world)[0]
        assert world.repositories.message(REPO, sha).startswith(f"Undo {newer[:12]} in shop")
        assert "rolled back by alex" in world.repositories.message(REPO, sha)
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        assert (run.mutated, len(pushed(world))) == (False, 1)
        assert (await world.stage(PRODUCTION)).hold is not None


async def test_a_branch_that_moved_elsewhere_gets_the_commit_on_top() -> None:
    """Other people's files stay as they are, also those pushed in the very moment of the push."""
    async with running_world(agreeing()) as world:

        def somebody_pushes() -> None:
            head = world.repositories.history(REPO, MAIN)[0]
            other = {"other/overlay": (config_map("other", mode="z"),)}
            sha = world.repositories.commit(REPO, "other", parent=head, overlays=other)
            world.repositories.push(REPO, MAIN, sha)

        world.repositories.before_next_push(REPO, somebody_pushes)
        world.repositories.before_next_push(REPO, somebody_pushes)
        bad = await good_then_bad(world)
        agreement = await settled(world)
        history = world.repositories.history(REPO, MAIN)
        assert (agreement.commit, len(history)) == (history[0], 5)
        assert history[3:] == (bad, world.commits[0])
        assert pushed(world) == [history[0]]
        assert overlays(world, history[0]) == overlays(world, world.commits[0])
        assert world.repositories.overlay(REPO, history[0], "other/overlay") is not None


async def test_a_newer_wish_is_not_undone() -> None:
    """Somebody fixed the same file meanwhile: nothing is committed, and people are told."""
    async with running_world(agreeing()) as world:
        world.repositories.before_next_push(REPO, lambda: fix(world))

        def fix(world: World) -> None:
            objects = (deployment(FIX), config_map("settings", mode="b"))
            paths = {"overlays/staging": objects, "overlays/production": objects}
            head = world.repositories.history(REPO, MAIN)[0]
            sha = world.repositories.commit(REPO, "fix", parent=head, overlays=paths)
            world.repositories.push(REPO, MAIN, sha)

        bad = await good_then_bad(world)
        agreement = await settled(world)
        assert (agreement.state, pushed(world)) == (AgreementState.LEFT_TO_PERSON, [])
        assert await told(world, "on-git-disagrees") == [
            (
                "shop/staging was rolled back and main does not say so: overlays/production/"
                "objects.yaml, overlays/staging/objects.yaml changed on main since "
                f"{bad[:12]}, so nothing is undone there: what is pushed since is judged by "
                "itself; revert by hand what should not stay"
            )
        ]
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert FIX in str(world.cluster.live()["Deployment shop-staging/api"])


@pytest.mark.parametrize("policy", [RollbackGit.REVERT_COMMIT, RollbackGit.PIN])
async def test_a_refused_push_is_tried_anew_and_then_left_to_a_person(policy: RollbackGit) -> None:
    """Three refusals, each on what the branch holds then; the Rollback has succeeded anyway."""
    async with running_world(agreeing(policy)) as world:
        world.repositories.refuse_pushes(REPO, *["protected branch hook declined"] * 3)
        await good_then_bad(world)
        agreement = await settled(world)
        assert (agreement.state, agreement.refusals) == (AgreementState.LEFT_TO_PERSON, 3)
        said = "the push to main is refused: protected branch hook declined"
        said += f"; {say_by_hand(agreement)}"
        assert agreement.message == said
        assert await told(world, "on-git-disagrees") == [
            f"shop/staging was rolled back and main does not say so: {said}"
        ]
        assert pushed(world) == []
        run = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        assert (await world.stage(STAGING)).applied is not None
        assert run.failure is None
        assert isinstance(await world.actions.retry(APPROVER, run.id), ActionDone)
        assert (await settled(world)).state is AgreementState.COMMITTED
        assert len(pushed(world)) == 1
        assert isinstance(await world.actions.retry(APPROVER, run.id), ActionRefused)


@pytest.mark.parametrize("policy", [RollbackGit.REVERT_COMMIT, RollbackGit.PIN])
async def test_git_that_is_down_is_waited_for(policy: RollbackGit) -> None:
    """A rollback needs no Git; the commit is made when it answers again."""
    async with running_world(agreeing(policy)) as world:
        down = TemporaryError("git.example does not answer", reason="Unavailable")
        fail = world.repositories.refuse
        world.repositories.before_next_push(REPO, lambda: fail(REPO, MAIN, down))
        world.repositories.refuse_pushes(REPO, down)
        await good_then_bad(world)
        run = await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.clock.sleep(timedelta(hours=2))
        waiting = await agreement_of(world, run)
        assert waiting is not None
        assert (waiting.state, waiting.message) == (AgreementState.WAITING, down.message)
        assert await told(world, "on-git-disagrees") == []
        world.repositories.refuse(REPO, MAIN, None)
        assert (await settled(world)).state is AgreementState.COMMITTED
        assert len(pushed(world)) == 1


async def test_a_credential_that_may_not_write_is_told_at_once() -> None:
    """People hear of it once; when they have mended it, the commit is made."""
    async with running_world(agreeing()) as world:
        refused = TemporaryError("git.example takes no push", reason="Credential")
        world.repositories.refuse_pushes(REPO, *[refused] * 5)
        await good_then_bad(world)
        assert (await settled(world)).state is AgreementState.COMMITTED
        assert await told(world, "on-git-disagrees") == [
            "shop/staging was rolled back and main does not say so: git.example takes no push"
        ]


async def test_two_stages_that_fail_alike_make_one_commit() -> None:
    """The second finds that the branch says so already."""
    async with running_world(agreeing()) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("newer", deployment(FIX), config_map("settings", mode="b"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        for key in (PRODUCTION, STAGING):
            assert isinstance(await world.actions.rollback(APPROVER, key, None), ActionDone)
        states = {(await settled(world, key)).state for key in (PRODUCTION, STAGING)}
        assert states == {AgreementState.COMMITTED, AgreementState.UNNEEDED}
        assert len(pushed(world)) == 1


async def test_a_commit_of_our_own_is_never_undone_by_another() -> None:
    """What was restored fails in the other stage: gitopsd does not argue with itself."""
    async with running_world(agreeing()) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("newer", deployment(FIX), config_map("settings", mode="b"))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        crashing = {GOOD: CRASHING}
        world.repositories.before_next_push(REPO, lambda: world.cluster.workloads.update(crashing))
        assert isinstance(await world.actions.rollback(APPROVER, PRODUCTION, None), ActionDone)
        assert (await settled(world, PRODUCTION)).state is AgreementState.COMMITTED
        agreement = await settled(world, STAGING)
        assert agreement.state is AgreementState.LEFT_TO_PERSON
        assert "is gitopsd's own commit" in agreement.message
        assert len(pushed(world)) == 1


@pytest.mark.parametrize(
    "policy,sole",
    [
        (RollbackGit.REVERT_COMMIT, True),
        (RollbackGit.REVERT_COMMIT, False),
        (RollbackGit.PIN, False),
    ],
    ids=["lock", "leases", "pin"],
)
async def test_dying_around_the_push_makes_no_second_commit(
    policy: RollbackGit, sole: bool
) -> None:
    """Killed after each effect from the Rollback on: one commit, and all ends as without."""

    async def play(schedule: Schedule) -> tuple[object, list[list[str]], int]:
        world = make_world(agreeing(policy))
        async with living(world, schedule) as process:
            await good_then_bad(world)
            await settled(world)
            if policy is RollbackGit.REVERT_COMMIT:
                await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
            else:
                await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
            await world.until(process.is_idle, "the outbox is empty")
            lives = [life.effects for life in process.lives]
            return await remains_of(world), lives, len(pushed(world))

    clean, lives, count = await play(Schedule(sole=sole))
    assert count == 1
    effects = lives[0]
    assert "repositories.push_commit" in effects
    push = effects.index("repositories.push_commit") + 1
    for end in range(push - 8, push + 9):
        left, seen, count = await play(Schedule((end,), sole=sole))
        assert count == 1, seen[0][-1]
        assert left == clean, seen[0][-1]
