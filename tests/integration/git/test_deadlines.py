"""Every fetch ends by its deadline, and no child is left, whatever the other side does."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from gitopsd.domain.sources import RepoURL
from gitopsd.errors import TemporaryError
from tests.integration.git.conftest import Bench, Open
from tests.support.git_processes import is_running, list_git_children
from tests.support.odd_servers import OddServer, run_black_hole, run_drip
from tests.support.processes import wait_until
from tests.support.repositories import MAIN

DEADLINE = timedelta(seconds=1.5)
SLACK_SECONDS = 3.0
LIBGIT2 = b"libgit2"
"""What only the child's requests hold: the server is good to this process and bad to the child."""
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n"
    b"Content-Length: 100000\r\n\r\n"
)


async def _wait_for_children(count: int) -> list[int]:
    await asyncio.to_thread(
        wait_until,
        lambda: len(list_git_children()) == count,
        what=f"{count} Git children",
        within=timedelta(seconds=10),
    )
    return list_git_children()


async def _end_by_deadline(fetch: Callable[[], Awaitable[object]]) -> TemporaryError:
    started = time.monotonic()
    with pytest.raises(TemporaryError) as caught:
        await fetch()
    assert time.monotonic() - started < DEADLINE.total_seconds() + SLACK_SECONDS
    return caught.value


@pytest.mark.parametrize("only_to", [b"", LIBGIT2])
async def test_silent_server_ends_by_the_deadline(only_to: bytes, open_git: Open) -> None:
    """A server that accepts and never answers costs the deadline, and no child stays behind."""
    git = open_git(deadline=DEADLINE)
    async with run_black_hole(only_to) as silent:
        url = RepoURL(f"{silent.url}/shop.git")

        error = await _end_by_deadline(lambda: git.fetch_head(url, MAIN))

        assert silent.connected.is_set()
    assert error.reason == "Timeout"
    assert "took longer than 1.5 s" in error.message
    assert list_git_children() == []


@pytest.mark.parametrize("only_to", [b"", LIBGIT2])
async def test_dripping_server_ends_by_the_deadline(only_to: bytes, open_git: Open) -> None:
    """A server that sends a byte now and then, for ever, costs the deadline and no more."""
    git = open_git(deadline=DEADLINE)
    async with run_drip(HEAD, b"0", every_seconds=0.3, only_to=only_to) as drip:
        url = RepoURL(f"{drip.url}/shop.git")

        error = await _end_by_deadline(lambda: git.fetch_head(url, MAIN))

    assert error.reason == "Timeout"
    assert list_git_children() == []


async def test_server_that_turns_silent_ends_by_the_deadline(bench: Bench, open_git: Open) -> None:
    """A mirror whose host stops answering keeps what it has; the fetch ends by its deadline."""
    sha = bench.host.create("shop.git").commit({"a.txt": "1"})
    git = open_git(deadline=DEADLINE)
    await git.fetch_head(bench.url(), MAIN)
    hang = asyncio.Event()
    bench.host.delay = hang

    error = await _end_by_deadline(lambda: git.fetch_head(bench.url(), MAIN))

    hang.set()
    assert error.reason == "Timeout"
    assert await git.fetch_commit(bench.url(), sha) is not None


async def test_waiting_for_a_turn_counts(open_git: Open) -> None:
    """More silent remotes than children: all of them end by the deadline, together."""
    git = open_git(deadline=DEADLINE, children=1, quick=False)
    async with run_black_hole(LIBGIT2) as silent:
        urls = [RepoURL(f"{silent.url}/{number}.git") for number in range(4)]
        started = time.monotonic()

        results = await asyncio.gather(
            *(git.fetch_head(url, MAIN) for url in urls), return_exceptions=True
        )

    assert all(isinstance(result, TemporaryError) for result in results)
    assert time.monotonic() - started < DEADLINE.total_seconds() + SLACK_SECONDS
    assert list_git_children() == []


async def test_child_killed_in_mid_fetch_is_replaced(bench: Bench, open_git: Open) -> None:
    """A fetch whose child is killed fails for now; the next one is fine, locks and all."""
    git = open_git(quick=False, child_idle_seconds=0)
    sha = bench.host.create("shop.git").commit({"a.txt": "1"})
    hang = asyncio.Event()
    bench.host.delay, bench.host.delayed = hang, "libgit2"
    fetching = asyncio.create_task(git.fetch_head(bench.url(), MAIN))
    (child,) = await _wait_for_children(1)

    os.kill(child, signal.SIGKILL)
    with pytest.raises(TemporaryError) as caught:
        await fetching
    hang.set()
    bench.host.delay = None
    head = await git.fetch_head(bench.url(), MAIN)

    assert caught.value.reason == "GitChild"
    assert head is not None
    assert head.commit.sha == sha


async def test_idle_child_that_was_killed_is_not_noticed(bench: Bench, open_git: Open) -> None:
    """An idle child that something killed costs one start, and no failed fetch."""
    git = open_git(quick=False)
    repository = bench.host.create("shop.git")
    repository.commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    (child,) = list_git_children()
    os.kill(child, signal.SIGKILL)
    sha = repository.commit({"a.txt": "2"})

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha


async def test_child_is_used_again_and_ends_when_idle(bench: Bench, open_git: Open) -> None:
    """One child serves fetch after fetch, and goes when it has not been needed for a while."""
    git = open_git(quick=False, child_idle_seconds=0.3)
    bench.host.create("shop.git").commit({"a.txt": "1"})
    await git.fetch_head(bench.url(), MAIN)
    first = list_git_children()

    await git.fetch_head(bench.url(), MAIN)

    assert list_git_children() == first
    await _wait_for_children(0)


async def test_cancelled_fetch_takes_its_child_with_it(bench: Bench, open_git: Open) -> None:
    """A caller that gives up leaves no child behind, and the mirror usable."""
    git = open_git(quick=False)
    bench.host.create("shop.git").commit({"a.txt": "1"})
    hang = asyncio.Event()
    bench.host.delay, bench.host.delayed = hang, "libgit2"
    fetching = asyncio.create_task(git.fetch_head(bench.url(), MAIN))
    await _wait_for_children(1)

    fetching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fetching

    assert list_git_children() == []
    hang.set()
    bench.host.delay = None
    assert await git.fetch_head(bench.url(), MAIN) is not None


@pytest.fixture
async def silent() -> AsyncIterator[OddServer]:
    """A server that never answers."""
    async with run_black_hole(LIBGIT2) as server:
        yield server


async def test_child_dies_with_its_parent(silent: OddServer) -> None:
    """A service that is killed leaves no child, even one in the middle of a fetch."""
    program = (
        "import asyncio, tempfile\n"
        "from pathlib import Path\n"
        "from gitopsd.adapters.git.repositories import GitRepositories\n"
        "git = GitRepositories(Path(tempfile.mkdtemp()), lambda: (), quick=False)\n"
        f"asyncio.run(git.fetch_head('{silent.url}/shop.git', 'refs/heads/main'))\n"
    )
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", program)
    await silent.connected.wait()
    (child,) = list_git_children(parent.pid)

    os.kill(parent.pid, signal.SIGKILL)
    await parent.wait()

    await asyncio.to_thread(
        wait_until,
        lambda: not is_running(child),
        what="the child to follow its parent",
        within=timedelta(seconds=5),
    )
