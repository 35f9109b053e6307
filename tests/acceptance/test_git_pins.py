"""A rollback pins its stage in Git: one file, which whoever brings the fix deletes.

Real: the engine. In memory: everything outside, in virtual time.
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from gitopsd.domain.agreements import AgreementState
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.sources import CommitSha
from gitopsd.engine.actions import ActionDone, ActionResult
from gitopsd.engine.queries import load_gates
from gitopsd.store_ports import Transaction
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
)
from tests.support.git_agreeing import (
    BAD,
    CRASHING,
    FIX,
    GOOD,
    agreeing,
    good_then_bad,
    pushed,
    settled,
    told,
)

pytestmark = pytest.mark.looptime

FILE = "overlays/staging/gitopsd-pin.yaml"
WORSE = "registry.example/api:4"
BOTH = ("overlays/staging", "overlays/production")


def done(answer: ActionResult) -> None:
    """What a person asked for was done."""
    assert isinstance(answer, ActionDone), answer


async def push(
    world: World, subject: str, *objects: JsonObject, **files: bytes | None
) -> CommitSha:
    """Push on top of whatever the branch holds; ``staging`` and ``production`` name pin files."""
    head = world.repositories.history(REPO, MAIN)[0]
    overlays = dict.fromkeys(BOTH, objects) if objects else {}
    pins = {f"overlays/{stage}/gitopsd-pin.yaml": content for stage, content in files.items()}
    sha = world.repositories.commit(REPO, subject, parent=head, overlays={**overlays, **pins})
    world.repositories.push(REPO, MAIN, sha)
    await world.ring(head, sha)
    return sha


async def waits(world: World, key: StageKey, sha: CommitSha) -> tuple[Run, GateAnswer]:
    """Wait until a commit's run stands at its Gate; returns it, and what the pin's gate says."""
    found: list[tuple[Run, GateAnswer]] = []

    def read(tx: Transaction) -> list[tuple[Run, GateAnswer]]:
        stage = tx.stages.get(key)
        run = tx.runs.get(stage.next) if stage is not None and stage.next is not None else None
        release = tx.releases.get(run.release) if run is not None else None
        if run is None or release is None or (run.step, release.commit.sha) != (Step.GATE, sha):
            return []
        states = {state.name: state.answer for state in load_gates(tx, run)}
        return [(run, states["pin"])] if "pin" in states else []

    async def there() -> bool:
        found[:] = await world.store.read(read)
        return bool(found)

    await world.until(there, f"{sha[:12]} stands at its Gate in {key}")
    return found[0]


async def live(world: World, key: StageKey, sha: CommitSha) -> None:
    """Wait until a stage runs a commit verified."""

    async def there() -> bool:
        runs = [run for run in await world.runs(key) if run.phase is Phase.SUCCEEDED]
        releases = {one.id: one.commit.sha for one in await world.releases()}
        return any(releases[run.release] == sha for run in runs if run.kind is RunKind.ROLLOUT)

    await world.until(there, f"{key} runs {sha[:12]}")


async def test_a_pin_keeps_everything_out_until_a_commit_without_it() -> None:
    """One file is committed; two pushes wait, the newer one alone; the fix without it is live."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        bad = await good_then_bad(world)
        agreement = await settled(world)
        (pin,) = pushed(world)
        assert (agreement.state, agreement.commit) == (AgreementState.COMMITTED, pin)
        assert world.repositories.history(REPO, MAIN) == (pin, bad, world.commits[0])
        for path in BOTH:
            overlay = world.repositories.overlay
            assert overlay(REPO, pin, path) == overlay(REPO, bad, path)
        content = (world.repositories.file(REPO, pin, FILE) or b"").decode()
        assert content.startswith("# gitopsd took shop/staging back to what ran there before")
        assert f'  commit: "{world.commits[0]}"\n' in content
        assert f'  commit: "{bad}"\n' in content
        assert "CrashLoopBackOff" in content
        assert world.repositories.message(REPO, pin).startswith(
            f"Pin shop/staging to {world.commits[0][:12]}\n"
        )
        assert await told(world, "on-git-agrees") == [
            f"shop/staging was rolled back, and Git agrees: commit {pin[:12]} on main says so"
        ]

        # What the pin's own commit renders is quarantined; it is not announced.
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.ABORTED)
        assert not [one for one in await told(world, "on-release-created") if pin[:12] in one]

        first = await push(world, "other", deployment(FIX), config_map("settings", mode="b"))
        _, answer = await waits(world, STAGING, first)
        assert isinstance(answer, Closed)
        assert answer.reason.startswith(f"{FILE} keeps shop/staging on r-")
        assert f"({world.commits[0][:12]}) since 20" in answer.reason
        assert answer.opener == f"push a commit without {FILE}"
        second = await push(world, "another", deployment(FIX), config_map("settings", mode="c"))
        _, answer = await waits(world, STAGING, second)
        assert isinstance(answer, Closed)

        fix = await push(world, "fix", staging=None)
        await live(world, STAGING, fix)
        await world.approve()
        await live(world, PRODUCTION, fix)
        assert pushed(world) == [pin]


