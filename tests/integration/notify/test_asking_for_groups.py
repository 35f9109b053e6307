"""People are asked once for a whole group, not once for each of its stages.

Real: the engine with its outbox. In memory: everything outside, the channels too.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType, Subscription
from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gates import Decision
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.releases import StageName
from gitopsd.domain.reports import ApprovalReport, GroupApprovalReport, Outcome, StageReport
from gitopsd.domain.runs import Phase, Run, RunKind, Step
from gitopsd.domain.work import Notification
from gitopsd.engine.actors import ActionDone, Actor
from gitopsd.engine.group_voting import find_waiting, is_asked, vote_for_group
from gitopsd.engine.voting import Ballot
from gitopsd.pipeline.groups import name_plans
from tests.support.engine_world import APPROVER, SHOP, started
from tests.support.fleet_world import APPROVAL, FLEET, A, B, C, D, Fleet, fleet_spec, make_fleet

pytestmark = pytest.mark.looptime

GROUP = GroupSpec("production", approval=APPROVAL)
ASKED = "on-approval-requested"
SLACK = ChannelSpec("deploys", ChannelType.SLACK)
HOOK = ChannelSpec("hook", ChannelType.WEBHOOK)
COMMITS = ChannelSpec(
    "commits", ChannelType.GITHUB, subscriptions=(Subscription(triggers=(ASKED,)),)
)
NAMES = [key.stage for key in FLEET]
MINUTE = timedelta(minutes=1)


@asynccontextmanager
async def asking(spec: ApplicationSpec | None = None) -> AsyncIterator[Fleet]:
    """Four clusters whose group needs one approval, and a channel of each type."""
    built = make_fleet(spec or fleet_spec(GROUP))
    channels = {one.name: one for one in (SLACK, HOOK, COMMITS)}
    world = built.world
    world.configuration[0] = replace(world.configuration[0], channels=channels)
    async with started(world):
        yield built


def told(world: Fleet) -> list[Notification]:
    """What the webhook was sent about approvals."""
    return [one for one in world.world.notifier.received["hook"] if one.trigger == ASKED]


def requests(world: Fleet) -> list[ApprovalReport | GroupApprovalReport]:
    """The requests that Slack shows."""
    shown = world.world.notifier.shown["deploys"].values()
    return [one for one in shown if isinstance(one, ApprovalReport | GroupApprovalReport)]


def the_group(world: Fleet) -> GroupApprovalReport:
    """The one request for the group that Slack shows."""
    [found] = [one for one in requests(world) if isinstance(one, GroupApprovalReport)]
    return found


async def wait_for_plans(world: Fleet) -> list[Run]:
    """Wait until all four are asked for; returns the runs."""

    async def there() -> bool:
        return len(await waiting(world)) == len(FLEET)

    await world.world.until(there, "all four wait")
    await world.world.clock.sleep(MINUTE)
    return await waiting(world)


async def waiting(world: Fleet) -> list[Run]:
    """Runs of the group that lack an approval."""
    return await world.world.store.read(
        lambda tx: [one for one in find_waiting(tx, SHOP, GROUP.name) if is_asked(tx, one)]
    )


async def vote(
    world: Fleet,
    runs: list[Run],
    decision: Decision = Decision.APPROVE,
    by: Actor = APPROVER,
) -> None:
    """Vote for the plans of runs."""
    plans = {str(run.id): str(run.plan) for run in runs}
    services, ballot = world.world.services, Ballot(decision, reason="seen")
    done = await vote_for_group(services, by, SHOP, GROUP.name, plans, ballot)
    assert isinstance(done, ActionDone), done


async def test_one_request_is_for_all_plans_and_says_what_became_of_them() -> None:
    """One message in Slack and one to the webhook; a commit gets its status in every stage."""
    async with asking() as world:
        image = await world.push(1)
        runs = await wait_for_plans(world)
        [sent] = told(world)
        release = runs[0].release
        assert sent.stage == ""
        assert sent.details["stages"] == NAMES
        assert sent.message.startswith(
            f"shop, group production (a, b, c, d): {release} waits: 0 of 1 approvals"
        )
        assert sent.message.endswith("To approve: gitopsd approve shop --group production")
        [asked] = requests(world)
        assert isinstance(asked, GroupApprovalReport)
        assert [(one.stage, one.run, one.plan) for one in asked.plans] == [
            (run.stage.stage, run.id, run.plan) for run in runs
        ]
        assert {one.cluster for one in asked.plans} == set(NAMES)
        assert asked.name == name_plans({str(run.id): str(run.plan) for run in runs})
        assert asked.missing == ()
        shown = world.world.notifier.shown["commits"].values()
        assert {one.stage for one in shown if isinstance(one, StageReport)} == set(NAMES)

        await vote(world, runs)
        await world.until_live(image, *FLEET)
        await world.world.until(lambda: the_group(world).name == "", "the outcome is shown")
        assert {(one.outcome, one.sentence) for one in the_group(world).plans} == {
            (Outcome.APPROVED, "approved by alex")
        }
        assert len(told(world)) == 1
        assert len(requests(world)) == 1


async def test_a_stage_that_comes_late_is_asked_for_by_itself_once_somebody_voted() -> None:
    """Nobody looks at an old message again: what it did not show has one of its own."""
    async with asking() as world:
        await world.world.actions.suspend(APPROVER, D, "no hurry")
        await world.push(1)

        async def three() -> bool:
            return len(await waiting(world)) == 3

        await world.world.until(three, "three wait")
        await world.world.clock.sleep(MINUTE)
        assert [stage for stage, _ in the_group(world).missing] == ["d"]
        await vote(world, await waiting(world))
        await world.world.actions.resume(APPROVER, D)
        run = await world.world.until_run(D, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.world.until(lambda: len(told(world)) == 2, "it is asked for")
        late = told(world)[1]
        assert late.stage == "d"
        assert f"for d alone: gitopsd approve {run.id}" in late.message
        await world.world.until(lambda: len(requests(world)) == 2, "Slack shows it")
        [alone] = [one for one in requests(world) if isinstance(one, ApprovalReport)]
        assert (alone.stage, alone.outcome) == ("d", Outcome.WAITING)


async def test_whoever_was_asked_already_is_not_asked_again_after_a_vote() -> None:
    """A quorum of two is one request; so is one where a single stage was voted on."""
    gate = replace(APPROVAL, count=2)
    async with asking(fleet_spec(replace(GROUP, approval=gate))) as world:
        image = await world.push(1)
        runs = await wait_for_plans(world)
        await vote(world, runs[1:2])
        await world.world.clock.sleep(10 * MINUTE)
        await vote(world, runs)
        await world.world.clock.sleep(10 * MINUTE)
        assert len(requests(world)) == len(told(world)) == 1
        await vote(world, runs, by=replace(APPROVER, subject="sam"))
        await world.until_live(image, *FLEET)
        assert len(requests(world)) == len(told(world)) == 1


async def test_what_was_rejected_is_asked_for_anew() -> None:
    """The next release has a request of its own; so has one that people promote again."""
    async with asking() as world:
        await world.push(1)
        runs = await wait_for_plans(world)
        await vote(world, runs, Decision.REJECT)
        for key in FLEET:
            await world.world.until_run(key, RunKind.ROLLOUT, Phase.ABORTED)
        await world.push(2)
        await world.world.until(lambda: len(told(world)) == 2, "the next one is asked for")
        outcomes = [
            {plan.outcome for plan in one.plans}
            for one in requests(world)
            if isinstance(one, GroupApprovalReport)
        ]
        assert outcomes[0] == {Outcome.REJECTED}

        await vote(world, await wait_for_plans(world), Decision.REJECT)
        for key in (A, B, C, D):
            await world.world.until_run(key, RunKind.ROLLOUT, Phase.ABORTED, count=2)
            await world.world.actions.promote(APPROVER, key, runs[0].release)
        await wait_for_plans(world)
        assert len(told(world)) == 3
        assert told(world)[2].details["release"] == runs[0].release


async def test_when_its_time_was_over_a_stage_is_asked_for_again() -> None:
    """The old request is of the old runs; a person who begins one of them anew is heard."""
    gate = replace(APPROVAL, deadline=10 * MINUTE)
    async with asking(fleet_spec(replace(GROUP, approval=gate))) as world:
        await world.push(1)
        runs = await wait_for_plans(world)
        for key in FLEET:
            await world.world.until_run(key, RunKind.ROLLOUT, Phase.ABORTED)
        [asked] = told(world)
        first = asked.details["run"]
        other = next(run for run in runs if run.id != first)
        await world.world.actions.promote(APPROVER, other.stage, other.release)
        await world.world.until(lambda: len(told(world)) == 2, "it is asked for again")
        again = await world.world.until_run(
            other.stage, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE
        )
        assert told(world)[1].details["run"] == again.id


async def test_a_stage_with_an_approval_of_its_own_is_asked_for_by_itself() -> None:
    """Who agrees there need not be who agrees for the group."""

    def change(stage: StageSpec) -> StageSpec:
        own = replace(APPROVAL, subjects=("user:sam",))
        return replace(stage, gates=(own, *stage.gates)) if stage.name == StageName("d") else stage

    async with asking(fleet_spec(GROUP, change)) as world:
        await world.push(1)
        await wait_for_plans(world)
        assert sorted(one.stage for one in told(world)) == ["", "d"]
        assert [one.stage for one in the_group(world).plans] == NAMES
