"""Pushes over HTTP that go wrong: refused credentials, redirects, and a host that hangs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web

from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import CommitSha, PushSpec
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.source_ports import CommitDraft
from tests.integration.git.conftest import LOGIN, Bench, Open
from tests.support.repositories import MAIN, BareRepository

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
WRITER = ("writer", "may-write")


async def _prepare(
    bench: Bench, git: GitRepositories
) -> tuple[BareRepository, CommitSha, CommitSha]:
    """Write a commit on top of a pushed one; the host lets only the writer push."""
    bench.host.writer = WRITER
    repository = bench.host.create("shop.git")
    first = repository.commit({"a.txt": "1"})
    allow(bench, WRITER)
    await git.fetch_head(bench.url(), MAIN)
    draft = CommitDraft(first, {"a.txt": b"2"}, "Again", NOON)
    return repository, first, await git.write_commit(bench.url(), draft)


def allow(bench: Bench, login: tuple[str, str]) -> None:
    """Configure who pushes."""
    user, password = (bench.directory / name for name in ("push-user", "push-password"))
    user.write_text(login[0], encoding="ascii")
    password.write_text(login[1], encoding="ascii")
    bench.specs[0] = replace(bench.specs[0], push=PushSpec(str(user), str(password)))


async def test_a_credential_that_may_not_write_is_named(bench: Bench, open_git: Open) -> None:
    """The one that reads is not tried in its place, and without any nothing is asked."""
    git = open_git()
    repository, first, sha = await _prepare(bench, git)
    allow(bench, LOGIN)
    with pytest.raises(TemporaryError) as refused:
        await git.push_commit(bench.url(), MAIN, sha, onto=first)
    assert refused.value.reason == "Credential"
    assert "takes no push with the credentials under `push:`" in refused.value.message
    assert "may-write" not in refused.value.message

    bench.specs[0] = replace(bench.specs[0], push=None)
    asked = len(bench.host.requests)
    with pytest.raises(PermanentError) as unknown:
        await git.push_commit(bench.url(), MAIN, sha, onto=first)
    assert unknown.value.reason == "NoPushCredential"
    assert (repository.head(), len(bench.host.requests)) == (first, asked)


async def test_a_redirect_is_not_followed(bench: Bench, open_git: Open) -> None:
    """Also one that only pushes get: nobody else is told the password."""
    git = open_git()
    repository, first, sha = await _prepare(bench, git)

    def redirect(request: web.Request) -> web.StreamResponse | None:
        if "git-receive-pack" not in request.path_qs:
            return None
        return web.Response(status=302, headers={"Location": f"{bench.host.url}/other.git"})

    bench.host.answer = redirect
    with pytest.raises(PermanentError) as caught:
        await git.push_commit(bench.url(), MAIN, sha, onto=first)
    assert caught.value.reason == "Redirected"
    assert repository.head() == first


async def test_a_host_that_hangs_is_left_at_the_deadline(bench: Bench, open_git: Open) -> None:
    """The child is ended, and the next push finds a mirror that works."""
    git = open_git(deadline=timedelta(seconds=2))
    repository, first, sha = await _prepare(bench, git)
    bench.host.delay, bench.host.delayed = asyncio.Event(), "libgit2"
    with pytest.raises(TemporaryError) as caught:
        await git.push_commit(bench.url(), MAIN, sha, onto=first)
    assert caught.value.reason == "Timeout"
    assert caught.value.message.startswith("pushing refs/heads/main to ")

    bench.host.delay.set()
    assert await git.push_commit(bench.url(), MAIN, sha, onto=first) is None
    assert repository.head() == sha
