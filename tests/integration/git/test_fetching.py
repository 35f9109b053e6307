"""What the adapter says about a remote ref, fetched over HTTP from real Git."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from gitopsd.adapters.git import reading
from gitopsd.adapters.git.mirrors import Mirror
from gitopsd.adapters.git.protocol import encode_line
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.source_ports import RemoteTag, SourceHead
from tests.integration.git.conftest import Bench, Open
from tests.support.git_processes import list_git_children
from tests.support.repositories import MAIN, run_git


async def test_head_is_told_with_what_git_knows_of_it(bench: Bench, git: GitRepositories) -> None:
    """A head comes with subject, author and time, each as the commit has it."""
    author = ("Ünal Ç", "unal@example.test")
    sha = bench.host.create("shop.git").commit(
        {"a.txt": "1"}, message="Say hello\n\nAnd why.\n", author=author
    )

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.committed_at is not None
    assert head == SourceHead(
        Commit(sha, "Say hello", "Ünal Ç", "unal@example.test", head.commit.committed_at)
    )
    assert head.commit.committed_at.isoformat() == "2026-01-01T00:00:01+00:00"


async def test_missing_ref_is_none(bench: Bench, git: GitRepositories) -> None:
    """A ref that the remote does not have is None, whether the mirror is new or not."""
    repository = bench.host.create("shop.git")

    assert await git.fetch_head(bench.url(), MAIN) is None
    repository.commit({"a.txt": "1"}, ref="refs/heads/other")
    assert await git.fetch_head(bench.url(), MAIN) is None
    assert await git.fetch_head(bench.url(), RefName("refs/heads/other")) is not None
    assert await git.fetch_head(bench.url(), MAIN) is None


async def test_push_is_followed(bench: Bench, git: GitRepositories) -> None:
    """Each push is seen by the next fetch, with all its objects."""
    repository = bench.host.create("shop.git")
    previous = None
    for number in range(5):
        sha = repository.commit({f"dir/{number}.txt": f"{number}\n", "same.txt": f"{number}"})

        head = await git.fetch_head(bench.url(), MAIN, previous=previous)

        assert head is not None
        assert (head.commit.sha, head.rewound, head.to_ancestor) == (sha, False, False)
        with git.open_tree(bench.url(), sha) as tree:
            entry = tree.find(f"dir/{number}.txt")
            assert entry is not None
            assert tree.read(entry.id) == f"{number}\n".encode()
        previous = sha


async def test_force_push_is_followed_and_told(bench: Bench, git: GitRepositories) -> None:
    """Rewritten history is followed, and the caller hears that the old head is not in it."""
    repository = bench.host.create("shop.git")
    old = repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    new = repository.commit({"b.txt": "2"}, parent=None)

    head = await git.fetch_head(bench.url(), MAIN, previous=old)

    assert head is not None
    assert (head.commit.sha, head.rewound, head.to_ancestor) == (new, True, False)
    assert await git.fetch_commit(bench.url(), old) is not None


async def test_rewind_to_an_ancestor_is_told(bench: Bench, git: GitRepositories) -> None:
    """A ref that is set back is told as rewound, and as pointing into its own history."""
    repository = bench.host.create("shop.git")
    old = repository.commit({"a.txt": "1"})
    new = repository.commit({"a.txt": "2"})
    await git.fetch_head(bench.url(), MAIN)
    repository.move(MAIN, old)

    head = await git.fetch_head(bench.url(), MAIN, previous=new)

    assert head is not None
    assert (head.commit.sha, head.rewound, head.to_ancestor) == (old, True, True)


async def test_previous_head_that_nobody_has_counts_as_rewound(
    bench: Bench, git: GitRepositories
) -> None:
    """A previous head that the mirror does not hold cannot be an ancestor of the new one."""
    bench.host.create("shop.git").commit({"a.txt": "1"})

    head = await git.fetch_head(bench.url(), MAIN, previous=CommitSha("1" * 40))

    assert head is not None
    assert (head.rewound, head.to_ancestor) == (True, False)


async def test_deleted_ref_is_none_and_pruned(
    bench: Bench, git: GitRepositories, mirror: Mirror
) -> None:
    """A ref that the remote deleted is None and leaves the mirror; its commits stay readable."""
    repository = bench.host.create("shop.git")
    sha = repository.commit({"a.txt": "1"}, ref="refs/heads/feature")
    feature = RefName("refs/heads/feature")
    await git.fetch_head(bench.url(), feature)
    repository.delete(feature)

    assert await git.fetch_head(bench.url(), feature) is None

    assert reading.list_tips(mirror.path) == ()
    assert await git.fetch_commit(bench.url(), sha) is not None


async def test_branch_can_become_a_directory_of_branches(
    bench: Bench, git: GitRepositories
) -> None:
    """``a`` is deleted and ``a/b`` made: both are fetched, in either order."""
    repository = bench.host.create("shop.git")
    repository.commit({"a.txt": "1"}, ref="refs/heads/a")
    await git.fetch_head(bench.url(), RefName("refs/heads/a"))
    repository.delete("refs/heads/a")
    sha = repository.commit({"a.txt": "2"}, ref="refs/heads/a/b", parent=None)

    head = await git.fetch_head(bench.url(), RefName("refs/heads/a/b"))

    assert head is not None
    assert head.commit.sha == sha
    assert await git.fetch_head(bench.url(), RefName("refs/heads/a")) is None


async def test_annotated_tag_is_its_commit(bench: Bench, git: GitRepositories) -> None:
    """A tag object is peeled to the commit it names."""
    repository = bench.host.create("shop.git")
    sha = repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    repository.tag("v1", repository.commit({"a.txt": "2"}, ref=None, parent=sha))

    head = await git.fetch_head(bench.url(), RefName("refs/tags/v1"))

    assert head is not None
    assert head.commit.subject == "Change"
    assert head.commit.sha != sha


async def test_ref_to_a_file_is_refused(bench: Bench, git: GitRepositories) -> None:
    """A ref that points to no commit cannot be deployed, and the error says what to name."""
    repository = bench.host.create("shop.git")
    sha = repository.commit({"a.txt": "1"})
    blob = (await run_git("rev-parse", f"{sha}:a.txt", cwd=repository.path)).strip()
    repository.move("refs/tags/file", blob)

    with pytest.raises(PermanentError, match="which is no commit; name a branch"):
        await git.fetch_head(bench.url(), RefName("refs/tags/file"))


async def test_tags_that_git_would_not_name_are_not_there(bench: Bench, open_git: Open) -> None:
    """A remote that lists names with wildcards, colons or lines in them is misread by nobody."""
    repository = bench.host.create("shop.git")
    sha = repository.commit({"a.txt": "1"})
    names = ("v1", "v*", "v2:refs/gitopsd/pins/x", "v3\nwant x", "../v4", "v5 x", "")
    lines = b"".join(encode_line(f"{sha} refs/tags/{name}") for name in names) + b"0000"

    def lie(request: web.Request) -> web.StreamResponse | None:
        return web.Response(body=lines) if request.method == "POST" else None

    bench.host.answer = lie

    assert set(await open_git().fetch_tags(bench.url())) == {"v1", "v5"}


async def test_tags_are_listed_by_a_child_where_the_server_speaks_otherwise(
    bench: Bench, open_git: Open
) -> None:
    """An older protocol is listed all the same, and trouble is told as it is for a ref."""
    git = open_git()
    bench.host.protocol = ""
    repository = bench.host.create("shop.git")
    sha = repository.commit({"a.txt": "1"})
    made = repository.tag("v1", sha)

    assert await git.fetch_tags(bench.url()) == {"v1": RemoteTag(made, sha)}

    with pytest.raises(TemporaryError) as refused:
        await git.fetch_tags(bench.url("other.git"))
    assert refused.value.reason == "RepositoryNotFound"


async def test_large_push_is_fetched(bench: Bench, git: GitRepositories) -> None:
    """A push of more objects than the quick way takes comes whole all the same."""
    repository = bench.host.create("shop.git")
    repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    files = {f"many/{number}.txt": f"{number}\n" * 3 for number in range(2_500)}
    sha = repository.commit(files)

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha
    with git.open_tree(bench.url(), sha) as tree:
        assert tree.find("many/2499.txt") is not None


async def test_packed_history_with_deltas_is_fetched(
    bench: Bench, git: GitRepositories, mirror: Mirror
) -> None:
    """Objects that the host stores and sends as deltas come out as they went in."""
    repository = bench.host.create("shop.git")
    lines = [f"line {number} of a long file" for number in range(3_000)]
    repository.commit({"long.txt": "\n".join(lines)})
    await git.fetch_head(bench.url(), MAIN)
    for number in range(0, 300, 10):
        lines[number] = f"changed {number}"
        repository.commit({"long.txt": "\n".join(lines)})
    await run_git("repack", "-adf", "--depth=50", cwd=repository.path)

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    with git.open_tree(bench.url(), head.commit.sha) as tree:
        entry = tree.find("long.txt")
        assert entry is not None
        assert tree.read(entry.id).decode() == "\n".join(lines)
    checked = await run_git("fsck", "--full", "--strict", cwd=mirror.path)
    assert "error" not in checked


async def test_eight_fetches_at_once_agree(bench: Bench, git: GitRepositories) -> None:
    """Eight tasks that fetch four refs of one mirror at once all see the right heads."""
    repository = bench.host.create("shop.git")
    refs = [RefName(f"refs/heads/b{number}") for number in range(4)]
    for turn in range(3):
        wanted = {ref: repository.commit({"a.txt": f"{ref} {turn}"}, ref=ref) for ref in refs}

        heads = await asyncio.gather(*(git.fetch_head(bench.url(), ref) for ref in refs * 2))

        found = [head.commit.sha for head in heads if head is not None]
        assert found == [wanted[ref] for ref in refs * 2]


async def test_unchanged_head_costs_one_request(bench: Bench, open_git: Open) -> None:
    """A look at a ref that did not move is one request on a kept connection, without a child."""
    git = open_git(child_idle_seconds=0)
    bench.host.create("shop.git").commit({"a.txt": "1"})
    for _ in range(2):
        await git.fetch_head(bench.url(), MAIN)
    bench.host.requests.clear()

    await git.fetch_head(bench.url(), MAIN)

    assert [path for _, path, _ in bench.host.requests] == ["/shop.git/git-upload-pack"]
    assert list_git_children() == []


async def test_small_push_costs_two_requests(bench: Bench, open_git: Open) -> None:
    """A push is one question for the ref and one for the objects."""
    git = open_git(child_idle_seconds=0)
    repository = bench.host.create("shop.git")
    repository.commit({"a.txt": "1"})
    for _ in range(2):
        await git.fetch_head(bench.url(), MAIN)
    bench.host.requests.clear()
    repository.commit({"a.txt": "2"})

    await git.fetch_head(bench.url(), MAIN)

    assert len(bench.host.requests) == 2


async def test_host_that_speaks_an_old_protocol_is_left_to_the_children(
    bench: Bench, open_git: Open
) -> None:
    """A host that answers in another protocol version is fetched from all the same."""
    git = open_git()
    bench.host.protocol = ""
    repository = bench.host.create("shop.git")
    repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    sha = repository.commit({"a.txt": "2"})

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha


async def test_history_is_told_from_the_mirror(bench: Bench, git: GitRepositories) -> None:
    """What contains what is answered without the remote; unknown commits contain nothing."""
    repository = bench.host.create("shop.git")
    first = repository.commit({"a.txt": "1"})
    second = repository.commit({"a.txt": "2"})
    await git.fetch_head(bench.url(), MAIN)
    unfetched = repository.commit({"a.txt": "3"})
    url = bench.url()
    before = len(bench.host.requests)

    assert await git.contains(url, second, first)
    assert await git.contains(url, first, first)
    assert not await git.contains(url, first, second)
    assert not await git.contains(url, unfetched, first)
    assert await git.fetch_commit(url, unfetched) is None
    assert await git.fetch_commit(url, CommitSha("not an id")) is None
    assert await git.fetch_commit(bench.url("unknown.git"), first) is None
    assert len(bench.host.requests) == before


async def test_change_is_told_at_once_and_only_when_there_is_one(
    bench: Bench, git: GitRepositories
) -> None:
    """Whoever wants to prepare hears of a moved ref during the fetch; a quiet look tells nobody."""
    told: list[bool] = []
    git.on_change = lambda: told.append(True)
    repository = bench.host.create("shop.git")
    first = repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    repository.commit({"a.txt": "2"})
    changed = len(told)
    second = await git.fetch_head(bench.url(), MAIN, previous=first)
    assert second is not None
    assert len(told) > changed > 0
    told.clear()

    await git.fetch_head(bench.url(), MAIN, previous=second.commit.sha)

    assert told == []
