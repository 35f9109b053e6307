"""Runs and what is kept with them, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import (
    CommandId,
    Failure,
    LastLook,
    Phase,
    Run,
    RunId,
    RunKind,
    Step,
)
from gitopsd.domain.verifications import RestoreTarget, StallReason, VerificationId
from gitopsd.domain.work import (
    Evidence,
    EvidenceKind,
    HookRun,
    HookState,
    LiveState,
    Page,
    RunEvent,
)
from gitopsd.errors import ConflictError
from gitopsd.store_ports import Store, Transaction
from tests.support.store_steps import each
from tests.support.store_values import (
    MINUTE,
    NOON,
    PRODUCTION,
    SHOP,
    STAGING,
    commit_of,
    digest_of,
    release,
    run,
)

ID = RunId("run-1")


def _target(name: str) -> RestoreTarget:
    return RestoreTarget(VerificationId(name), ReleaseId("r-0"), digest_of("r-0"), 2)


FULL = Run(
    ID,
    STAGING,
    ReleaseId("r-1"),
    RunKind.ROLLBACK,
    phase=Phase.RUNNING,
    step=Step.WAIT_HEALTHY,
    attempt=3,
    command=CommandId("c-1"),
    step_deadline=NOON + MINUTE,
    clock_stopped_at=NOON,
    started_at=NOON,
    created_at=NOON,
    ended_at=NOON,
    mutated=True,
    superseded_by=RunId("run-2"),
    aborting=True,
    aborting_restore=True,
    timeouts=((Step.APPLY, timedelta(minutes=5)), (Step.VERIFY, timedelta(milliseconds=1))),
    redirect=_target("v-2"),
    spec=4,
    rendered=digest_of("set"),
    plan=digest_of("plan"),
    plan_empty=True,
    restore_target=_target("v-1"),
    no_restore=StallReason.SAME_BYTES,
    requested_by="ana",
    attempt_number=2,
    last_look=LastLook.NOT_HEALTHY,
    cursor="wave 2",
    failure=Failure("CrashLoopBackOff", "Deployment api: é \x00", Step.WAIT_HEALTHY),
)


async def test_a_run_comes_back_as_it_was_stored(store: Store) -> None:
    """Every field of a run is kept, whatever text the cluster put into it."""
    await store.transact(lambda tx: tx.runs.add(replace(FULL, version=7)))

    assert await store.read(lambda tx: tx.runs.get(ID)) == replace(FULL, version=0)
    assert await store.read(lambda tx: tx.runs.get(RunId("run-2"))) is None


async def test_a_run_is_made_once(store: Store) -> None:
    """A second run of the same id conflicts and changes nothing."""
    await store.transact(lambda tx: tx.runs.add(run(ID)))

    with pytest.raises(ConflictError, match="run-1"):
        await store.transact(lambda tx: tx.runs.add(FULL))

    assert await store.read(lambda tx: tx.runs.get(ID)) == run(ID)


async def test_a_save_needs_the_version_that_was_read(store: Store) -> None:
    """The first of two savers wins; the second is told, and nothing of it is stored."""
    await store.transact(lambda tx: tx.runs.add(run(ID)))
    first = replace(run(ID), phase=Phase.RUNNING, step=Step.RENDER, version=1)
    second = replace(run(ID), phase=Phase.ABORTED, version=1)

    await store.transact(lambda tx: tx.runs.save(first, expected_version=0))
    with pytest.raises(ConflictError, match="version 0"):
        await store.transact(lambda tx: tx.runs.save(second, expected_version=0))
    unknown = replace(first, id=RunId("run-9"))
    with pytest.raises(ConflictError):
        await store.transact(lambda tx: tx.runs.save(unknown, expected_version=0))

    assert await store.read(lambda tx: tx.runs.get(ID)) == first
    assert await store.read(lambda tx: tx.runs.get(RunId("run-9"))) is None


async def test_live_runs_are_those_that_can_still_change(store: Store) -> None:
    """Pending and Running runs are live, oldest first, until a save ends them."""

    def fill(tx: Transaction) -> None:
        for number, phase in enumerate(Phase):
            tx.runs.add(run(f"run-{number}", phase=phase))

    await store.transact(fill)
    live = await store.read(lambda tx: tx.runs.live())
    assert [one.phase for one in live] == [Phase.PENDING, Phase.RUNNING]

    ended = replace(live[0], phase=Phase.SUCCEEDED, version=1)
    await store.transact(lambda tx: tx.runs.save(ended, expected_version=0))
    assert await store.read(lambda tx: tx.runs.live()) == [live[1]]


async def test_runs_are_listed_newest_first_page_by_page(store: Store) -> None:
    """All runs, or those of an application, a stage, a release; a cursor goes on."""
    elsewhere = StageKey(ApplicationName("other"), StageName("staging"))

    def fill(tx: Transaction) -> None:
        tx.runs.add(run("run-1"))
        tx.runs.add(run("run-2", stage=PRODUCTION))
        tx.runs.add(run("run-3", stage=elsewhere))
        tx.runs.add(run("run-4", of="r-2"))
        tx.runs.add(run("run-5"))

    await store.transact(fill)

    async def ids(tx_page: Page, **only: object) -> list[str]:
        rows = await store.read(lambda tx: tx.runs.page(tx_page, **only))  # type: ignore[arg-type]  # filters by name
        return [str(row.id) for row in rows]

    assert await ids(Page()) == ["run-5", "run-4", "run-3", "run-2", "run-1"]
    assert await ids(Page(), application=SHOP) == ["run-5", "run-4", "run-2", "run-1"]
    assert await ids(Page(), stage=STAGING) == ["run-5", "run-4", "run-1"]
    assert await ids(Page(), stage=STAGING, release=ReleaseId("r-1")) == ["run-5", "run-1"]
    assert await ids(Page(2), stage=STAGING) == ["run-5", "run-4"]
    assert await ids(Page(2, "run-4"), stage=STAGING) == ["run-1"]
    assert await ids(Page(2, "run-1")) == []


async def test_the_last_rollout_of_each_release_counts(store: Store) -> None:
    """A release's last Rollout in the stage is found, not its Rollbacks, not other stages'."""

    def fill(tx: Transaction) -> None:
        tx.runs.add(run("run-1"))
        tx.runs.add(run("run-2", of="r-2"))
        tx.runs.add(run("run-3", phase=Phase.ERRORED))
        tx.runs.add(run("run-4", kind=RunKind.ROLLBACK))
        tx.runs.add(run("run-5", kind=RunKind.SYNC))
        tx.runs.add(run("run-6", stage=PRODUCTION))

    await store.transact(fill)

    last = await store.read(lambda tx: dict(tx.runs.last_rollouts(STAGING)))
    assert last == {
        ReleaseId("r-1"): run("run-3", phase=Phase.ERRORED),
        ReleaseId("r-2"): run("run-2", of="r-2"),
    }


async def test_automatic_rollbacks_are_counted_since_a_moment(store: Store) -> None:
    """Those that a person asked for, other kinds, other stages and earlier ones do not count."""
    automatic = run("run-1", kind=RunKind.ROLLBACK)

    def fill(tx: Transaction) -> None:
        tx.runs.add(automatic)
        tx.runs.add(replace(automatic, id=RunId("run-2"), created_at=NOON + MINUTE))
        tx.runs.add(replace(automatic, id=RunId("run-3"), created_at=NOON - MINUTE))
        tx.runs.add(replace(automatic, id=RunId("run-4"), requested_by="ana"))
        tx.runs.add(replace(automatic, id=RunId("run-5"), kind=RunKind.ROLLOUT))
        tx.runs.add(replace(automatic, id=RunId("run-6"), stage=PRODUCTION))
        tx.runs.add(replace(automatic, id=RunId("run-7"), created_at=None))

    await store.transact(fill)

    assert await store.read(lambda tx: tx.runs.rollbacks_since(STAGING, NOON)) == 2


async def test_failures_of_a_commit_are_counted_over_applications(store: Store) -> None:
    """Failed Rollouts of the commit in stages of the name count, in whatever application."""
    other = ApplicationName("other")

    def fill(tx: Transaction) -> None:
        tx.releases.add(release("r-1", commit="bad"))
        tx.releases.add(release("r-2", commit="bad", application=other))
        tx.releases.add(release("r-3", commit="good"))
        failed = run("run-1", phase=Phase.FAILED)
        tx.runs.add(failed)
        there = StageKey(other, STAGING.stage)
        tx.runs.add(replace(failed, id=RunId("run-2"), stage=there, release=ReleaseId("r-2")))
        tx.runs.add(replace(failed, id=RunId("run-3"), release=ReleaseId("r-3")))
        tx.runs.add(replace(failed, id=RunId("run-4"), stage=PRODUCTION))
        tx.runs.add(replace(failed, id=RunId("run-5"), phase=Phase.ERRORED))
        tx.runs.add(replace(failed, id=RunId("run-6"), kind=RunKind.ROLLBACK))
        tx.runs.add(replace(failed, id=RunId("run-7"), release=ReleaseId("r-unknown")))

    await store.transact(fill)

    bad, stage = commit_of("bad"), "staging"
    assert await store.read(lambda tx: tx.runs.failed_with_commit(bad, stage)) == 2
    assert await store.read(lambda tx: tx.runs.failed_with_commit(commit_of("x"), stage)) == 0


async def test_a_runs_log_is_numbered_from_one(store: Store) -> None:
    """Events get their numbers in each run's own log and are read oldest first."""
    event = RunEvent(ID, 0, NOON, "StepSucceeded", Step.APPLY, "Running", "applied", {"n": [1, 2]})
    other = RunEvent(RunId("run-2"), 0, NOON, "RunAdmitted", None, "Running")

    events = (event, other, replace(event, name="RunEnded", at=NOON + MINUTE))
    appended = await each(store, events, lambda tx, one: tx.runs.append_event(one))

    assert [one.sequence for one in appended] == [1, 1, 2]
    assert await store.read(lambda tx: tx.runs.events(ID)) == [appended[0], appended[2]]
    assert await store.read(lambda tx: tx.runs.events(RunId("run-2"))) == [appended[1]]
    assert await store.read(lambda tx: tx.runs.events(RunId("run-3"))) == []


