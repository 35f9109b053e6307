"""The Git host, pushed to with real Git."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gitopsd.domain.sources import GitPush
from gitopsd.webhooks.github import check_signature, parse_event
from tests.support.delivery_box import run_delivery_box
from tests.support.host_processes import run_host_process

PAIR = "ana:a password"


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A Git host with one repository; its webhook is set by writing a file."""
    (tmp_path / "logins").write_text(f"{PAIR}\n")
    with run_host_process(
        "git_host",
        tmp_path,
        *("--root", str(tmp_path / "repositories"), "--repository", "team/app.git"),
        *("--login-file", str(tmp_path / "logins"), "--hook-file", str(tmp_path / "receiver.json")),
    ) as address:
        yield f"{address}/team/app.git"


def run_git(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run Git as a person does."""
    environment = {"PATH": os.defpath, "HOME": str(directory), "GIT_TERMINAL_PROMPT": "0"}
    person = ["-c", "user.name=Ana", "-c", "user.email=ana@example.test"]
    return subprocess.run(
        ["git", *person, *words],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=20,
    )


async def push(directory: Path, url: str, content: str, *more: str) -> str:
    """Commit a file and push it; returns the commit."""

    def work() -> str:
        if not (directory / ".git").exists():
            directory.mkdir()
            run_git(directory, "init", "-q", "-b", "main")
        (directory / "a file").write_text(content)
        run_git(directory, "add", ".")
        run_git(directory, "commit", "-q", "-m", f"Write {content}", *more)
        address = url.replace("://", "://ana:a%20password@")
        pushed = run_git(directory, "push", "-q", "--force", address, "main")
        assert pushed.returncode == 0, pushed.stderr
        return run_git(directory, "rev-parse", "HEAD").stdout.strip()

    return await asyncio.to_thread(work)


async def test_a_push_is_reported_signed_with_its_commits(tmp_path: Path, url: str) -> None:
    """A push sends a delivery that a receiver of GitHub's takes: signature, ref and commits."""
    async with run_delivery_box() as box:
        box.write_file(tmp_path, "a secret")
        sha = await push(tmp_path / "work", url, "one")
        got = await box.next()
    check_signature(got.headers, got.body, [b"a secret"], datetime(2026, 1, 1, tzinfo=UTC))
    event = parse_event(got.headers, got.body)
    assert isinstance(event, GitPush)
    assert (event.ref, event.after) == ("refs/heads/main", sha)
    said = got.document
    assert said["pusher"]["name"] == "ana"
    assert said["created"] is True
    assert [(one["id"], one["message"], one["added"]) for one in said["commits"]] == [
        (sha, "Write one", ["a file"])
    ]


async def test_a_rewritten_branch_says_so(tmp_path: Path, url: str) -> None:
    """A push that loses commits is reported as forced, one that adds is not."""
    async with run_delivery_box() as box:
        box.write_file(tmp_path, "a secret")
        await push(tmp_path / "work", url, "one")
        await push(tmp_path / "work", url, "two")
        await push(tmp_path / "work", url, "three", "--amend")
        forced = [(await box.next()).document["forced"] for _ in range(3)]
    assert forced == [False, False, True]


async def test_a_delivery_that_nobody_took_comes_again(tmp_path: Path, url: str) -> None:
    """A receiver in trouble gets the same delivery again, with the same id."""
    async with run_delivery_box() as box:
        box.answers = [503, 500]
        box.write_file(tmp_path, "a secret")
        await push(tmp_path / "work", url, "one")
        ids = [(await box.next()).headers["x-github-delivery"] for _ in range(3)]
    assert len(set(ids)) == 1


async def test_nobody_reads_without_a_login(tmp_path: Path, url: str) -> None:
    """Without credentials, or with wrong ones, Git is refused."""
    wrong = url.replace("://", "://ana:wrong@")
    for address in (url, wrong):
        answer = await asyncio.to_thread(run_git, tmp_path, "ls-remote", address)
        assert answer.returncode != 0


async def test_what_is_not_there_is_not_found(tmp_path: Path, url: str) -> None:
    """A repository that was not made is refused, also by a path that leads out."""
    for name in ("other.git", "../repositories/team/app.git"):
        address = url.replace("://", "://ana:a%20password@").replace("team/app.git", name)
        answer = await asyncio.to_thread(run_git, tmp_path, "ls-remote", address)
        assert answer.returncode != 0
