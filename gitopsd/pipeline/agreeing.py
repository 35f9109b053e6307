"""What makes Git agree with a rollback: which files change, and when it is left to a person.

Theory: the branch is a line of wishes. A rollback undoes one of them, so the files that the failed
release changed become again what they were in the restored one. A file that somebody changed since
is a newer wish: it is judged by itself, and then nothing is undone at all, for half of a release is
one that nobody ever wrote.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.releases import Release, StageKey
from gitopsd.domain.runs import Run, RunId
from gitopsd.domain.sources import CommitSha, FileEntry

MOST_REFUSALS = 3
"""Refused pushes, each tried on what the branch held then, before it is left to a person."""

WAITS = tuple(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10))
"""Between two tries; the last one again and again."""

GIVE_UP_AFTER = timedelta(hours=24)
"""How long a remote that does not answer is tried again."""

MOST_SHOWN = 3

LONGEST_REASON = 500
"""Characters of a reason that go into a commit."""

_SHORT = 12
_TRAILER = "Gitopsd-Run"


@dataclass(frozen=True, slots=True)
class Undo:
    """What undoes a release on top of a branch.

    Attributes:
        files: Path -> what it holds then; None for a file that goes.
        contested: Paths that somebody changed since; then nothing may be undone.
    """

    files: Mapping[str, FileEntry | None] = field(default_factory=dict)
    contested: tuple[str, ...] = ()


def compute_undo(
    paths: Collection[str],
    restored: Mapping[str, FileEntry],
    failed: Mapping[str, FileEntry],
    head: Mapping[str, FileEntry],
) -> Undo:
    """Work out what makes a branch hold what was restored, as far as the failed release goes.

    Args:
        paths: Files that the application reads, before or after.
        restored: What they are in the restored release's commit; those it lacks are left out.
        failed: What they are in the failed one's.
        head: What they are on the branch now.
    """
    files: dict[str, FileEntry | None] = {}
    contested: list[str] = []
    for path in sorted(paths):
        before, wrong, now = restored.get(path), failed.get(path), head.get(path)
        if before in (wrong, now):
            continue
        if now == wrong:
            files[path] = before
        else:
            contested.append(path)
    return Undo({} if contested else files, tuple(contested))


def say_contested(undo: Undo, failed: Release, ref: str) -> str:
    """Say why nothing was undone."""
    shown = ", ".join(undo.contested[:MOST_SHOWN])
    more = len(undo.contested) - MOST_SHOWN
    files = f"{shown} and {more} more" if more > 0 else shown
    return (
        f"{files} changed on {ref} since {short(failed.commit.sha)}, so nothing is undone there: "
        "what is pushed since is judged by itself; revert by hand what should not stay"
    )


def short(sha: CommitSha) -> str:
    """Shorten a commit id for people."""
    return sha[:_SHORT]


def branch_of(ref: str) -> str:
    """Name a branch as people do."""
    return ref.removeprefix("refs/heads/")


def trailer_of(run: RunId) -> str:
    """The line of a commit message that says which Rollback the commit follows."""
    return f"{_TRAILER}: {run}"


def compose_message(
    subject: str, run: Run, failed: Release, restored: Release, reason: str, what: str
) -> str:
    """Write the message of the commit; the same facts make the same bytes.

    Args:
        subject: First line.
        run: The Rollback.
        failed: What was taken back.
        restored: What runs again.
        reason: Why, redacted; empty when nobody said.
        what: What the commit does, in one sentence.
    """
    why = f": {reason[:LONGEST_REASON]}" if reason else ""
    return (
        f"{subject}\n\n"
        f"{run.stage} is back on {restored.id} ({short(restored.commit.sha)}){why}\n\n"
        f"{what}\n\n"
        f"Gitopsd-Stage: {run.stage}\n"
        f"Gitopsd-Release: {failed.id}\n"
        f"{trailer_of(run.id)}\n"
    )


def compose_undo(run: Run, failed: Release, restored: Release, reason: str) -> str:
    """Write the message of a commit that undoes a release."""
    return compose_message(
        f"Undo {short(failed.commit.sha)} in {run.stage.application}",
        run,
        failed,
        restored,
        reason,
        f"What {run.stage.application} reads is again as in {restored.commit.sha}; "
        "all other files are left alone.",
    )


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a try came to nothing.

    Attributes:
        message: One sentence.
        refused: Whether the remote refused the push, after it was read anew.
        lasting: Whether it will be the same at the next try, unless a person does something.
    """

    message: str
    refused: bool = False
    lasting: bool = False


