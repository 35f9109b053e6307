"""Why does it not go on? The engine's own facts, told as ``gitopsd explain`` tells them.

Real: the engine, and all that decides what is said. In memory: everything outside, in virtual time
that begins on a Monday at 09:00. What is said word by word is held by fixtures; here it is asked
whether the facts are those.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gates import Closed, Open
from gitopsd.domain.releases import ReleaseId, StageKey
from gitopsd.domain.runs import CommandId, LastLook, Phase, Run, RunKind, Step
from gitopsd.domain.sources import RefName
from gitopsd.domain.windows import WeeklyWindow, WindowGate
from gitopsd.engine.actions import ActionDone, ActionRefused, Actor
from gitopsd.engine.admission import apply_event
from gitopsd.engine.explaining import load_application_facts, load_run_facts, load_stage_facts
from gitopsd.engine.freezing import freeze, thaw
from gitopsd.engine.queries import fetch_commit_statuses
from gitopsd.errors import TemporaryError
from gitopsd.pipeline.events import DeadlineReached, StepSucceeded
from gitopsd.pipeline.explained_application import explain_application, explain_commit
from gitopsd.pipeline.explained_run import explain_run
from gitopsd.pipeline.explained_stage import explain_stage
from gitopsd.pipeline.explanation import Explanation
from gitopsd.pipeline.explanation_text import write_explanation
from gitopsd.store_ports import Transaction
from gitopsd.testing.workloads import Workload
from tests.support.ailing import CREDENTIAL_REFUSED
from tests.support.engine_world import (
    APPROVER,
    MAIN,
    PRODUCTION,
    REPO,
    SHOP,
    STAGING,
    World,
    config_map,
    deployment,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

ONE, TWO, BAD = (f"registry.example/api:{number}" for number in (1, 2, 3))
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
LATER = WindowGate((WeeklyWindow("Mon-Fri 09:20-16:00", (0, 1, 2, 3, 4), 560, 960),))
STRANGER = Actor("sam", ())


async def of_stage(world: World, key: StageKey, at: datetime | None = None) -> Explanation:
    """What is said of a stage."""

    def work(tx: Transaction) -> Explanation:
        facts = load_stage_facts(tx, key, world.services.configuration(), at)
        assert facts is not None
        return explain_stage(facts)

    return await world.store.read(work)


async def of_run(world: World, run: Run) -> Explanation:
    """What is said of a run."""

    def work(tx: Transaction) -> Explanation:
        found = tx.runs.get(run.id)
        assert found is not None
        return explain_run(load_run_facts(tx, found, world.services.configuration()))

    return await world.store.read(work)


async def of_application(world: World) -> Explanation:
    """What is said of the shop."""
    config = world.services.configuration()
    return await world.store.read(
        lambda tx: explain_application(load_application_facts(tx, SHOP, config))
    )


async def of_commit(world: World, sha: str, stage: str) -> Explanation:
    """What is said of a commit in a stage."""
    [status] = await fetch_commit_statuses(world.services, sha, stage=stage)
    told = await of_run(world, status.run) if status.run is not None else None
    return explain_commit(status, told, sha, world.clock.now())


def text_of(told: Explanation) -> str:
    """It, as people read it."""
    return "\n".join(write_explanation(told))


def waits_of(told: Explanation) -> list[str]:
    """The names of what is waited for."""
    return [wait.what.partition(":")[0] for wait in told.waiting_for]


def later(spec: StageSpec) -> StageSpec:
    """Let production in from 09:20 on, after an approval."""
    return replace(spec, gates=(*spec.gates, LATER))


async def at_gate(world: World, key: StageKey = PRODUCTION) -> Run:
    """A stage's run, when it has stood at its Gate for a moment."""
    run = await world.until_run(key, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.clock.sleep(5 * SECOND)
    return await world.run(run.id)


async def test_a_release_held_by_people_a_window_and_a_freeze() -> None:
    """Each with what ends it; what will be said at another time; and who was refused meanwhile."""
    async with running_world(shop_spec(later)) as world:
        sha = await world.push("one", deployment(ONE))
        run = await at_gate(world)
        held = await of_stage(world, PRODUCTION)
        assert (held.state, waits_of(held), held.run) == ("Held", ["approval", "window"], run.id)
        approval, window = held.waiting_for
        assert approval.who.startswith(f"gitopsd approve {run.id} (by group:release-managers)")
        opens = datetime(*world.clock.now().timetuple()[:3], 9, 20, tzinfo=UTC)
        assert window.until == opens
        assert "approval and window have opened" in held.next

        refused = await world.actions.approve(STRANGER, run.id, "", "")
        assert isinstance(refused, ActionRefused)
        [ignored] = (await of_run(world, run)).ignored
        assert ignored.event == "approve by sam"
        assert ignored.reason == refused.message

        await world.approve()
        await world.clock.sleep(2 * MINUTE)
        waiting = await of_stage(world, PRODUCTION)
        assert waits_of(waiting) == ["window"]
        assert f"Prepare follows by itself at {opens:%Y-%m-%d %H:%M} UTC" in waiting.next
        assert waiting.next.endswith("until then its deadline stands still")

        pressed = await freeze(
            world.services, APPROVER, "stage:shop/production", "a fair", opens + HOUR
        )
        assert isinstance(pressed, ActionDone)
        frozen = await of_stage(world, PRODUCTION, opens + MINUTE)
        assert (frozen.state, waits_of(frozen)) == ("Frozen", ["window", "freeze"])
        assert "alex froze stage:shop/production" in text_of(frozen)
        assert frozen.foresight is not None
        then = {state.name: state.answer for state in frozen.foresight.gates}
        assert isinstance(then["window"], Open)
        assert isinstance(then["freeze"], Closed)
        assert frozen.foresight.opens_at == opens + HOUR
        commit = await of_commit(world, sha, "production")
        assert (commit.state, waits_of(commit)) == ("Held", ["window", "freeze"])

        assert isinstance(await thaw(world.services, APPROVER, pressed.made), ActionDone)
        await world.clock.sleep(opens - world.clock.now())
        done = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        assert done.id == run.id
        assert world.clock.now() - opens < 2 * MINUTE
        live = await of_stage(world, PRODUCTION)
        assert live.state in ("Live", "Verified")
        assert live.waiting_for == ()


async def test_a_crash_is_told_with_its_cause_and_what_followed() -> None:
    """While it is stuck, when it has failed, and of the stage whose newest release it is."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(
            None, "CrashLoopBackOff", "no such table", restarts=1
        )
        await world.push("one", deployment(ONE))
        good = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        stuck: list[Explanation] = []

        async def failed() -> bool:
            told = await of_stage(world, STAGING)
            stuck.extend([told] if told.state == "Unhealthy" else [])
            runs = await world.runs(STAGING)
            return any(run.kind is RunKind.ROLLBACK and not run.live for run in runs)

        await world.until(failed, "the rollback")
        assert stuck
        assert any("CrashLoopBackOff" in told.because[0] for told in stuck)
        assert all(str(good.release) in told.next for told in stuck)

        bad = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        [back] = [run for run in await world.runs(STAGING) if run.kind is RunKind.ROLLBACK]
        assert any("CrashLoopBackOff" in said for said in (await of_run(world, back)).because)
        told = await of_run(world, bad)
        assert told.state == "Failed"
        assert "CrashLoopBackOff" in told.because[0]
        assert f"({good.release}) was restored by " in told.because[1]
        assert told.next.endswith(f"gitopsd quarantine lift q-{bad.id}")
        stage = await of_stage(world, STAGING)
        assert (stage.state, stage.since) == ("Quarantined", bad.ended_at)
        production = await of_stage(world, PRODUCTION)
        assert str(bad.release) in text_of(production)


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_cluster_that_cannot_be_asked(refuses: bool) -> None:
    """That it is away, or refuses the credential, with its own words and no verdict."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        away = TemporaryError("one: the API server does not answer: connection refused")
        world.cluster.fault = lambda _method, _ref: (
            CREDENTIAL_REFUSED.make_error() if refuses else TemporaryError(away.message)
        )
        await world.push("two", deployment(TWO))
        state = "LockedOut" if refuses else "Unreachable"

        async def told() -> bool:
            return (await of_stage(world, STAGING)).state == state

        await world.until(told, state)
        said = await of_stage(world, STAGING)
        assert ("refuses our credential" if refuses else away.message) in said.because[0]
        assert "cluster one" in said.waiting_for[0].who
        run = await world.run((await world.runs(STAGING))[-1].id)
        assert refuses or run.last_look is LastLook.UNKNOWN


async def test_an_older_release_promoted_by_hand_keeps_what_is_newer() -> None:
    """The hold is told with who set it; so is a suspension; and what replaced a waiting run."""
    async with running_world(shop_spec(lambda spec: replace(spec, gates=()))) as world:
        for subject, image in (("one", ONE), ("two", TWO)):
            await world.push(subject, deployment(image))
            await world.clock.sleep(5 * MINUTE)
        first, second = await world.releases()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        done = await world.actions.promote(APPROVER, PRODUCTION, ReleaseId(first.id))
        assert isinstance(done, ActionDone), done
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)
        run = await at_gate(world)
        held = await of_stage(world, PRODUCTION)
        assert (held.state, waits_of(held)) == ("Held", ["hold"])
        assert f"alex holds shop/production on {first.alias} ({first.id})" in held.because[0]
        assert held.waiting_for[0].who == "gitopsd resume shop production"
        assert held.run == run.id

        assert run.release == second.id
        await world.push("three", deployment(TWO), config_map("more"))
        over = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        told = await of_run(world, over)
        assert (over.id, told.state) == (run.id, "Superseded")
        await world.actions.suspend(APPROVER, PRODUCTION, "the database is moved")
        suspended = await of_stage(world, PRODUCTION)
        assert suspended.state == "Suspended"
        assert "the database is moved" in suspended.because[0]


