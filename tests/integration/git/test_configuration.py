"""Git's own configuration of the machine and of users has no say in what gitopsd fetches."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.projects import REPOSITORY
from tests.support.repositories import run_git

_FETCH = """
import asyncio, sys
from pathlib import Path
from gitopsd.adapters.git import transfer
from gitopsd.adapters.git.repositories import GitRepositories

root, url, ref = Path(sys.argv[1]), sys.argv[2], "refs/heads/main"

async def fetch():
    git = GitRepositories(root / "parent", lambda: (), allow_local=True)
    head = await git.fetch_head(url, ref)
    with git.open_tree(url, head.commit.sha):
        print(head.commit.sha)
    await git.close()

(root / "parent").mkdir()
if sys.argv[3] == "parent":
    asyncio.run(fetch())
else:
    request = {"mirror": str(root / "child"), "lock": str(root / "lock"), "old": "", "ref": ref}
    login = dict.fromkeys(("user", "password", "ssh_key_file", "ca_file"), "")
    request |= {"home": str(root), "url": url, "local": "refs/heads/main", **login}
    print(transfer.run_transfer(request))
"""


@pytest.fixture
async def origin(tmp_path: Path) -> Path:
    """A repository with one commit."""
    folder = tmp_path / "origin"
    await run_git("init", "--quiet", "--initial-branch=main", str(folder))
    await run_git("commit", "--quiet", "--allow-empty", "--message=first", cwd=folder)
    return folder


def _make_home(home: Path, kind: str, origin: Path) -> None:
    if kind == "unreadable":
        home.symlink_to(home)
        return
    home.mkdir()
    rewriting = f'[url "{home}/elsewhere"]\n\tinsteadOf = {origin}\n'
    (home / ".gitconfig").write_text(rewriting, encoding="utf-8")


@pytest.mark.parametrize("who", ["parent", "child"])
@pytest.mark.parametrize("kind", ["unreadable", "rewriting"])
async def test_a_home_with_a_configuration_of_git_changes_nothing(
    tmp_path: Path, origin: Path, kind: str, who: str
) -> None:
    """One that cannot be read stops no fetch, and none leads a fetch to another address."""
    home, root = tmp_path / "home", tmp_path / "root"
    _make_home(home, kind, origin)
    root.mkdir()
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-c", _FETCH, str(root), str(origin), who],
        cwd=REPOSITORY,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    assert (await run_git("rev-parse", "HEAD", cwd=origin)).strip() in done.stdout
