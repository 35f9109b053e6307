"""What every source repository promises: the fake, and Git over HTTP by either way."""

from __future__ import annotations

import pytest

from gitopsd.domain.contributions import CommitPeople, CommitRange
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.errors import TemporaryError
from gitopsd.source_ports import RemoteTag
from tests.contracts.source_repository.conftest import Remote
from tests.support.repositories import MAIN

OTHER = RefName("refs/heads/other")


async def test_ref_that_does_not_exist_is_none(remote: Remote) -> None:
    """Neither an empty remote nor one with other refs has a head for the ref."""
    assert await remote.repositories.fetch_head(remote.url, MAIN) is None

    remote.push(OTHER, remote.commit("one"))

    assert await remote.repositories.fetch_head(remote.url, MAIN) is None


async def test_head_is_what_was_pushed_last(remote: Remote) -> None:
    """Each push is the head of its own ref at the next fetch."""
    first = remote.commit("one")
    remote.push(MAIN, first)
    one = await remote.repositories.fetch_head(remote.url, MAIN)
    second = remote.commit("two", parent=first)
    remote.push(MAIN, second)
    remote.push(OTHER, first)

    two = await remote.repositories.fetch_head(remote.url, MAIN, previous=first)
    other = await remote.repositories.fetch_head(remote.url, OTHER)

    assert one is not None
    assert two is not None
    assert other is not None
    assert (one.commit.sha, two.commit.sha, other.commit.sha) == (first, second, first)
    assert (two.commit.subject, two.rewound, two.to_ancestor) == ("two", False, False)


async def test_unchanged_head_is_told_again(remote: Remote) -> None:
    """Looking twice says the same twice, and rewinds nothing."""
    sha = remote.commit("one")
    remote.push(MAIN, sha)
    first = await remote.repositories.fetch_head(remote.url, MAIN)

    again = await remote.repositories.fetch_head(remote.url, MAIN, previous=sha)

    assert again == first
    assert again is not None
    assert (again.rewound, again.to_ancestor) == (False, False)


async def test_rewritten_history_is_told(remote: Remote) -> None:
    """A head whose history lacks the previous one is rewound, not to an ancestor."""
    base = remote.commit("base")
    old = remote.commit("old", parent=base)
    new = remote.commit("new", parent=base)
    remote.push(MAIN, old)
    await remote.repositories.fetch_head(remote.url, MAIN)
    remote.push(MAIN, new)

    head = await remote.repositories.fetch_head(remote.url, MAIN, previous=old)

    assert head is not None
    assert (head.commit.sha, head.rewound, head.to_ancestor) == (new, True, False)


async def test_step_back_is_told(remote: Remote) -> None:
    """A head that the previous one already contained is rewound to an ancestor."""
    old = remote.commit("old")
    new = remote.commit("new", parent=old)
    remote.push(MAIN, new)
    await remote.repositories.fetch_head(remote.url, MAIN)
    remote.push(MAIN, old)

    head = await remote.repositories.fetch_head(remote.url, MAIN, previous=new)

    assert head is not None
    assert (head.commit.sha, head.rewound, head.to_ancestor) == (old, True, True)


async def test_previous_head_that_is_unknown_is_rewound(remote: Remote) -> None:
    """A previous head that nobody has cannot be part of the history."""
    remote.push(MAIN, remote.commit("one"))

    head = await remote.repositories.fetch_head(remote.url, MAIN, previous=CommitSha("f" * 40))

    assert head is not None
    assert (head.rewound, head.to_ancestor) == (True, False)


async def test_deleted_ref_is_none_and_its_commits_stay(remote: Remote) -> None:
    """After deletion there is no head; what was fetched can still be read."""
    sha = remote.commit("one")
    remote.push(MAIN, sha)
    await remote.repositories.fetch_head(remote.url, MAIN)
    remote.delete(MAIN)

    assert await remote.repositories.fetch_head(remote.url, MAIN, previous=sha) is None
    assert await remote.repositories.fetch_commit(remote.url, sha) is not None


async def test_commit_is_known_once_it_was_fetched(remote: Remote) -> None:
    """A commit is readable when a fetched head contains it, and not before."""
    first = remote.commit("one")
    second = remote.commit("two", parent=first)
    remote.push(MAIN, first)
    await remote.repositories.fetch_head(remote.url, MAIN)
    remote.push(MAIN, second)

    known = await remote.repositories.fetch_commit(remote.url, first)

    assert known is not None
    assert (known.sha, known.subject) == (first, "one")
    assert await remote.repositories.fetch_commit(remote.url, second) is None


async def test_history_says_what_contains_what(remote: Remote) -> None:
    """A commit contains itself and what came before it; unknown commits contain nothing."""
    first = remote.commit("one")
    second = remote.commit("two", parent=first)
    remote.push(MAIN, second)
    await remote.repositories.fetch_head(remote.url, MAIN)
    contains = remote.repositories.contains

    assert await contains(remote.url, second, first)
    assert await contains(remote.url, second, second)
    assert not await contains(remote.url, first, second)
    assert not await contains(remote.url, second, CommitSha("f" * 40))
    assert not await contains(remote.url, CommitSha("f" * 40), first)