async def test_a_pin_of_production_waits_for_nobodys_vote() -> None:
    """Gone back by hand: the hold is lifted, votes are given, and still the file decides."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await world.approve()
        await live(world, PRODUCTION, world.commits[0])
        newer = await world.push("newer", deployment(FIX), config_map("settings", mode="b"))
        await world.approve()
        await live(world, PRODUCTION, newer)
        done(await world.actions.rollback(APPROVER, PRODUCTION, None))
        await settled(world, PRODUCTION)
        (pin,) = pushed(world)
        await live(world, STAGING, pin)
        done(await world.actions.resume(APPROVER, PRODUCTION))
        run, answer = await waits(world, PRODUCTION, pin)
        assert isinstance(answer, Closed)
        assert answer.reason.startswith("overlays/production/gitopsd-pin.yaml keeps")
        done(await world.actions.approve(APPROVER, run.id, "", ""))

        fix = await push(world, "fix", production=None)
        await live(world, STAGING, fix)
        run, answer = await waits(world, PRODUCTION, fix)
        assert answer == Open()
        done(await world.actions.approve(APPROVER, run.id, "", ""))
        await live(world, PRODUCTION, fix)
        assert pushed(world) == [pin]


async def test_each_rollback_writes_the_pin_anew() -> None:
    """A person lets a release pass the pin; it fails, and the file names that one: one commit."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        await good_then_bad(world)
        await settled(world)
        world.cluster.workloads[WORSE] = CRASHING
        worse = await push(world, "worse", deployment(WORSE), config_map("settings", mode="c"))
        run, _ = await waits(world, STAGING, worse)
        await world.clock.sleep(timedelta(hours=2))  # so that it is no loop
        done(await world.actions.skip(APPROVER, run.id, "pin", plan="", reason="it is urgent"))
        await settled(world, count=2)
        first, second = pushed(world)
        assert world.repositories.history(REPO, MAIN)[:3] == (second, worse, first)
        before, after = (world.repositories.file(REPO, sha, FILE) or b"" for sha in pushed(world))
        assert f'  commit: "{world.commits[0]}"\n' in before.decode()
        assert f'  commit: "{world.commits[0]}"\n' in after.decode()
        assert f'  commit: "{worse}"\n' in after.decode()
        assert f'  commit: "{worse}"\n' not in before.decode()


async def test_a_commit_of_our_own_may_be_pinned_too() -> None:
    """A person lets the pin's own commit pass, and goes back again: the file is written anew."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        for number, image in enumerate((GOOD, FIX)):
            sha = await world.push(image, deployment(image), config_map("settings", mode=image))
            await world.approve()
            await live(world, PRODUCTION, sha)
            assert len(world.commits) == number + 1
        done(await world.actions.rollback(APPROVER, PRODUCTION, None))
        await settled(world, PRODUCTION)
        (pin,) = pushed(world)
        await live(world, STAGING, pin)
        done(await world.actions.resume(APPROVER, PRODUCTION))
        run, _ = await waits(world, PRODUCTION, pin)
        done(await world.actions.skip(APPROVER, run.id, "pin", plan="", reason="let it"))
        done(await world.actions.approve(APPROVER, run.id, "", ""))
        await live(world, PRODUCTION, pin)
        done(await world.actions.rollback(APPROVER, PRODUCTION, None))
        assert (await settled(world, PRODUCTION, count=2)).state is AgreementState.COMMITTED
        assert len(pushed(world)) == 2


async def test_what_is_on_its_way_is_not_pinned_back() -> None:
    """A fix came while the Rollback ran: it is let in, and then nothing is pinned."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        await good_then_bad(world)

        async def begun() -> bool:
            return any(run.kind is RunKind.ROLLBACK for run in await world.runs(STAGING))

        await world.until(begun, "the Rollback began")
        fix = await push(world, "fix", deployment(FIX), config_map("settings", mode="c"))
        agreement = await settled(world)
        assert (agreement.state, pushed(world)) == (AgreementState.UNNEEDED, [])
        assert agreement.message == "shop/staging runs something else by now"
        await live(world, STAGING, fix)


@pytest.mark.parametrize(
    "content,problem",
    [
        (b"keep: it\n", f"{FILE}: it is for None/None, not for shop/staging"),
        (b"application: shop\nstage: production\n", f"{FILE}: it is for shop/production, not for"),
        (b"a: [", f"{FILE}:1: it is not YAML"),
        (b"a: " + b"x" * 20_000, f"{FILE}:1: it is longer than"),
    ],
    ids=["something else", "another stage", "no YAML", "too large"],
)
async def test_a_pin_that_cannot_be_used_keeps_everything_out(content: bytes, problem: str) -> None:
    """The gate says why; without the file the same content goes live."""
    async with running_world(agreeing(RollbackGit.PIN)) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await live(world, STAGING, world.commits[0])
        objects = (deployment(BAD), config_map("settings", mode="b"))
        broken = await push(world, "broken", *objects, staging=content)
        _, answer = await waits(world, STAGING, broken)
        assert isinstance(answer, Closed)
        assert answer.reason.startswith(problem)
        await live(world, STAGING, await push(world, "without", staging=None))


async def test_a_stage_with_another_policy_reads_no_pin() -> None:
    """The file stops nothing there, and a commit that only brings one is nothing new."""
    async with running_world(agreeing(RollbackGit.NONE)) as world:
        await world.push("good", deployment(GOOD), config_map("settings", mode="a"))
        await live(world, STAGING, world.commits[0])
        await push(world, "pin alone", staging=b"keep: it\n")
        newer = await push(world, "newer", deployment(FIX), config_map("settings", mode="b"))
        await live(world, STAGING, newer)
        assert len(await world.releases()) == 2
