"""What every source repository promises about commits of our own: the fake, and real remotes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from gitopsd.domain.sources import CommitSha, FileEntry, RefName
from gitopsd.errors import TemporaryError
from gitopsd.source_ports import CommitDraft
from tests.contracts.source_repository.conftest import Remote
from tests.support.repositories import MAIN

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
GONE = CommitSha("f" * 40)
STAGING, PRODUCTION = "staging/objects.yaml", "production/objects.yaml"
MESSAGE = "Undo it\n\nWhy not.\n\nGitopsd-Run: run-1\n"


async def _two(remote: Remote) -> tuple[CommitSha, CommitSha]:
    """Push two commits that differ in one of two files, and fetch them."""
    first = remote.commit("one", files={STAGING: '[{"a": 1}]', PRODUCTION: '[{"p": 1}]'})
    second = remote.commit("two", parent=first, files={STAGING: '[{"a": 2}]'})
    remote.push(MAIN, second)
    await remote.repositories.fetch_head(remote.url, MAIN)
    return first, second


async def _draft(remote: Remote, first: CommitSha, onto: CommitSha) -> CommitDraft:
    """Make of the first commit's file what the next commit holds."""
    files = await remote.repositories.fetch_files(remote.url, first, [STAGING])
    return CommitDraft(onto, dict(files), MESSAGE, NOON)


async def test_files_of_a_commit_have_an_id_for_their_content(remote: Remote) -> None:
    """Equal content has the equal id; what is no file, or not there, is left out."""
    first, second = await _two(remote)
    paths = [STAGING, PRODUCTION, "staging", "nowhere/objects.yaml"]
    before = await remote.repositories.fetch_files(remote.url, first, paths)
    after = await remote.repositories.fetch_files(remote.url, second, paths)

    assert set(before) == set(after) == {STAGING, PRODUCTION}
    assert before[PRODUCTION] == after[PRODUCTION]
    assert before[STAGING] != after[STAGING]
    with pytest.raises(TemporaryError) as caught:
        await remote.repositories.fetch_files(remote.url, GONE, paths)
    assert caught.value.reason == "CommitMissing"


async def test_a_pushed_commit_is_the_head_and_changes_what_it_says(remote: Remote) -> None:
    """On top of the head, with the other files as they were; equal drafts are one commit."""
    first, second = await _two(remote)
    draft = await _draft(remote, first, second)

    sha = await remote.repositories.write_commit(remote.url, draft)
    again = await remote.repositories.write_commit(remote.url, draft)
    refusal = await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)

    head = await remote.repositories.fetch_head(remote.url, MAIN, previous=second)
    assert (refusal, sha) == (None, again)
    assert head is not None
    assert (head.commit.sha, head.rewound) == (sha, False)
    assert (head.commit.subject, head.commit.author) == ("Undo it", "gitopsd")
    assert head.commit.committed_at == NOON
    paths = [STAGING, PRODUCTION]
    assert await remote.repositories.fetch_files(
        remote.url, sha, paths
    ) == await remote.repositories.fetch_files(remote.url, first, paths)


async def test_new_content_and_a_file_that_goes(remote: Remote) -> None:
    """A draft may bring content of its own, and take files away."""
    _, second = await _two(remote)
    files: dict[str, FileEntry | bytes | None] = {STAGING: b'[{"a": 3}]', PRODUCTION: None}

    sha = await remote.repositories.write_commit(
        remote.url, CommitDraft(second, files, MESSAGE, NOON)
    )
    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second) is None

    found = await remote.repositories.fetch_files(remote.url, sha, [STAGING, PRODUCTION])
    assert set(found) == {STAGING}


async def test_a_commit_is_found_by_a_line_of_its_message(remote: Remote) -> None:
    """A whole line, in the newest commits; a commit that was never pushed is in no history."""
    first, second = await _two(remote)
    sha = await remote.repositories.write_commit(remote.url, await _draft(remote, first, second))
    find = remote.repositories.fetch_marked
    assert await find(remote.url, second, "Gitopsd-Run: run-1", 10) is None
    await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)
    third = remote.commit("three", parent=sha)
    remote.push(MAIN, third)
    await remote.repositories.fetch_head(remote.url, MAIN)

    assert await find(remote.url, third, "Gitopsd-Run: run-1", 10) == sha
    assert await find(remote.url, third, "Gitopsd-Run: run-1", 1) is None
    assert await find(remote.url, third, "Gitopsd-Run: run", 10) is None


async def test_a_branch_that_moved_or_went_stays_as_it_is(remote: Remote) -> None:
    """A push from a commit that the ref does not point to any more is refused, never forced."""
    first, second = await _two(remote)
    sha = await remote.repositories.write_commit(remote.url, await _draft(remote, first, second))
    other = remote.commit("other", parent=second)
    remote.push(MAIN, other)

    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)
    head = await remote.repositories.fetch_head(remote.url, MAIN)
    remote.push(MAIN, first)
    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)
    remote.delete(MAIN)
    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)

    assert head is not None
    assert head.commit.sha == other
    assert await remote.repositories.fetch_head(remote.url, MAIN) is None


async def test_a_push_that_was_taken_is_refused_the_second_time(remote: Remote) -> None:
    """Whoever does not know whether it was taken may ask again: the ref moves once."""
    first, second = await _two(remote)
    sha = await remote.repositories.write_commit(remote.url, await _draft(remote, first, second))
    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second) is None

    assert await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)
    head = await remote.repositories.fetch_head(remote.url, MAIN)
    assert head is not None
    assert head.commit.sha == sha


async def test_a_hook_that_declines_is_told(remote: Remote) -> None:
    """What the remote says about a push that it refuses is the answer, not an error."""
    first, second = await _two(remote)
    remote.decline_pushes("only on weekdays")
    sha = await remote.repositories.write_commit(remote.url, await _draft(remote, first, second))

    said = await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)

    assert said is not None
    assert "only on weekdays" in said
    head = await remote.repositories.fetch_head(remote.url, MAIN)
    assert head is not None
    assert head.commit.sha == second


async def test_other_branches_stay_where_they_are(remote: Remote) -> None:
    """A push moves one ref."""
    first, second = await _two(remote)
    other = RefName("refs/heads/other")
    remote.push(other, first)
    sha = await remote.repositories.write_commit(remote.url, await _draft(remote, first, second))
    await remote.repositories.push_commit(remote.url, MAIN, sha, onto=second)

    head = await remote.repositories.fetch_head(remote.url, other)
    assert head is not None
    assert head.commit.sha == first
