"""Makes Git agree with a Rollback that succeeded: at most one commit, and never by force.

The commit's id is stored before it is pushed, and its message names the run. So whoever comes
after a crash finds on the branch whether it is there already; and a commit of our own is known as
such wherever it turns up.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.agreements import Agreement, AgreementState, OwnCommit
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.sources import CommitSha
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import Page, WorkItem
from gitopsd.engine.effects import find_undone
from gitopsd.engine.looks import want_look
from gitopsd.engine.notifications import notify
from gitopsd.engine.pin_commits import plan_pin
from gitopsd.engine.services import Services
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.engine.undoing import Case, Change, plan_undo
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_text
from gitopsd.pipeline.agreeing import (
    AgreeFacts,
    Nothing,
    Trouble,
    branch_of,
    commit,
    judge_need,
    needs_telling,
    note_trouble,
    say_disagreement,
    settle,
    trailer_of,
)
from gitopsd.pipeline.commands import Trigger
from gitopsd.source_ports import CommitDraft
from gitopsd.store_ports import Transaction

LASTING = frozenset({"Credential", "HostKey", "Certificate", "RepositoryNotFound"})
"""What only a person can mend, though a remote may take it back by itself."""

MOVES = 5
"""How often a branch may move away while one try is made."""

LOOKED_THROUGH = 1000
"""Commits of a branch that are searched for one that follows the run."""

BEFORE_PINNING = timedelta(seconds=15)
"""What waited while a Rollback ran begins first; after that, between two looks at what writes."""

_LOG = logging.getLogger(__name__)


async def agree_in_git(services: Services, item: WorkItem) -> timedelta | None:
    """Try once; returns when to try again, None when it is settled.

    Safe to repeat: before a commit is made, the branch is searched for one that follows the run,
    by the ids that were stored and by the trailer; equal facts make the equal commit; and a push
    moves the branch only from the commit that was read.
    """
    run = RunId(item.subject)
    found = await services.store.read(lambda tx: _load(tx, run))
    if found is None or isinstance(found, timedelta):
        return found
    try:
        done = found if isinstance(found, Nothing) else await _try(services, found)
    except PermanentError as error:
        done = Trouble(error.message, lasting=True)
    except TemporaryError as error:
        done = Trouble(error.message, lasting=error.reason in LASTING)
    if isinstance(done, Trouble):
        return await _record_trouble(services, run, done)
    ended = done
    await _record(services, run, lambda one, tx: _end(one, ended, tx))
    return None


def _end(agreement: Agreement, done: CommitSha | Nothing, tx: Transaction) -> Agreement:
    if isinstance(done, Nothing):
        return settle(agreement, done, tx.now)
    return commit(agreement, done, tx.now)


def _load(tx: Transaction, name: RunId) -> Case | Nothing | timedelta | None:
    agreement, run = tx.agreements.get(name), tx.runs.get(name)
    if agreement is None or run is None or agreement.settled:
        return None
    undone = find_taken_back(tx, run)
    failed = tx.releases.get(undone.release) if undone is not None else None
    restored = tx.releases.get(run.release)
    stage = tx.stages.get(run.stage)
    applied = stage.applied.rendered if stage is not None and stage.applied else None
    pins = agreement.policy is RollbackGit.PIN
    own = failed is not None and tx.agreements.owner(agreement.repo, failed.commit.sha) is not None
    # A pin contests nothing, so it may follow a commit of our own as well.
    facts = AgreeFacts(run, failed, restored, applied == run.rendered, own and not pins)
    nothing = judge_need(facts)
    if nothing is not None or failed is None or restored is None:
        return nothing
    if pins and stage is not None and _may_be_written(tx, stage, agreement):
        return BEFORE_PINNING  # what is on its way may be verified, and then nothing is pinned
    own_commits = tuple(tx.agreements.commits(name))
    return Case(run, agreement, failed, restored, _reason(run, undone), own_commits)


def _may_be_written(tx: Transaction, stage: Stage, agreement: Agreement) -> bool:
    front = tx.runs.get(stage.front) if stage.front is not None else None
    return tx.now < agreement.since + BEFORE_PINNING or (front is not None and front.live)


def find_taken_back(tx: Transaction, rollback: Run) -> Run | None:
    """Find the run whose bytes a Rollback replaced.

    An automatic one is named after it. One that a person asked for replaced what ran: the last
    run before it that may have written something else.
    """
    named = tx.runs.get(find_undone(rollback))
    if named is not None and named.stage == rollback.stage:
        return named
    page = Page(100)
    while rows := tx.runs.page(page, stage=rollback.stage):
        for run in rows:
            earlier = _is_before(run, rollback)
            if earlier and run.mutated and run.release != rollback.release:
                return run
        page = replace(page, before=rows[-1].id)
    return None


def _is_before(run: Run, rollback: Run) -> bool:
    if run.created_at is None or rollback.created_at is None:
        return False
    return run.id != rollback.id and run.created_at <= rollback.created_at


def _reason(run: Run, undone: Run | None) -> str:
    if undone is not None and undone.failure is not None:
        return redact_text(undone.failure.message)
    return f"rolled back by {run.requested_by}" if run.requested_by else ""


async def _try(services: Services, case: Case) -> CommitSha | Nothing | Trouble:
    """Commit on top of the branch as it is; a branch that moved meanwhile is read anew."""
    agreement, git = case.agreement, services.repositories
    repo, ref = agreement.repo, agreement.ref
    refused: tuple[CommitSha, str] | None = None
    for _ in range(MOVES):
        head = await git.fetch_head(repo, ref)
        if head is None:
            what = f"there is no {branch_of(ref)} any more; what runs keeps running"
            return Nothing(AgreementState.LEFT_TO_PERSON, what)
        there = await _find_there(services, case, head.commit.sha)
        if there is not None:
            return there
        if refused is not None and refused[0] == head.commit.sha:
            return Trouble(f"the push to {branch_of(ref)} is refused: {refused[1]}", refused=True)
        change = await _plan(services, case, head.commit.sha)
        if not isinstance(change, Change):
            return change
        draft = CommitDraft(head.commit.sha, change.files, change.message, agreement.since)
        sha = await git.write_commit(repo, draft)
        await _own(services, OwnCommit(repo, sha, case.run.id, services.clock.now()))
        refusal = await git.push_commit(repo, ref, sha, onto=head.commit.sha)
        if refusal is None:
            return sha
        refused = (head.commit.sha, redact_text(refusal))
    what = f"{branch_of(ref)} moved {MOVES} times while this was tried"
    return Trouble(what, refused=True)


async def _own(services: Services, made: OwnCommit) -> None:
    """Store a commit before anybody can see it. Safe to repeat: it is kept once."""
    await services.store.transact(lambda tx: tx.agreements.own(made))


async def _find_there(services: Services, case: Case, head: CommitSha) -> CommitSha | None:
    """Find the commit that follows the run, if the branch has it."""
    git, repo = services.repositories, case.agreement.repo
    for sha in case.own:
        if await git.contains(repo, head, sha):
            return sha
    return await git.fetch_marked(repo, head, trailer_of(case.run.id), LOOKED_THROUGH)


async def _plan(services: Services, case: Case, head: CommitSha) -> Change | Nothing:
    if case.agreement.policy is RollbackGit.PIN:
        return await plan_pin(services, case, head)
    return await plan_undo(services, case, head)


async def _record_trouble(services: Services, run: RunId, trouble: Trouble) -> timedelta | None:
    waits: list[timedelta | None] = [None]

    def note(agreement: Agreement, tx: Transaction) -> Agreement:
        message = redact_text(trouble.message)
        after, waits[0] = note_trouble(agreement, replace(trouble, message=message), tx.now)
        return after

    _LOG.warning("%s: Git does not agree yet: %s", run, trouble.message)
    await _record(services, run, note, lasting=trouble.lasting)
    return waits[0]


async def _record(
    services: Services,
    name: RunId,
    change: Callable[[Agreement, Transaction], Agreement],
    *,
    lasting: bool = False,
) -> None:
    """Store how it went, and tell people what they have to know."""
    config = services.configuration()

    def work(tx: Transaction) -> None:
        before, run = tx.agreements.get(name), tx.runs.get(name)
        if before is None or run is None or before.settled:
            return
        after = change(before, tx)
        if needs_telling(before, after, lasting=lasting):
            message = say_disagreement(after, run.stage)
            notify(tx, run, Trigger.GIT_DISAGREES, message, config, anew=True)
            after = replace(after, told=True)
        if after.commit is not None:
            want_look(tx, after.repo, after.ref, expected=after.commit)
            message = f"{run.stage} was rolled back, and Git agrees: {after.message}"
            notify(tx, run, Trigger.GIT_AGREES, message, config, anew=True)
        tx.agreements.save(after)

    await retry_conflicts(services.store, work)
