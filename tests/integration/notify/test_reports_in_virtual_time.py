"""Releases on their way, and what channels that show reports make of it.

Real: the engine with its outbox. In memory: everything outside, the channels too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gitopsd.domain.channels import ChannelSpec, ChannelType, Subscription
from gitopsd.domain.config import GitSource
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.images import ImageSource, SemverPolicy
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.reports import (
    ApprovalReport,
    CallReport,
    ChannelState,
    Check,
    Outcome,
    ReleaseReport,
    StageReport,
    Standing,
)
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.sources import RepoURL
from gitopsd.engine.actions import ActionDone, Actor
from gitopsd.engine.freezing import freeze, thaw
from gitopsd.engine.pauses import AT_ONCE
from gitopsd.engine.sending import send_queued
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import MISCONFIGURED, MISCONFIGURED_PART
from gitopsd.testing.verifier import MemoryAnswer
from gitopsd.testing.workloads import Workload
from tests.support.engine_world import (
    MAIN,
    PRODUCTION,
    STAGING,
    World,
    config_map,
    deployment,
    job,
    running_world,
    shop_spec,
)

pytestmark = pytest.mark.looptime

GOOD, BAD = "registry.example/api:1", "registry.example/api:2"
SLACK = ChannelSpec("deploys", ChannelType.SLACK)
GITHUB = ChannelSpec("commits", ChannelType.GITHUB)
MINUTE = timedelta(minutes=1)


async def _use(world: World, *channels: ChannelSpec) -> None:
    await world.configure(
        replace(world.configuration[0], channels={one.name: one for one in channels})
    )


def _releases(world: World, channel: str = "deploys") -> list[ReleaseReport]:
    shown = world.notifier.shown.get(channel, {}).values()
    return [report for report in shown if isinstance(report, ReleaseReport)]


def _approvals(world: World) -> list[ApprovalReport]:
    shown = world.notifier.shown.get("deploys", {}).values()
    return [report for report in shown if isinstance(report, ApprovalReport)]


def _calls(world: World) -> list[CallReport]:
    shown = world.notifier.shown.get("deploys", {}).values()
    return [report for report in shown if isinstance(report, CallReport)]


def _stages(world: World) -> list[StageReport]:
    shown = world.notifier.shown.get("commits", {}).values()
    return [report for report in shown if isinstance(report, StageReport)]


def _standings(report: ReleaseReport) -> list[Standing]:
    return [line.standing for line in report.stages]


async def _settle(world: World, wanted: list[Standing], number: int = 0) -> ReleaseReport:
    def there() -> bool:
        found = _releases(world)
        return len(found) > number and _standings(found[number]) == wanted

    await world.until(there, f"{wanted} is shown, not {list(map(_standings, _releases(world)))}")
    return _releases(world)[number]


async def test_a_release_has_one_message_with_a_line_for_each_stage() -> None:
    """From its first sight to production it is one report, always as it stands."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("two kinds of tea", deployment(GOOD))
        report = await _settle(world, [Standing.LIVE, Standing.HELD])
        assert report.subject == "two kinds of tea"
        assert [line.stage for line in report.stages] == ["staging", "production"]
        assert "approval" in report.stages[1].sentence
        assert [run.kind for run in report.runs] == [RunKind.ROLLOUT, RunKind.ROLLOUT]
        assert [line.step for line in report.runs[0].steps] == list(Step)
        await world.approve()
        report = await _settle(world, [Standing.LIVE, Standing.LIVE])
        assert all(line.phase is Phase.SUCCEEDED for run in report.runs for line in run.steps)
        assert len([name for name in world.notifier.made if "/release:" in name]) == 1