async def test_tags_are_listed_with_what_they_come_to(remote: Remote) -> None:
    """Light ones, annotated ones, and those of commits that no branch has; and nothing else."""
    assert await remote.repositories.fetch_tags(remote.url) == {}

    first = remote.commit("one")
    aside = remote.commit("aside", parent=first)
    remote.push(MAIN, first)
    remote.push(RefName("refs/tags/v1"), first)
    remote.push(RefName("refs/tags/api/v1"), aside)
    made = remote.annotate("v2", aside)

    assert made not in (first, aside)
    assert await remote.repositories.fetch_tags(remote.url) == {
        "v1": RemoteTag(first, first),
        "api/v1": RemoteTag(aside, aside),
        "v2": RemoteTag(made, aside),
    }

    remote.push(RefName("refs/tags/v1"), aside)
    remote.delete(RefName("refs/tags/v2"))
    assert await remote.repositories.fetch_tags(remote.url) == {
        "v1": RemoteTag(aside, aside),
        "api/v1": RemoteTag(aside, aside),
    }


async def test_a_tag_is_fetched_after_another_one(remote: Remote) -> None:
    """Each new one comes with what is new since the last; one of an old commit is that commit."""
    first = remote.commit("one")
    second = remote.commit("two", parent=first)
    remote.push(RefName("refs/tags/v1"), first)
    remote.annotate("v2", second)
    remote.annotate("old", first)

    one = await remote.repositories.fetch_head(remote.url, RefName("refs/tags/v1"))
    assert one is not None
    await remote.repositories.pin(remote.url, first)
    two = await remote.repositories.fetch_head(remote.url, RefName("refs/tags/v2"), previous=first)
    old = await remote.repositories.fetch_head(
        remote.url, RefName("refs/tags/old"), previous=second
    )

    assert two is not None
    assert (two.commit.subject, two.commit.sha, two.rewound) == ("two", second, False)
    assert old is not None
    assert (old.commit.sha, old.to_ancestor) == (first, True)


async def test_pin_is_safe_to_repeat(remote: Remote) -> None:
    """Pinning twice is pinning once, and changes no head."""
    sha = remote.commit("one")
    remote.push(MAIN, sha)
    await remote.repositories.fetch_head(remote.url, MAIN)

    await remote.repositories.pin(remote.url, sha)
    await remote.repositories.pin(remote.url, sha)

    head = await remote.repositories.fetch_head(remote.url, MAIN, previous=sha)
    assert head is not None
    assert head.commit.sha == sha


async def test_close_is_safe_to_repeat(remote: Remote) -> None:
    """Closing twice is closing once."""
    await remote.repositories.close()
    await remote.repositories.close()


DEV = "developer@example.test"


async def test_a_range_says_who_made_each_commit(remote: Remote) -> None:
    """Those the head has and the earlier commit does not, newest first, with all their people."""
    first = remote.commit("one")
    second = remote.commit("two", parent=first, author="ana@x.example", committer="ben@x.example")
    third = remote.commit("three", parent=second, co_authors=("kim@x.example", "sam@x.example"))
    remote.push(MAIN, third)
    await remote.repositories.fetch_head(remote.url, MAIN)

    found = await remote.repositories.fetch_range(remote.url, third, first, 10)
    assert found == CommitRange(
        third,
        first,
        (
            CommitPeople(third, DEV, DEV, ("kim@x.example", "sam@x.example")),
            CommitPeople(second, "ana@x.example", "ben@x.example"),
        ),
    )
    same = await remote.repositories.fetch_range(remote.url, third, third, 10)
    back = await remote.repositories.fetch_range(remote.url, first, third, 10)
    assert (same.commits, same.problem, back.commits, back.problem) == ((), "", (), "")


async def test_a_range_beside_another_history_is_what_that_lacks(remote: Remote) -> None:
    """After a force-push, the commits of the branch that the earlier head did not have."""
    base = remote.commit("base")
    old = remote.commit("old", parent=base)
    new = remote.commit("new", parent=base, author="ana@x.example")
    for ref, sha in ((MAIN, new), (OTHER, old)):
        remote.push(ref, sha)
        await remote.repositories.fetch_head(remote.url, ref)

    found = await remote.repositories.fetch_range(remote.url, new, old, 10)
    assert [one.sha for one in found.commits] == [new]


async def test_a_long_range_says_that_it_is_cut(remote: Remote) -> None:
    """The newest are read, and there is a word about the rest."""
    commits = [remote.commit("0")]
    for number in range(1, 4):
        commits.append(remote.commit(str(number), parent=commits[-1]))
    remote.push(MAIN, commits[-1])
    await remote.repositories.fetch_head(remote.url, MAIN)

    found = await remote.repositories.fetch_range(remote.url, commits[-1], commits[0], 2)
    whole = await remote.repositories.fetch_range(remote.url, commits[-1], commits[0], 3)
    assert [one.sha for one in found.commits] == [commits[3], commits[2]]
    assert found.problem == f"there are more than 2 since {commits[0][:12]}"
    assert (len(whole.commits), whole.problem) == (3, "")


async def test_a_range_from_nowhere_is_the_head_alone(remote: Remote) -> None:
    """When the mirror does not hold the earlier commit, it says so; without the head it cannot."""
    head = remote.commit("one")
    remote.push(MAIN, head)
    await remote.repositories.fetch_head(remote.url, MAIN)
    unknown = CommitSha("1" * 40)

    found = await remote.repositories.fetch_range(remote.url, head, unknown, 10)
    assert found.problem == f"the mirror does not hold {unknown[:12]}, which runs"
    assert [one.sha for one in found.commits] == [head]
    with pytest.raises(TemporaryError) as caught:
        await remote.repositories.fetch_range(remote.url, unknown, head, 10)
    assert caught.value.reason == "CommitMissing"