async def test_evidence_of_one_key_is_replaced(store: Store) -> None:
    """Evidence without a key is appended; with one, the last of its run, step and kind stays."""
    plain = Evidence(ID, Step.VERIFY, EvidenceKind.CHECK, NOON, {"status": 500})
    keyed = replace(plain, key="api", at=NOON + MINUTE)
    newer = replace(keyed, content=["fine", None, 0.5], at=NOON + 3 * MINUTE)
    other = replace(keyed, step=Step.CERTIFY, at=NOON + 2 * MINUTE)

    await each(
        store,
        (plain, plain, keyed, other, newer, replace(plain, run=RunId("run-2"))),
        lambda tx, one: tx.runs.put_evidence(one),
    )

    assert await store.read(lambda tx: tx.runs.evidence(ID)) == [plain, plain, other, newer]


async def test_what_a_rollback_found_is_kept_once(store: Store) -> None:
    """The first is from before anything was written; numbers of any size and odd text come back."""
    found: JsonObject = {"kind": "ConfigMap", "data": {"a": "\ud800"}, "n": [2**70, 0.5, None]}
    first = LiveState(ID, NOON, (found, {}), ("Secret shop/db: forbidden",))

    assert await store.read(lambda tx: tx.runs.live_state(ID)) is None
    await each(
        store,
        (first, replace(first, objects=(), at=NOON + MINUTE)),
        lambda tx, state: tx.runs.put_live_state(state),
    )

    assert await store.read(lambda tx: tx.runs.live_state(ID)) == first


async def test_a_hook_is_remembered_by_run_and_name(store: Store) -> None:
    """The last that was saved of a hook is what is known; another run knows nothing of it."""
    started = HookRun(ID, "Job shop/migrate", "", HookState.STARTED)
    ended = replace(started, uid="u-1", state=HookState.FAILED, message="exit code 3")

    await each(store, (started, ended), lambda tx, hook: tx.runs.save_hook(hook))

    assert await store.read(lambda tx: tx.runs.hook(ID, "Job shop/migrate")) == ended
    assert await store.read(lambda tx: tx.runs.hook(ID, "Job shop/other")) is None
    assert await store.read(lambda tx: tx.runs.hook(RunId("run-2"), ended.name)) is None