async def test_an_approval_is_asked_for_with_what_changes_and_gets_its_outcome() -> None:
    """Who approves sees what, where and by whom; afterwards the request says who did."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("tea", deployment(GOOD), config_map("settings", mode="a"))
        await world.until(lambda: bool(_approvals(world)), "the approval is asked for")
        [asked] = _approvals(world)
        assert asked.outcome is Outcome.WAITING
        assert (asked.cluster, asked.namespace) == ("one", "shop")
        assert asked.counts == (("created", 2),)
        assert sorted(name for _, name in asked.changes) == [
            "ConfigMap shop/settings",
            "Deployment shop/api",
        ]
        assert asked.approvers == ("group:release-managers",)
        assert asked.until is not None
        await world.approve()
        await world.until(
            lambda: _approvals(world)[0].outcome is Outcome.APPROVED, "the outcome is shown"
        )
        [told] = _approvals(world)
        assert told.sentence == "approved by alex"
        assert told.at is not None


async def test_an_approval_that_was_skipped_says_who_and_why() -> None:
    """Nobody approved, and nobody is said to have."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("tea", deployment(GOOD))
        await world.until(lambda: bool(_approvals(world)), "the approval is asked for")
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.skip(Actor("kim"), run.id, "approval", plan="", reason="it is down")
        await world.until(
            lambda: _approvals(world)[0].outcome is Outcome.APPROVED, "the outcome is shown"
        )
        [told] = _approvals(world)
        assert told.sentence == "skipped by kim: it is down"
        assert told.at is not None


async def test_a_rejection_is_the_outcome() -> None:
    """Whoever rejects is named with the reason, in the request and in the release."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("tea", deployment(GOOD))
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.reject(
            Actor("alex", ("release-managers",)), run.id, "", "not on Friday"
        )
        await _settle(world, [Standing.LIVE, Standing.REJECTED])
        await world.until(
            lambda: _approvals(world)[0].outcome is Outcome.REJECTED, "the outcome is shown"
        )
        assert "not on Friday" in _approvals(world)[0].sentence


async def test_each_vote_is_shown_while_more_are_needed() -> None:
    """The first of two approvals appears in the request at once."""
    spec = shop_spec(
        lambda stage: replace(stage, gates=(ApprovalGate(("group:release-managers",), count=2),))
    )
    async with running_world(spec) as world:
        await _use(world, SLACK)
        await world.push("tea", deployment(GOOD))
        await world.approve()
        await world.until(
            lambda: bool(_approvals(world)) and bool(_approvals(world)[0].votes), "a vote is shown"
        )
        [asked] = _approvals(world)
        assert (asked.outcome, asked.needed) == (Outcome.WAITING, 2)
        assert asked.votes == (("alex", "approved"),)


async def test_a_replaced_request_says_so() -> None:
    """A newer release takes the place of one that waits: its request asks nobody any more."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("one", deployment(GOOD))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.until(lambda: len(_approvals(world)) == 1, "the first is asked for")
        await world.push("two", deployment(GOOD), config_map("settings", mode="a"))
        await world.until(lambda: len(_approvals(world)) == 2, "the second is asked for")
        await world.until(
            lambda: _approvals(world)[0].outcome is Outcome.ENDED, "the first is withdrawn"
        )
        await _settle(world, [Standing.LIVE, Standing.SUPERSEDED], 0)
        assert _approvals(world)[1].outcome is Outcome.WAITING