@dataclass(frozen=True, slots=True)
class Nothing:
    """Why there is no commit to make.

    Attributes:
        state: How it ends.
        message: Why, in one sentence.
    """

    state: AgreementState
    message: str


def settle(agreement: Agreement, nothing: Nothing, at: datetime) -> Agreement:
    """End it without a commit."""
    return replace(agreement, state=nothing.state, message=nothing.message, tried_at=at)


def commit(agreement: Agreement, sha: CommitSha, at: datetime) -> Agreement:
    """End it with a commit on the branch."""
    message = f"commit {short(sha)} on {branch_of(agreement.ref)} says so"
    return replace(
        agreement,
        state=AgreementState.COMMITTED,
        commit=sha,
        message=message,
        tried_at=at,
    )


def note_trouble(
    agreement: Agreement, trouble: Trouble, at: datetime
) -> tuple[Agreement, timedelta | None]:
    """Note a try that came to nothing; returns when to try again, None when that is over."""
    refusals = agreement.refusals + trouble.refused
    after = replace(agreement, message=trouble.message, refusals=refusals, tried_at=at)
    late = at - agreement.since >= GIVE_UP_AFTER
    if refusals >= MOST_REFUSALS or late:
        message = f"{trouble.message}; {say_by_hand(agreement)}"
        return replace(after, state=AgreementState.LEFT_TO_PERSON, message=message), None
    # What only a person can mend is told at once, and tried all the same: they may mend it.
    return after, _wait_of(after)


def say_by_hand(agreement: Agreement) -> str:
    """Say what a person does where gitopsd gave it up: by itself it is not tried again."""
    branch = branch_of(agreement.ref)
    if agreement.policy is RollbackGit.PIN:
        by_hand = f"push a fix to {branch}"
    else:
        by_hand = f"revert by hand what should not stay on {branch}"
    return f"when that is mended: gitopsd retry {agreement.run}, or {by_hand}"


def _wait_of(agreement: Agreement) -> timedelta:
    """Tell how long to wait: the more time went by, the longer, ten minutes at most."""
    if agreement.refusals:
        return WAITS[min(agreement.refusals, len(WAITS)) - 1]
    waited = (agreement.tried_at or agreement.since) - agreement.since
    return next((wait for wait in WAITS if waited <= wait * 2), WAITS[-1])


def needs_telling(before: Agreement, after: Agreement, *, lasting: bool = False) -> bool:
    """Tell whether people have to hear of it: once, when it needs one of them."""
    return not before.told and (lasting or after.state is AgreementState.LEFT_TO_PERSON)


def say_disagreement(agreement: Agreement, key: StageKey) -> str:
    """Say to people that Git still says what was taken back."""
    branch = branch_of(agreement.ref)
    return f"{key} was rolled back and {branch} does not say so: {agreement.message}"


@dataclass(frozen=True, slots=True)
class AgreeFacts:
    """What is known when Git is to agree with a Rollback.

    Attributes:
        run: The Rollback.
        failed: The release that was taken back; None when that is not known any more.
        restored: The release that runs again; None likewise.
        runs_restored: Whether the stage still runs what was restored.
        failed_is_own: Whether the commit that was taken back is gitopsd's own, where another one
            would undo it.
    """

    run: Run
    failed: Release | None
    restored: Release | None
    runs_restored: bool
    failed_is_own: bool = False


def judge_need(facts: AgreeFacts) -> Nothing | None:
    """Tell why there is nothing to commit; None when there may be."""
    stage = facts.run.stage
    if facts.failed is None or facts.restored is None:
        message = "it is not known any more what was taken back; revert it by hand"
        return Nothing(AgreementState.LEFT_TO_PERSON, message)
    if not facts.runs_restored:
        return Nothing(AgreementState.UNNEEDED, f"{stage} runs something else by now")
    if facts.failed.commit.sha == facts.restored.commit.sha:
        message = (
            f"both releases are commit {short(facts.failed.commit.sha)}: only images changed, and "
            "what failed is quarantined"
        )
        return Nothing(AgreementState.UNNEEDED, message)
    if facts.failed_is_own:
        message = (
            f"{short(facts.failed.commit.sha)} is gitopsd's own commit, and one of those is not "
            "undone by another; push what should run"
        )
        return Nothing(AgreementState.LEFT_TO_PERSON, message)
    return None
