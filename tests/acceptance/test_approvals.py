"""Who opens a gate and who may not, each told and audited, in virtual time.

Real: the engine. In memory: everything outside.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import ApprovalGate, ManualGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.people import People, Person
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.runs import AbortReason, Phase, Run, RunKind, Step
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.work import AuditEntry, Page, Token
from gitopsd.engine.actions import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.queries import load_gates
from gitopsd.store_ports import Transaction
from tests.support.engine_world import PRODUCTION, World, config_map, running_world, shop_spec

pytestmark = pytest.mark.looptime

ANA, SAM, KIM = Actor("ana"), Actor("sam"), Actor("kim")
MANAGERS = ("group:managers",)
PEOPLE = People(
    persons=(
        Person("ana", ("ana@work.example", "ana@home.example"), ("managers",), "ana-gh"),
        Person("sam", ("sam@work.example",), ("managers",)),
        Person("kim", ("kim@work.example",), ("developers",)),
    )
)


def gated(*gates: ApprovalGate | ManualGate) -> Callable[[StageSpec], StageSpec]:
    """Production behind these gates."""
    return lambda stage: replace(stage, gates=gates)


@asynccontextmanager
async def asking(
    *gates: ApprovalGate | ManualGate, author: str = "dev@x.example", pusher: str = ""
) -> AsyncIterator[tuple[World, Run]]:
    """One release is live; a second one stands at production's Gate."""
    async with running_world(shop_spec(gated(*gates))) as world:
        await employ(world, PEOPLE)
        await world.push("1", config_map("settings", mode="1"))
        first = await at_gate(world)
        await let_in(world, first)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await world.push("2", config_map("settings", mode="2"), author=author, pusher=pusher)
        yield world, await at_gate(world)


async def employ(world: World, people: People) -> None:
    """Put another people.yaml in force."""
    await world.configure(replace(world.configuration[0], people=people))


async def let_in(world: World, run: Run) -> None:
    """Open production's gate, whichever it is."""
    gates = await world.store.read(lambda tx: load_gates(tx, run))
    if any(gate.name == "manual" for gate in gates):
        done(await world.actions.promote(SAM, PRODUCTION, run.release))
        return
    for person in (SAM, ANA):
        await world.actions.approve(person, run.id, "", "")


async def at_gate(world: World) -> Run:
    """Wait until a run stands at production's Gate and its gates have answered."""
    run = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await world.until(lambda: world.store.read(lambda tx: load_gates(tx, run)), "gates answered")
    return run


async def until_waiting(world: World, sha: CommitSha | None) -> None:
    """Wait until the release of a commit stands at production's Gate."""
    await world.until(lambda: _waits_for(world, sha), f"the release of {sha} waits")


async def answer(world: World, run: Run, name: str = "approval") -> GateAnswer:
    """What a gate answered last."""
    gates = await world.store.read(lambda tx: load_gates(tx, run))
    return next(gate.answer for gate in gates if gate.name == name)


async def last_audit(world: World) -> AuditEntry:
    """The newest entry of the audit log."""
    return (await world.store.read(lambda tx: tx.records.audit(Page(1))))[0]


def done(result: ActionResult) -> ActionDone:
    """What was done; fails when it was refused."""
    assert isinstance(result, ActionDone), result
    return result


async def refused(world: World, result: ActionResult, status: int, who: str, verb: str) -> str:
    """Check that an action was refused and audited; returns the reason."""
    assert isinstance(result, ActionRefused), result
    entry = await last_audit(world)
    assert (result.status, entry.subject, entry.action) == (status, who, verb)
    assert entry.outcome == f"refused: {result.message}"
    return result.message


async def test_an_approval_after_the_deadline_is_refused() -> None:
    """Also in the moment before the run is ended, and says how to ask again."""
    async with asking(ApprovalGate(MANAGERS, deadline=timedelta(hours=1))) as (world, run):

        def overdue(tx: Transaction) -> None:
            late = replace(run, step_deadline=tx.now - timedelta(seconds=1))
            tx.runs.save(replace(late, version=run.version + 1), expected_version=run.version)

        await world.store.transact(overdue)
        told = await world.actions.approve(ANA, run.id, "", "")
        reason = await refused(world, told, 409, "ana", "approve")
        assert reason.startswith(f"the time of {run.id} was over at ")
        assert reason.endswith(f"gitopsd promote shop production {run.release}")

        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.ABORTED)
        told = await world.actions.approve(ANA, run.id, "", "")
        reason = await refused(world, told, 409, "ana", "approve")
        assert reason == (
            f"{run.id} ended Aborted: its gates did not open in time; to bring its release "
            f"again: gitopsd retry {run.id}"
        )