async def test_a_rollback_is_told_where_its_release_is() -> None:
    """The release that failed says why and what is back; people are called beside it."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        world.verifier.serve("api", MemoryAnswer(), path="/health")
        good = _releases(world)[0]
        report = await _settle(world, [Standing.LIVE, Standing.RESTORED], 1)
        assert report.stages[1].sentence.startswith("failed in Verify")
        assert f"back on {good.alias}" in report.stages[1].sentence
        assert [run.kind for run in report.runs][-1] is RunKind.ROLLBACK
        await world.until(lambda: bool(_calls(world)), "people are called")
        assert _calls(world)[0].trigger == "on-verification-failed"
        # What the old release says of itself stays true: it was verified there.
        assert _standings(_releases(world)[0]) == [Standing.LIVE, Standing.LIVE]


async def test_what_does_not_pass_staging_does_not_reach_production() -> None:
    """The line of a stage that it will never see says so."""
    async with running_world() as world:
        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await _use(world, SLACK)
        await world.push("bad", deployment(BAD))
        report = await _settle(world, [Standing.FAILED, Standing.NOT_REACHED])
        assert "did not pass staging" in report.stages[1].sentence


async def test_a_commit_has_a_status_for_each_stage_and_a_deployment_for_each_writing_run() -> None:
    """Statuses go from pending to their end, and a rollback deploys the older commit again."""
    async with running_world() as world:
        await _use(world, GITHUB)
        good = await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        bad = await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        world.verifier.serve("api", MemoryAnswer(status=500), path="/health")
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.FAILED)
        world.verifier.serve("api", MemoryAnswer(), path="/health")
        await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.clock.sleep(MINUTE)

        told = {(str(one.sha), str(one.stage)): one for one in _stages(world)}
        assert {key: one.state for key, one in told.items()} == {
            (good, "staging"): Check.SUCCESS,
            (good, "production"): Check.SUCCESS,
            (bad, "staging"): Check.SUCCESS,
            (bad, "production"): Check.FAILURE,
        }
        last = told[bad, "production"]
        assert [(one.kind, one.sha, one.state) for one in last.deployments] == [
            (RunKind.ROLLOUT, bad, Check.FAILURE),
            (RunKind.ROLLBACK, good, Check.SUCCESS),
        ]
        assert last.last_stage
        assert not told[bad, "staging"].last_stage


async def test_a_commit_stays_green_when_an_image_on_it_fails() -> None:
    """The commit runs with the images before; its status says that, and what failed."""
    image = "registry.example/team/api"
    spec = replace(shop_spec(), images=(ImageSource(image, SemverPolicy(">=1")),))
    async with running_world(spec) as world:
        await _use(world, GITHUB)
        world.registry.push(image, "1.0.0")
        sha = await world.push("good", deployment(image))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        bad = world.registry.push(image, "1.1.0")
        name = f"{image}:1.1.0@{bad}"
        world.cluster.workloads[name] = Workload(None, "CrashLoopBackOff", "back-off", restarts=3)
        await world.notify(image, "1.1.0")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)

        def told() -> list[StageReport]:
            return [
                one
                for one in _stages(world)
                if (one.stage, one.sha) == (STAGING.stage, sha)
                and len(one.deployments) == 3
                and one.deployments[-1].state is Check.SUCCESS
                and one.state is not Check.PENDING
            ]

        await world.until(told, "the rollback is shown")
        [report] = told()
        assert report.state is Check.SUCCESS
        assert report.sentence.startswith("live with other images; failed in WaitHealthy: ")
        states = [one.state for one in report.deployments]
        assert states == [Check.SUCCESS, Check.FAILURE, Check.SUCCESS]


async def test_only_what_was_subscribed_to_begins_a_report() -> None:
    """A channel for approvals hears of nothing else; one for failures sees no good release."""
    async with running_world() as world:
        only = Subscription(triggers=("on-approval-requested",))
        failing = Subscription(triggers=("on-verification-failed",))
        other = Subscription(applications=("another",))
        await _use(
            world,
            replace(SLACK, subscriptions=(only,)),
            replace(SLACK, name="failures", subscriptions=(failing,)),
            replace(SLACK, name="others", subscriptions=(other,)),
            replace(SLACK, name="labels", subscriptions=(Subscription(labels={"team": "b"}),)),
        )
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(MINUTE)
        assert [type(one) for one in world.notifier.shown["deploys"].values()] == [ApprovalReport]
        assert set(world.notifier.shown) == {"deploys"}

        world.cluster.workloads[BAD] = Workload(None, "CrashLoopBackOff", "x", restarts=3)
        await world.push("bad", deployment(BAD))
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        await world.clock.sleep(MINUTE)
        [report] = _releases(world, "failures")
        assert _standings(report)[0] is Standing.RESTORED


async def test_a_freeze_is_a_message_of_its_own() -> None:
    """What is about no release stands by itself."""
    async with running_world() as world:
        await _use(world, SLACK)
        await freeze(world.services, Actor("alex", ()), "*", "audit", None)
        await world.until(lambda: bool(_calls(world)), "the freeze is told")
        assert "audit" in _calls(world)[0].sentence


async def test_a_freeze_is_shown_at_the_commit_that_it_holds() -> None:
    """At its Gate, and before Apply when its hooks ran already; after the thaw it goes on."""
    async with running_world() as world:
        await _use(world, GITHUB)
        world.cluster.workloads["registry.example/tool:1"] = Workload(MINUTE)
        hook = job("registry.example/tool:1", hook="PreSync")
        await world.push("good", deployment(GOOD), hook)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.RUNNING, step=Step.PREPARE)
        alex = Actor("alex", ())
        frozen = await freeze(world.services, alex, "stage:shop/staging", "audit", None)
        assert isinstance(frozen, ActionDone)
        await world.clock.sleep(3 * MINUTE)
        (told,) = [one for one in _stages(world) if one.stage == "staging"]
        assert told.state is Check.PENDING
        assert told.sentence == (
            "waits before Apply: freeze: stage:shop/staging frozen by alex: audit"
        )
        await thaw(world.services, alex, frozen.made)
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await freeze(world.services, alex, "application:shop", "a fair", None)
        await world.approve()
        await world.clock.sleep(MINUTE)
        (told,) = [one for one in _stages(world) if one.stage == "production"]
        assert told.state is Check.PENDING
        assert told.sentence == (
            "waits at its gate: freeze: application:shop frozen by alex: a fair"
        )


async def _time_of_release(*channels: ChannelSpec, trouble: str = "") -> timedelta:
    """Measure, in virtual time, from the push to production."""
    async with running_world() as world:
        await _use(world, *channels)
        for channel in channels:
            if trouble == "hangs":
                world.notifier.hang_channel(channel.name)
            elif trouble == "refuses":
                error = PermanentError("bad token", reason=MISCONFIGURED)
                world.notifier.break_channel(channel.name, error)
            elif trouble:
                world.notifier.break_channel(channel.name, TemporaryError("away"))
        before = world.clock.now()
        await world.push("good", deployment(GOOD))
        await world.approve()
        run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        ended: datetime | None = run.ended_at
        assert ended is not None
        return ended - before


@pytest.mark.parametrize("trouble", ["", "away", "hangs", "refuses"])
async def test_a_channel_that_is_down_delays_a_release_by_nothing(trouble: str) -> None:
    """However many channels say nothing for the whole release, it is as quick as without any."""
    many = [
        replace(one, name=f"{one.name}-{number}") for one in (SLACK, GITHUB) for number in range(20)
    ]
    assert await _time_of_release(*many, trouble=trouble) == await _time_of_release()


async def test_a_channel_that_hangs_is_asked_twice_at_once_at_most() -> None:
    """Whatever waits for it waits; nobody stands in a row inside of it."""
    async with running_world() as world:
        await _use(world, SLACK)
        world.notifier.hang_channel("deploys")
        for number in range(10):
            await freeze(world.services, Actor("alex", ()), "*", f"audit {number}", None)
        await world.clock.sleep(timedelta(seconds=50))
        assert world.notifier.asked["deploys"] == AT_ONCE == 2
        world.notifier.mend_channel("deploys")
        await world.until(lambda: len(_calls(world)) == 10, "all are told")


async def test_a_channel_that_comes_back_shows_the_newest_state_at_once() -> None:
    """Nothing of what it missed is shown step by step."""
    async with running_world() as world:
        await _use(world, SLACK)
        world.notifier.break_channel("deploys", TemporaryError("away"))
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(timedelta(hours=1))
        world.notifier.mend_channel("deploys")
        report = await _settle(world, [Standing.LIVE, Standing.LIVE])
        assert [one for one in world.notifier.history if one.id == report.id] == [report]


async def test_a_channel_that_is_away_is_left_alone_ever_longer() -> None:
    """All that waits for it shares one backoff, and a pause that it asked for is kept."""
    async with running_world() as world:
        await _use(world, SLACK)
        asked = timedelta(minutes=30)
        world.notifier.break_channel("deploys", TemporaryError("later", retry_after=asked))
        await world.push("good", deployment(GOOD))
        await world.until(lambda: world.notifier.asked.get("deploys"), "it is asked")
        began = world.notifier.asked["deploys"]
        assert began <= 2
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.clock.sleep(timedelta(minutes=25))
        assert world.notifier.asked["deploys"] <= 2
        world.notifier.break_channel("deploys", TemporaryError("away"))
        await world.clock.sleep(timedelta(minutes=65))
        # Every five minutes at most, with two messages at once.
        assert 4 <= world.notifier.asked["deploys"] <= 2 * 14


async def test_what_no_channel_took_for_a_day_is_given_up_visibly() -> None:
    """It is counted, and kept beside the channel's name why; what is newer still waits."""
    async with running_world(start=False) as world:
        world.configuration[0] = replace(world.configuration[0], channels={"deploys": SLACK})
        world.notifier.break_channel("deploys", TemporaryError("no answer from Slack"))
        await freeze(world.services, Actor("alex", ()), "*", "audit", None)
        [item] = await world.store.transact(lambda tx: tx.work.claim("me", 10, MINUTE))
        await world.clock.sleep(timedelta(hours=23))
        assert await send_queued(world.services, item) is not None
        assert world.telemetry.total("gitopsd_notifications_dropped_total") == 0
        await world.clock.sleep(timedelta(hours=2))
        assert await send_queued(world.services, item) is None
        assert world.telemetry.total("gitopsd_notifications_dropped_total") == 1
        state = await world.store.read(lambda tx: tx.handles.channel("deploys"))
        assert state is not None
        assert (state.problem, state.dropped) == ("no answer from Slack", 1)
        assert state.dropped_why == "no answer from Slack"

        await world.store.transact(lambda tx: tx.work.remove(item.key))
        await freeze(world.services, Actor("alex", ()), "*", "another", None)
        [later] = await world.store.transact(lambda tx: tx.work.claim("me", 10, MINUTE))
        world.notifier.mend_channel("deploys")
        await world.clock.sleep(timedelta(minutes=10))
        assert await send_queued(world.services, later) is None
        assert ["another" in one.sentence for one in _calls(world)] == [True]
        state = await world.store.read(lambda tx: tx.handles.channel("deploys"))
        assert state is not None
        assert (state.problem, state.dropped) == ("", 1)


