"""What makes Git agree with a rollback: which files change, and when a person is left with it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.agreements import Agreement, AgreementState
from gitopsd.domain.config import RollbackGit
from gitopsd.domain.releases import ApplicationName, Release, ReleaseId
from gitopsd.domain.runs import Phase, Run, RunId, RunKind
from gitopsd.domain.sources import Commit, CommitSha, FileEntry, RefName, RepoURL
from gitopsd.pipeline.agreeing import (
    GIVE_UP_AFTER,
    AgreeFacts,
    Nothing,
    Trouble,
    Undo,
    branch_of,
    commit,
    compose_undo,
    compute_undo,
    judge_need,
    needs_telling,
    note_trouble,
    say_by_hand,
    say_contested,
    say_disagreement,
    settle,
    short,
    trailer_of,
)
from tests.support.gate_facts import KEY, NOON

OLD, NEW, OTHER = (FileEntry(0o100644, one * 40) for one in "abc")
MINUTE = timedelta(minutes=1)
SHA = CommitSha("5" * 40)
RUN = Run(
    id=RunId("run-7-rb"),
    stage=KEY,
    release=ReleaseId("r-1"),
    kind=RunKind.ROLLBACK,
    phase=Phase.SUCCEEDED,
)
AGREEMENT = Agreement(
    run=RUN.id,
    stage=KEY,
    policy=RollbackGit.REVERT_COMMIT,
    repo=RepoURL("https://git.example/shop.git"),
    ref=RefName("refs/heads/main"),
    since=NOON,
)


def release(name: str, sha: str) -> Release:
    """Make a release of one commit."""
    return Release(ReleaseId(name), ApplicationName("shop"), Commit(CommitSha(sha * 40)))


RESTORED, FAILED = release("r-1", "1"), release("r-2", "2")


@pytest.mark.parametrize(
    "before,wrong,now,files",
    [
        (OLD, NEW, NEW, {"a": OLD}),
        (None, NEW, NEW, {"a": None}),
        (OLD, None, None, {"a": OLD}),
        (OLD, NEW, OLD, {}),
        (OLD, OLD, NEW, {}),
        (OLD, OLD, None, {}),
    ],
    ids=["changed", "added", "deleted", "undone already", "changed later alone", "deleted later"],
)
def test_what_the_failed_release_changed_is_as_before(
    before: FileEntry | None,
    wrong: FileEntry | None,
    now: FileEntry | None,
    files: dict[str, FileEntry | None],
) -> None:
    """Changed, added and deleted files go back; what the release did not touch is left alone."""
    trees = [{"a": one} if one is not None else {} for one in (before, wrong, now)]
    assert compute_undo({"a"}, *trees) == Undo(files)


@pytest.mark.parametrize("now", [OTHER, None], ids=["changed again", "deleted since"])
def test_one_file_that_somebody_changed_since_stops_all_of_it(now: FileEntry | None) -> None:
    """Half of a release is never undone."""
    head = {"a": NEW} | ({"b": now} if now is not None else {})
    undo = compute_undo({"a", "b"}, {"a": OLD, "b": OLD}, {"a": NEW, "b": NEW}, head)
    assert undo == Undo({}, ("b",))


def test_contested_files_are_named_three_at_most() -> None:
    """And how many more there are."""
    said = say_contested(Undo(contested=("a", "b")), FAILED, "main")
    assert said.startswith(f"a, b changed on main since {'2' * 12}, so nothing is undone there")
    more = say_contested(Undo(contested=tuple("abcde")), FAILED, "main")
    assert more.startswith("a, b, c and 2 more changed on main")


def test_the_message_says_what_was_taken_back_and_for_which_run() -> None:
    """A subject for people, the reason, and a trailer for whoever looks for the commit."""
    assert compose_undo(RUN, FAILED, RESTORED, "it crashed") == (
        f"Undo {'2' * 12} in shop\n\n"
        f"{KEY} is back on r-1 ({'1' * 12}): it crashed\n\n"
        f"What shop reads is again as in {'1' * 40}; all other files are left alone.\n\n"
        f"Gitopsd-Stage: {KEY}\nGitopsd-Release: r-2\nGitopsd-Run: run-7-rb\n"
    )
    assert f"is back on r-1 ({'1' * 12})\n" in compose_undo(RUN, FAILED, RESTORED, "")
    assert "x" * 501 not in compose_undo(RUN, FAILED, RESTORED, "x" * 600)
    assert trailer_of(RUN.id) == "Gitopsd-Run: run-7-rb"


def test_there_is_something_to_commit_while_the_stage_runs_what_was_restored() -> None:
    """Otherwise it says why not."""
    facts = AgreeFacts(RUN, FAILED, RESTORED, runs_restored=True)
    assert judge_need(facts) is None
    left, unneeded = AgreementState.LEFT_TO_PERSON, AgreementState.UNNEEDED
    message = "it is not known any more what was taken back; revert it by hand"
    for lost in (replace(facts, failed=None), replace(facts, restored=None)):
        assert judge_need(lost) == Nothing(left, message)
    elsewhere = judge_need(replace(facts, runs_restored=False))
    assert elsewhere == Nothing(unneeded, f"{KEY} runs something else by now")
    images = judge_need(replace(facts, failed=replace(FAILED, commit=RESTORED.commit)))
    message = f"both releases are commit {'1' * 12}: only images changed, and what failed is "
    assert images == Nothing(unneeded, f"{message}quarantined")
    own = judge_need(replace(facts, failed_is_own=True))
    assert own is not None
    assert own.state is left
    assert own.message.startswith(f"{'2' * 12} is gitopsd's own commit")


def test_it_ends_with_a_commit_or_with_a_reason() -> None:
    """Both are settled; while it waits it is not."""
    assert not AGREEMENT.settled
    done = commit(AGREEMENT, SHA, NOON)
    assert (done.state, done.commit, done.settled) == (AgreementState.COMMITTED, SHA, True)
    assert done.message == f"commit {short(SHA)} on main says so"
    nothing = settle(AGREEMENT, Nothing(AgreementState.UNNEEDED, "why"), NOON)
    assert (nothing.state, nothing.message, nothing.commit) == (
        AgreementState.UNNEEDED,
        "why",
        None,
    )


def test_three_refusals_leave_it_to_a_person() -> None:
    """Each is waited after; the third is the last."""
    agreement, waits = AGREEMENT, []
    for _ in range(3):
        agreement, wait = note_trouble(agreement, Trouble("no", refused=True), NOON)
        waits.append(wait)
    assert waits == [MINUTE, 2 * MINUTE, None]
    assert (agreement.state, agreement.refusals) == (AgreementState.LEFT_TO_PERSON, 3)
    assert agreement.message == f"no; {say_by_hand(AGREEMENT)}"


def test_what_is_left_to_a_person_says_what_to_do_by_hand() -> None:
    """Have it tried again, or what comes to the same."""
    again = "when that is mended: gitopsd retry run-7-rb, or"
    by_hand = "revert by hand what should not stay on main"
    assert say_by_hand(AGREEMENT) == f"{again} {by_hand}"
    pin = replace(AGREEMENT, policy=RollbackGit.PIN)
    assert say_by_hand(pin) == f"{again} push a fix to main"


@pytest.mark.parametrize("minutes,wait", [(0, 1), (2, 1), (3, 2), (10, 5), (20, 10), (600, 10)])
def test_a_remote_that_is_away_is_asked_less_and_less_often(minutes: int, wait: int) -> None:
    """Ten minutes at most lie between two tries, and after a day it is over."""
    at = NOON + minutes * MINUTE
    after, waits = note_trouble(AGREEMENT, Trouble("away"), at)
    assert (waits, after.message, after.settled) == (wait * MINUTE, "away", False)


def test_after_a_day_it_is_left_to_a_person() -> None:
    """Whatever the trouble is."""
    after, wait = note_trouble(AGREEMENT, Trouble("away"), NOON + GIVE_UP_AFTER)
    assert (wait, after.state) == (None, AgreementState.LEFT_TO_PERSON)


def test_people_are_told_once_when_it_needs_one_of_them() -> None:
    """At once when only a person can mend it, else when it is left to them."""
    left = replace(AGREEMENT, state=AgreementState.LEFT_TO_PERSON, message="no")
    assert needs_telling(AGREEMENT, left)
    assert needs_telling(AGREEMENT, AGREEMENT, lasting=True)
    assert not needs_telling(AGREEMENT, AGREEMENT)
    assert not needs_telling(replace(AGREEMENT, told=True), left, lasting=True)
    assert say_disagreement(left, KEY) == f"{KEY} was rolled back and main does not say so: no"
    assert branch_of("refs/heads/a/b") == "a/b"