async def test_a_person_approves_once() -> None:
    """The second time is refused, counts for nothing, and another person is waited for."""
    async with asking(ApprovalGate(MANAGERS, count=2)) as (world, run):
        said = done(await world.actions.approve(ANA, run.id, "", "looks good"))
        assert said.message == f"ana approved {run.id} (plan {run.plan})"
        entry = await last_audit(world)
        assert entry.outcome == "done"
        kept = dict(entry.details)
        states = (str(kept.pop("before")), str(kept.pop("after")))
        assert all(f"{run.id} (Rollout) in Gate" in state for state in states)
        assert kept == {"plan": run.plan, "reason": "looks good"}

        told = await world.actions.approve(ANA, run.id, "", "again")
        reason = await refused(world, told, 409, "ana", "approve")
        assert reason.startswith("ana has approved this plan already, at ")
        await world.clock.sleep(timedelta(minutes=10))
        waiting = await answer(world, run)
        assert isinstance(waiting, Closed)
        assert waiting.reason.startswith("1 of 2 approvals")

        done(await world.actions.approve(SAM, run.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_an_approval_for_another_plan_is_refused() -> None:
    """Whoever saw something else looks again."""
    async with asking(ApprovalGate(MANAGERS)) as (world, run):
        told = await world.actions.approve(ANA, run.id, "sha256:seen-before", "")
        reason = await refused(world, told, 409, "ana", "approve")
        assert reason == (
            f"the plan changed since you saw it (now {run.plan}); look at it again: "
            f"gitopsd diff {run.id}"
        )


@pytest.mark.parametrize(
    "author,pusher,hand",
    [
        ("ana@home.example", "", "authored"),
        ("99+ana-gh@users.noreply.github.com", "", "authored"),
        ("dev@x.example", "ana-gh", "pushed"),
    ],
)
async def test_nobody_approves_their_own_commit(author: str, pusher: str, hand: str) -> None:
    """Under another address of theirs, or as the one who pushed: others are asked."""
    async with asking(ApprovalGate(MANAGERS), author=author, pusher=pusher) as (world, run):
        told = await world.actions.approve(ANA, run.id, "", "")
        reason = await refused(world, told, 403, "ana", "approve")
        assert world.head is not None
        made = f"ana {hand} {world.head[:12]}"
        assert reason == f"{made}, and nobody approves what they made; ask somebody else"
        waiting = await answer(world, run)
        assert isinstance(waiting, Closed)
        assert waiting.opener.endswith("(by group:managers, but not ana, who made it)")

        done(await world.actions.approve(SAM, run.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_commits_in_between_count_until_they_are_verified() -> None:
    """A release brings all commits since what runs verified, not only its newest.

    What was verified meanwhile is nobody's any more: the range is that of the moment.
    """
    async with asking(ApprovalGate(MANAGERS), author="ana@work.example") as (world, run):
        await world.push("3", config_map("settings", mode="3"), author="dev@x.example")
        await world.until(
            lambda: _is_replaced(world, run), "the newer release waits instead of the older one"
        )
        newest = await at_gate(world)
        told = await world.actions.approve(ANA, newest.id, "", "")
        assert "ana authored" in await refused(world, told, 403, "ana", "approve")
        done(await world.actions.approve(SAM, newest.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)

        await world.push("4", config_map("settings", mode="4"), author="dev@x.example")
        later = await at_gate(world)
        done(await world.actions.approve(ANA, later.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=3)


async def test_what_is_verified_while_a_run_waits_is_not_held_against_anybody() -> None:
    """Ana's release is under way while the next one is diffed; verified, it counts no more."""
    slow = replace(shop_spec(gated(ApprovalGate(MANAGERS))))
    production = replace(slow.stages[1], certify=timedelta(minutes=30))
    spec = replace(slow, stages=(slow.stages[0], production))
    async with running_world(spec) as world:
        await employ(world, PEOPLE)
        await world.push("1", config_map("settings", mode="1"), author="ana@work.example")
        first = await at_gate(world)
        done(await world.actions.approve(SAM, first.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.CERTIFY)
        await world.push("2", config_map("settings", mode="2"), author="sam@work.example")
        second = await at_gate(world)
        told = await world.actions.approve(SAM, second.id, "", "")
        assert "sam authored" in await refused(world, told, 403, "sam", "approve")

        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        second = await at_gate(world)
        done(await world.actions.approve(ANA, second.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_a_first_release_is_judged_by_its_newest_commit() -> None:
    """Nothing was verified before, so what it brings is not known, and the gate says so."""
    async with running_world(shop_spec(gated(ApprovalGate(MANAGERS)))) as world:
        await employ(world, PEOPLE)
        await world.push("0", config_map("settings", mode="0"), author="sam@work.example")
        await at_gate(world)
        head = await world.push("1", config_map("settings", mode="1"), author="ana@work.example")
        await until_waiting(world, head)
        run = await at_gate(world)
        waiting = await answer(world, run)
        assert isinstance(waiting, Closed)
        assert waiting.reason.endswith(
            f"; whose commits it brings besides {head[:12]} is not known: "
            "nothing was verified here before"
        )
        told = await world.actions.approve(ANA, run.id, "", "")
        assert "ana authored" in await refused(world, told, 403, "ana", "approve")
        done(await world.actions.approve(SAM, run.id, "", ""))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)


async def test_a_member_removed_after_voting_does_not_count() -> None:
    """The vote was taken and audited; the gate reads the groups again before it opens."""
    async with asking(ApprovalGate(MANAGERS, count=2)) as (world, run):
        done(await world.actions.approve(ANA, run.id, "", ""))
        entry = await last_audit(world)
        assert (entry.subject, entry.action, entry.outcome) == ("ana", "approve", "done")
        ana, *others = PEOPLE.persons
        moved = People((replace(ana, groups=("developers",)), *others))
        await employ(world, moved)
        done(await world.actions.approve(SAM, run.id, "", ""))
        await world.clock.sleep(timedelta(minutes=10))
        waiting = await answer(world, run)
        assert isinstance(waiting, Closed)
        assert waiting.reason.startswith("1 of 2 approvals")
        assert "ana's does not count: not in group:managers any more" in waiting.reason

        told = await world.actions.reject(ANA, run.id, "", "")
        reason = await refused(world, told, 403, "ana", "reject")
        assert reason == (
            "only group:managers may vote here, not user:ana, who is in group:developers"
        )
        await employ(world, PEOPLE)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)


async def test_a_vote_of_a_revoked_token_is_lost_until_it_is_given_again() -> None:
    """What was said with it before it was revoked does not open the gate afterwards."""
    async with asking(ApprovalGate(MANAGERS, count=2)) as (world, run):
        await world.store.transact(lambda tx: tx.records.add_token(_token(tx)))
        holder = replace(ANA, token="t-ana")
        done(await world.actions.approve(holder, run.id, "", ""))
        await world.store.transact(
            lambda tx: tx.records.save_token(replace(_token(tx), revoked_at=tx.now))
        )
        done(await world.actions.approve(SAM, run.id, "", ""))
        await world.clock.sleep(timedelta(minutes=10))
        waiting = await answer(world, run)
        assert isinstance(waiting, Closed)
        assert "ana's does not count: its token was revoked" in waiting.reason


async def test_of_two_opposite_votes_at_once_one_decides() -> None:
    """Whichever comes first: the run has one end, and both people are told what it is."""
    ends = set()
    for first, second in (("approve", "reject"), ("reject", "approve")):
        async with asking(ApprovalGate(MANAGERS)) as (world, run):
            votes = {"approve": world.actions.approve, "reject": world.actions.reject}
            results = await asyncio.gather(
                votes[first](ANA, run.id, "", ""), votes[second](SAM, run.id, "", "no")
            )
            kept = done(results[0])
            assert kept.run == run.id
            other = results[1]
            assert isinstance(other, ActionRefused)
            assert other.status == 409
            ended = await world.run(run.id)
            ends.add(ended.failure.reason if ended.failure is not None else "let through")
            log = await world.store.read(lambda tx: tx.records.audit(Page(2)))
            assert {(one.subject, one.outcome) for one in log} == {
                ("ana", "done"),
                ("sam", f"refused: {other.message}"),
            }
    assert ends == {"let through", AbortReason.REJECTED.value}


async def test_a_rejection_ends_the_run_with_its_reason() -> None:
    """Whoever votes afterwards is told who said what."""
    async with asking(ApprovalGate(MANAGERS, count=2)) as (world, run):
        done(await world.actions.approve(SAM, run.id, "", ""))
        done(await world.actions.reject(ANA, run.id, "", "it is Friday"))
        assert (await world.run(run.id)).phase is Phase.ABORTED
        told = await world.actions.approve(SAM, run.id, "", "")
        reason = await refused(world, told, 409, "sam", "approve")
        assert reason.startswith(f"{run.id} ended Aborted: ana rejected it: it is Friday; ")


async def test_a_manual_gate_waits_for_a_name() -> None:
    """Hours pass; somebody it does not mean names nothing; a manager names one, and only that."""
    async with asking(ManualGate(MANAGERS)) as (world, run):
        await world.clock.sleep(timedelta(hours=3))
        waiting = await answer(world, run, "manual")
        assert isinstance(waiting, Closed)
        assert waiting.reason == f"nobody has named {run.release} for production"
        told = await world.actions.promote(KIM, PRODUCTION, run.release)
        reason = await refused(world, told, 403, "kim", "promote")
        assert reason == (
            "only group:managers may name a release for shop/production, not user:kim"
        )
        done(await world.actions.promote(SAM, PRODUCTION, run.release))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        opened = await answer(world, run, "manual")
        assert isinstance(opened, Open)
        assert opened.reason.startswith("named by sam at ")

        await world.push("3", config_map("settings", mode="3"))
        third = await at_gate(world)
        assert isinstance(await answer(world, third, "manual"), Closed)


async def test_an_older_release_that_is_named_comes_before_newer_ones() -> None:
    """Three wait in line; the one that was named goes, the newest waits for its own name."""
    async with asking(ManualGate(MANAGERS)) as (world, run):
        for number in (3, 4):
            sha = await world.push(str(number), config_map("settings", mode=str(number)))
            await until_waiting(world, sha)
        done(await world.actions.promote(SAM, PRODUCTION, run.release))
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert world.cluster.live()["ConfigMap shop/settings"]["data"] == {"mode": "2"}
        await until_waiting(world, world.head)


async def test_a_skipped_gate_lets_one_plan_through() -> None:
    """With a reason, audited with what the gate said before; the next release is asked again."""
    async with asking(ApprovalGate(MANAGERS)) as (world, run):
        before = await answer(world, run)
        told = await world.actions.skip(KIM, run.id, "approval", plan="", reason="shop is down")
        assert done(told).message == f"{run.id} passes its gate approval (plan {run.plan})"
        entry = await last_audit(world)
        assert (entry.subject, entry.action, entry.target, entry.outcome) == (
            "kim",
            "skip",
            run.id,
            "done",
        )
        assert entry.details == {
            "gate": "approval",
            "plan": run.plan,
            "reason": "shop is down",
            "before": f"Closed: {before.reason}",
            "after": "Open: skipped by kim: shop is down",
        }
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        assert await answer(world, run) == Open("skipped by kim: shop is down")

        await world.push("3", config_map("settings", mode="3"))
        assert isinstance(await answer(world, await at_gate(world)), Closed)


async def test_a_skip_does_not_count_for_another_plan() -> None:
    """A person goes back meanwhile: the run comes out with another plan, and waits anew."""
    gates = (ApprovalGate(MANAGERS), ManualGate(MANAGERS))
    async with running_world(shop_spec(gated(*gates))) as world:
        await employ(world, PEOPLE)
        for number in (1, 2):
            await world.push(str(number), config_map("settings", mode=str(number)))
            run = await at_gate(world)
            done(await world.actions.approve(SAM, run.id, "", ""))
            done(await world.actions.promote(SAM, PRODUCTION, run.release))
            await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
        await world.push("3", config_map("settings", mode="3"))
        run = await at_gate(world)
        done(await world.actions.skip(KIM, run.id, "approval", plan="", reason="urgent"))
        await world.until(lambda: _is_open(world, run), "the approval is skipped")
        done(await world.actions.rollback(SAM, PRODUCTION, None))
        await world.until_run(PRODUCTION, RunKind.ROLLBACK, Phase.SUCCEEDED)
        done(await world.actions.resume(SAM, PRODUCTION))
        again = await at_gate(world)
        assert again.id == run.id
        assert again.plan != run.plan
        await world.until(lambda: _is_closed(world, run), "the approval is asked for again")


async def test_what_may_not_be_skipped_names_the_other_verb() -> None:
    """Nobody's own approval, no gate that has a verb, none that is open or not there."""
    async with asking(ApprovalGate(MANAGERS), author="ana@work.example") as (world, run):
        skip = world.actions.skip
        told = await skip(ANA, run.id, "approval", plan="", reason="mine")
        reason = await refused(world, told, 403, "ana", "skip")
        assert "nobody skips the approval of what they made" in reason
        entry = await last_audit(world)
        kept = dict(entry.details)
        assert kept.pop("before") == kept.pop("after")
        assert kept == {"gate": "approval", "plan": "", "reason": "mine"}

        done(await world.actions.suspend(SAM, PRODUCTION, "audit"))
        told = await skip(KIM, run.id, "suspend", plan="", reason="now")
        assert await refused(world, told, 409, "kim", "skip") == (
            "suspend is not skipped: a suspension is lifted, not passed; "
            "gitopsd resume shop production"
        )
        for gate, status, said in (
            ("budget", 409, "budget is open already"),
            ("soak", 404, f"{run.id} has no gate soak; it has approval, slot, freeze,"),
        ):
            told = await skip(KIM, run.id, gate, plan="", reason="now")
            assert (await refused(world, told, status, "kim", "skip")).startswith(said)
        told = await skip(KIM, run.id, "approval", plan="sha256:old", reason="now")
        assert "the plan changed" in await refused(world, told, 409, "kim", "skip")
        done(await skip(KIM, run.id, "approval", plan=str(run.plan), reason="now"))
        told = await skip(KIM, run.id, "approval", plan="", reason="now")
        assert await refused(world, told, 409, "kim", "skip") == (
            "approval is open already: skipped by kim: now"
        )


async def _is_replaced(world: World, run: Run) -> bool:
    return (await world.run(run.id)).phase is Phase.ABORTED


async def _waits_for(world: World, sha: CommitSha | None) -> bool:
    releases = {release.commit.sha: release.id for release in await world.releases()}
    wanted: ReleaseId | None = next(
        (release for commit, release in releases.items() if commit == sha), None
    )
    runs = await world.runs(PRODUCTION)
    return any(run.release == wanted and run.live and run.step is Step.GATE for run in runs)


async def _is_open(world: World, run: Run) -> bool:
    return isinstance(await answer(world, run), Open)


async def _is_closed(world: World, run: Run) -> bool:
    return isinstance(await answer(world, run), Closed)


def _token(tx: Transaction) -> Token:
    return Token("t-ana", "hash", "ana", (), "approver", (), tx.now)


async def test_a_vote_that_does_not_count_any_more_keeps_no_newer_release_waiting() -> None:
    """While it counts, its release stays at the Gate; when its giver has left, it goes."""
    async with asking(ApprovalGate(MANAGERS, count=2)) as (world, run):
        done(await world.actions.approve(ANA, run.id, "", ""))
        newer = await world.push("3", config_map("settings", mode="3"))
        await world.clock.sleep(timedelta(minutes=10))
        assert (await world.run(run.id)).live

        _, *others = PEOPLE.persons
        await employ(world, People(tuple(others)))
        await until_waiting(world, newer)
        ended = await world.run(run.id)
        assert ended.failure is not None
        assert ended.failure.reason == AbortReason.SUPERSEDED.value