async def test_a_channel_without_a_right_is_named_once_and_tried_seldom(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What to do is logged once; a mended token is used within minutes, nothing is lost."""
    async with running_world() as world:
        await _use(world, SLACK)
        error = PermanentError("channel deploys: bad token", reason=MISCONFIGURED)
        world.notifier.break_channel("deploys", error)
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(timedelta(hours=1))
        assert caplog.text.count("bad token") == 1
        assert world.notifier.asked["deploys"] <= 2 * 7
        world.notifier.mend_channel("deploys")
        report = await _settle(world, [Standing.LIVE, Standing.LIVE])
        assert report.stages[1].sentence == "verified"


async def test_a_repository_without_rights_holds_up_no_other() -> None:
    """Reports of one repository wait for a person; those of others in the channel go through."""
    tools = RepoURL("https://git.example/tools.git")
    stage = replace(shop_spec().stages[0], namespace="tools", verify=())
    other = replace(
        shop_spec(), name=ApplicationName("tools"), source=GitSource(tools, MAIN), stages=(stage,)
    )
    async with running_world() as world:
        before = world.configuration[0]
        both = {**before.applications, other.name: other}
        await world.configure(replace(before, applications=both, channels={"commits": GITHUB}))
        error = PermanentError("no rights in tools", reason=MISCONFIGURED_PART)
        world.notifier.unseen[tools] = error
        overlays = {"overlays/staging": (deployment(GOOD),)}
        made = world.repositories.commit(tools, "tools", parent=None, overlays=overlays)
        world.repositories.push(tools, MAIN, made)
        await world.until(lambda: world.notifier.asked.get("commits"), "the refused one is asked")
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.clock.sleep(timedelta(seconds=30))

        assert {one.application for one in _stages(world)} == {"shop"}
        state = await world.store.read(lambda tx: tx.handles.channel("commits"))
        assert state is not None
        assert state.problem == "no rights in tools"
        world.notifier.unseen.clear()
        await world.clock.sleep(timedelta(minutes=11))
        assert {one.application for one in _stages(world)} == {"shop", "tools"}
        state = await world.store.read(lambda tx: tx.handles.channel("commits"))
        assert state is not None
        assert state.problem == ""


async def test_a_channel_that_works_after_a_restart_says_so() -> None:
    """What the process before said of it does not stand for ever."""
    async with running_world() as world:
        await _use(world, SLACK)
        await world.store.transact(
            lambda tx: tx.handles.save_channel(ChannelState("deploys", "no answer", tx.now))
        )
        await world.push("good", deployment(GOOD))
        await _settle(world, [Standing.LIVE, Standing.HELD])
        state = await world.store.read(lambda tx: tx.handles.channel("deploys"))
        assert state is not None
        assert state.problem == ""


async def test_a_lost_answer_makes_no_second_message() -> None:
    """What was shown and not remembered is found again by the report's own name."""
    async with running_world() as world:
        await _use(world, SLACK)
        world.notifier.forgets_first = True
        await world.push("good", deployment(GOOD))
        await world.approve()
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        report = await _settle(world, [Standing.LIVE, Standing.LIVE])
        assert world.notifier.made.count(report.id) == 1
