"""Mirrors outlive killed writers, damage and growth, and keep what was released."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.git import mirrors, reading
from gitopsd.adapters.git.mirrors import Mirror, is_overgrown, local_head, remove_leftovers
from gitopsd.adapters.git.repositories import GitRepositories
from gitopsd.domain.sources import RepoURL
from gitopsd.errors import TemporaryError
from tests.integration.git.conftest import Bench, Open
from tests.support.git_processes import list_git_children
from tests.support.processes import wait_until
from tests.support.repositories import MAIN


async def _fetch_twice(bench: Bench, open_git: Open, **options: bool) -> GitRepositories:
    """Fill the mirror with two commits, and open an adapter as after a restart."""
    first = open_git()
    repository = bench.host.create("shop.git")
    for number in range(2):
        repository.commit({"a.txt": f"{number}\n" * 50, f"dir/{number}": "x"})
        await first.fetch_head(bench.url(), MAIN)
    await first.close()
    return open_git(**options)


def _write(path: Path, content: bytes = b"") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # Git writes its files without write permission
    path.write_bytes(content)
    return path


def _is_fine(mirror: Mirror) -> bool:
    command = ["git", "fsck", "--full", "--strict", "--no-dangling"]
    return subprocess.run(command, cwd=mirror.path, check=False).returncode == 0


@pytest.mark.parametrize("quick", [True, False])
async def test_leftovers_of_killed_writers_are_removed(
    quick: bool, bench: Bench, open_git: Open, mirror: Mirror
) -> None:
    """Stale locks, unfinished packs and half-made mirrors are gone after the next fetch."""
    git = await _fetch_twice(bench, open_git, quick=quick)
    leftovers = [
        _write(mirror.path / f"{local_head(MAIN)}.lock"),
        _write(mirror.path / "packed-refs.lock"),
        _write(mirror.path / "objects/pack/pack_git2_a1b2c3", b"PACK"),
        _write(mirror.next / "HEAD"),
        _write(mirror.old / "HEAD"),
    ]
    sha = bench.host.create("shop.git").commit({"a.txt": "new"})

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha
    assert [path for path in leftovers if path.exists()] == []


def test_leftovers_of_a_living_writer_stay(tmp_path: Path) -> None:
    """While another process holds the mirror's lock, nothing of it is touched."""
    mirror = Mirror(tmp_path / "m.git", tmp_path / "m.lock")
    lock = _write(mirror.path / "packed-refs.lock")
    handle = os.open(mirror.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)

    assert not remove_leftovers(mirror)
    assert lock.exists()
    os.close(handle)
    assert remove_leftovers(mirror)
    assert not lock.exists()


def test_swap_that_was_cut_off_is_undone(tmp_path: Path) -> None:
    """Killed between the two renames of a swap, the old mirror comes back."""
    mirror = Mirror(tmp_path / "m.git", tmp_path / "m.lock")
    _write(mirror.old / "HEAD", b"old")

    remove_leftovers(mirror)

    assert (mirror.path / "HEAD").read_bytes() == b"old"