async def test_a_push_that_nobody_follows_is_told_of_its_application() -> None:
    """With the ref; a stage before anything came says so, and so does one that is not verified."""
    async with running_world() as world:
        empty = await of_stage(world, STAGING)
        assert empty.state == "Empty"
        assert "refs/heads/main" in empty.because[0]
        sha = await world.push("one", deployment(ONE), hint=False)
        await world.ring(None, sha, ref=RefName("refs/heads/feature"))
        await world.clock.sleep(10 * SECOND)
        [ignored] = (await of_application(world)).ignored
        assert ignored.reason == "no application follows refs/heads/feature"
        assert "to receiver github" in ignored.event
        not_seen = await of_commit(world, sha, "production")
        assert not_seen.state == "NotSeen"
        assert not_seen.next.endswith("gitopsd explain shop")

        world.cluster.workloads[ONE] = Workload(2 * MINUTE)
        await world.ring(None, sha)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.WAIT_HEALTHY)
        production = await of_stage(world, PRODUCTION)
        assert (production.state, waits_of(production)) == ("Waiting", ["verification in staging"])
        assert production.waiting_for[0].who == "gitopsd explain shop staging"


async def test_what_changed_nothing_of_a_run_is_kept_and_told_once() -> None:
    """A report of work that nobody waits for, twice; what the machine reads by design is not."""
    async with running_world() as world:
        await world.push("one", deployment(ONE))
        run = await at_gate(world)
        config = world.services.configuration()
        stale = StepSucceeded(world.clock.now(), CommandId("from-before"))
        early = DeadlineReached(world.clock.now())
        for event in (stale, stale, early):
            await world.store.transact(partial(apply_event, run=run.id, event=event, config=config))
        [ignored] = (await of_run(world, run)).ignored
        assert ignored.event == "StepSucceeded"
        assert ignored.reason == f"stale: it answers from-before, outstanding is {run.command}"
        assert (await of_stage(world, PRODUCTION)).ignored == (ignored,)


async def test_what_changes_nothing_is_unchanged_and_a_stall_says_what_helps() -> None:
    """The same bytes count as verified; a stage that nothing can restore calls a person."""
    async with running_world(shop_spec(lambda spec: replace(spec, gates=()))) as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        stalled = await of_stage(world, STAGING)
        assert stalled.state == "Stalled"
        assert "a person is called (NoTarget)" in stalled.because[0]
        assert "gitopsd rollback shop staging" in stalled.waiting_for[0].who

        await world.push("good", deployment(ONE))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        live = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        retried = await world.actions.retry(APPROVER, live.id)
        assert isinstance(retried, ActionRefused)
        [ignored] = (await of_run(world, live)).ignored
        assert ignored.event == "retry by alex"

        sha = world.repositories.commit(
            REPO,
            "only staging",
            parent=world.head,
            overlays={
                "overlays/staging": (deployment(TWO),),
                "overlays/production": (deployment(ONE),),
            },
        )
        world.repositories.push(REPO, MAIN, sha)
        await world.ring(world.head, sha)
        same = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        unchanged = await of_run(world, same)
        assert unchanged.state == "Unchanged"
        assert "changes nothing of what shop/production runs" in unchanged.because[0]
