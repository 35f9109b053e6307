"""How far Git agrees with Rollbacks, and the commits made for that: every store alike."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from gitopsd.domain.agreements import Agreement, AgreementState, OwnCommit
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import RunId
from gitopsd.domain.sources import CommitSha, RefName, RepoURL
from gitopsd.store_ports import Store
from tests.support.store_steps import each

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
REPO = RepoURL("https://git.example/shop.git")
ONE, TWO = CommitSha("1" * 40), CommitSha("2" * 40)
AGREEMENT = Agreement(
    run=RunId("run-1-rb"),
    stage=StageKey(ApplicationName("shop"), StageName("staging")),
    policy=RollbackGit.REVERT_COMMIT,
    repo=REPO,
    ref=RefName("refs/heads/main"),
    since=NOON,
)


async def test_an_agreement_is_kept_and_replaced(store: Store) -> None:
    """One for each Rollback, as it was saved last."""
    run = AGREEMENT.run
    assert await store.read(lambda tx: tx.agreements.get(run)) is None
    await store.transact(lambda tx: tx.agreements.save(AGREEMENT))
    assert await store.read(lambda tx: tx.agreements.get(run)) == AGREEMENT
    done = replace(
        AGREEMENT,
        state=AgreementState.COMMITTED,
        commit=ONE,
        message="done",
        refusals=2,
        told=True,
        tried_at=NOON,
    )
    await store.transact(lambda tx: tx.agreements.save(done))
    assert await store.read(lambda tx: tx.agreements.get(run)) == done


async def test_own_commits_are_known_by_repository_and_id(store: Store) -> None:
    """In the order they were made; the first run of a commit stays its owner."""
    run, other = AGREEMENT.run, RunId("run-2-rb")
    made = [OwnCommit(REPO, TWO, run, NOON), OwnCommit(REPO, ONE, run, NOON)]
    again = OwnCommit(REPO, ONE, other, NOON)
    await each(store, (*made, again), lambda tx, one: tx.agreements.own(one))

    assert list(await store.read(lambda tx: tx.agreements.commits(run))) == [TWO, ONE]
    assert list(await store.read(lambda tx: tx.agreements.commits(other))) == []
    assert await store.read(lambda tx: tx.agreements.owner(REPO, ONE)) == run
    elsewhere = RepoURL("https://git.example/other.git")
    assert await store.read(lambda tx: tx.agreements.owner(elsewhere, ONE)) is None


async def test_what_is_dropped_is_gone_with_its_commits(store: Store) -> None:
    """Others stay; dropping again, or nothing, does nothing."""
    kept = replace(AGREEMENT, run=RunId("run-2-rb"))
    made = [OwnCommit(REPO, ONE, AGREEMENT.run, NOON), OwnCommit(REPO, TWO, kept.run, NOON)]
    await each(store, (AGREEMENT, kept), lambda tx, one: tx.agreements.save(one))
    await each(store, made, lambda tx, one: tx.agreements.own(one))
    nobody: list[RunId] = []
    drops = ([AGREEMENT.run], [AGREEMENT.run], nobody)
    await each(store, drops, lambda tx, runs: tx.agreements.drop(runs))

    assert await store.read(lambda tx: tx.agreements.get(AGREEMENT.run)) is None
    assert await store.read(lambda tx: tx.agreements.owner(REPO, ONE)) is None
    assert await store.read(lambda tx: tx.agreements.get(kept.run)) == kept
    assert await store.read(lambda tx: tx.agreements.owner(REPO, TWO)) == kept.run