async def test_quick_way_waits_for_nobody(bench: Bench, open_git: Open, mirror: Mirror) -> None:
    """A mirror that another process writes to is left to a child, which waits for its turn."""
    git = await _fetch_twice(bench, open_git)
    bench.host.create("shop.git").commit({"a.txt": "new"})
    handle = os.open(mirror.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    fetching = asyncio.create_task(git.fetch_head(bench.url(), MAIN))
    await asyncio.to_thread(
        wait_until,
        lambda: len(list_git_children()) == 1,
        what="the child to wait",
        within=timedelta(seconds=10),
    )
    os.close(handle)

    assert await fetching is not None


@pytest.mark.parametrize("quick", [True, False])
@pytest.mark.parametrize("damage", ["pack", "loose", "ref", "config", "head"])
async def test_damaged_mirror_is_made_anew(
    damage: str, quick: bool, bench: Bench, open_git: Open, mirror: Mirror
) -> None:
    """Whatever is broken on disk, the next fetch or the one after it is whole again."""
    git = await _fetch_twice(bench, open_git, quick=quick)
    await asyncio.to_thread(_break, mirror, damage)
    sha = bench.host.create("shop.git").commit({"b.txt": "new"})

    head = await git.fetch_head(bench.url(), MAIN)

    assert head is not None
    assert head.commit.sha == sha
    if damage in ("ref", "config", "head"):
        assert await asyncio.to_thread(_is_fine, mirror)


def _break(mirror: Mirror, damage: str) -> None:
    if damage == "pack":
        for pack in mirror.path.glob("objects/pack/*.pack"):
            _write(pack, pack.read_bytes()[:40])
    elif damage == "loose":
        for file in mirror.path.glob("objects/[0-9a-f][0-9a-f]/*"):
            _write(file, b"broken")
    elif damage == "ref":
        _write(mirror.path / local_head(MAIN), b"broken")
    elif damage == "config":
        _write(mirror.path / "config", b"[broken")
    else:
        (mirror.path / "HEAD").unlink()


async def test_damage_that_reading_finds_is_mended_by_the_next_fetch(
    bench: Bench, open_git: Open, mirror: Mirror
) -> None:
    """A file that cannot be read is trouble for now; the next fetch makes the mirror anew."""
    git = await _fetch_twice(bench, open_git)
    sha = bench.host.create("shop.git").head()
    assert sha is not None
    with git.open_tree(bench.url(), sha) as tree:
        entry = tree.find("a.txt")
    assert entry is not None
    loose = mirror.path / "objects" / entry.id[:2] / entry.id[2:]
    assert loose.exists(), "the second commit came as loose objects"
    loose.unlink()

    with (
        pytest.raises(TemporaryError) as caught,
        git.open_tree(bench.url(), sha) as tree,
    ):
        tree.read(entry.id)
    await git.fetch_head(bench.url(), MAIN)

    assert caught.value.reason == "MirrorDamaged"
    with git.open_tree(bench.url(), sha) as tree:
        assert tree.read(entry.id) == b"1\n" * 50
    assert await asyncio.to_thread(_is_fine, mirror)


async def test_pinned_commits_survive_a_force_push_and_a_new_mirror(
    bench: Bench, open_git: Open, mirror: Mirror
) -> None:
    """A released commit that the remote threw away stays readable, in the next mirror too."""
    git = open_git()
    repository = bench.host.create("shop.git")
    released = repository.commit({"a.txt": "released"})
    await git.fetch_head(bench.url(), MAIN)
    await git.pin(bench.url(), released)
    await git.pin(bench.url(), released)
    repository.commit({"a.txt": "rewritten"}, parent=None)
    await git.fetch_head(bench.url(), MAIN)
    await asyncio.to_thread(_break, mirror, "head")

    await git.fetch_head(bench.url(), MAIN)

    assert f"{mirrors.PINS}{released}" in list(reading.open_mirror(mirror.path).references)
    with git.open_tree(bench.url(), released) as tree:
        entry = tree.find("a.txt")
        assert entry is not None
        assert tree.read(entry.id) == b"released"


async def test_overgrown_mirror_is_made_anew_beside(
    bench: Bench, open_git: Open, mirror: Mirror
) -> None:
    """More than 200 packs: the mirror is cloned beside and swapped; nobody waits for it."""
    git = await _fetch_twice(bench, open_git)
    sha = bench.host.create("shop.git").head()
    for number in range(mirrors.MAX_PACKS + 1):
        _write(mirror.path / f"objects/pack/pack-{number:040x}.pack", b"")
    assert is_overgrown(mirror)

    head = await git.fetch_head(bench.url(), MAIN)
    await asyncio.to_thread(
        wait_until,
        lambda: not is_overgrown(mirror) and not mirror.old.exists(),
        what="the mirror to be made anew",
        within=timedelta(seconds=20),
    )

    assert head is not None
    assert head.commit.sha == sha
    assert await git.fetch_head(bench.url(), MAIN) == head


def test_growth_is_measured_from_the_first_size(tmp_path: Path) -> None:
    """A mirror twice its first size is overgrown, unless it is small all the same."""
    mirror = Mirror(tmp_path / "m.git", tmp_path / "m.lock")
    pack = _write(mirror.path / "objects/pack/pack-1.pack", b"x")
    assert not is_overgrown(mirror)
    os.truncate(pack, 1000)
    assert not is_overgrown(mirror)
    os.truncate(pack, mirrors.SMALL_BYTES + 1)
    assert is_overgrown(mirror)


def test_addresses_choose_no_path(tmp_path: Path) -> None:
    """Whatever an address holds, its mirror lies in the root under a name of hex digits."""
    names = {mirrors.place_mirror(tmp_path, RepoURL(url)).path for url in ("../../x", "a", "/etc")}

    assert len(names) == 3
    assert all(path.parent == tmp_path for path in names)


async def test_data_directory_that_cannot_be_written_is_no_crash(bench: Bench) -> None:
    """A file where the mirrors should go is trouble for now, and the error says what to do."""
    root = _write(bench.directory / "mirrors")
    git = GitRepositories(root, lambda: tuple(bench.specs))

    with pytest.raises(TemporaryError, match="make room in the data directory") as caught:
        await git.fetch_head(bench.url(), MAIN)

    assert caught.value.reason == "MirrorStorage"
    await git.close()


def test_homes_are_made_by_many_at_once(tmp_path: Path) -> None:
    """Threads that need the same host keys at the same time all get them."""
    with ThreadPoolExecutor(8) as pool:
        homes = list(pool.map(lambda _: mirrors.place_home(tmp_path, "a line\n"), range(64)))

    assert len(set(homes)) == 1
    assert (homes[0] / ".ssh" / "known_hosts").read_text(encoding="utf-8") == "a line\n"
    assert len(list((homes[0] / ".ssh").iterdir())) == 1
