"""Hot reload: every way in which people and tools change files counts within two seconds."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.config_files.live import POLL_INTERVAL, ConfigurationFiles, LoadResult
from gitopsd.domain.sources import ReceiverName
from gitopsd.testing.clock import LoopClock, ManualClock
from tests.support.configuration import APPLICATION, RECEIVER, applications, write_files

WITHIN = 2.0


class _Watch:
    """A running watch whose results are read one by one."""

    def __init__(self, results: asyncio.Queue[LoadResult]) -> None:
        self._results = results

    async def next(self) -> LoadResult:
        """Return the next result, which must come within two seconds."""
        async with asyncio.timeout(WITHIN):
            return await self._results.get()


@asynccontextmanager
async def _watching(files: ConfigurationFiles) -> AsyncIterator[_Watch]:
    results: asyncio.Queue[LoadResult] = asyncio.Queue()

    async def follow() -> None:
        async with aclosing(files.watch(LoopClock())) as changes:
            async for result in changes:
                results.put_nowait(result)

    task = asyncio.create_task(follow())
    try:
        yield _Watch(results)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _names(result: LoadResult) -> list[str]:
    return sorted(result.configuration.applications)


def _branches(result: LoadResult) -> list[str]:
    return [one.source.ref for one in result.configuration.applications.values()]


def _changed(name: str, branch: str) -> str:
    return APPLICATION.replace("NAME", name).replace("branch: main", f"branch: {branch}")


async def test_the_first_look_yields(tmp_path: Path) -> None:
    """Without an earlier load the watch begins with what there is."""
    async with _watching(ConfigurationFiles(write_files(tmp_path, applications("a")))) as watch:
        assert _names(await watch.next()) == ["a"]


async def test_files_in_place_and_removed(tmp_path: Path) -> None:
    """Writing, adding and removing files count, one after the other."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    async with _watching(files) as watch:
        write_files(tmp_path, {"applications/a.yaml": _changed("a", "next")})
        assert _branches(await watch.next()) == ["refs/heads/next"]
        write_files(tmp_path, {"applications/deep/b.yaml": _changed("b", "main")})
        assert _names(await watch.next()) == ["a", "b"]
        (tmp_path / "applications" / "a.yaml").unlink()
        assert _names(await watch.next()) == ["b"]


async def test_an_atomic_rename(tmp_path: Path) -> None:
    """A file that takes another's place, with the same size and time, counts."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    path = tmp_path / "applications" / "a.yaml"
    status = path.stat()
    async with _watching(files) as watch:
        fresh = path.with_name(".fresh")
        fresh.write_text(path.read_text().replace("branch: main", "branch: next"))
        os.utime(fresh, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert fresh.stat().st_size == status.st_size
        fresh.rename(path)
        assert _branches(await watch.next()) == ["refs/heads/next"]


async def test_the_same_size_and_time_in_place(tmp_path: Path) -> None:
    """Setting the modification time back does not hide a change."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    path = tmp_path / "applications" / "a.yaml"
    status = path.stat()
    async with _watching(files) as watch:
        path.write_text(path.read_text().replace("branch: main", "branch: next"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert _branches(await watch.next()) == ["refs/heads/next"]


async def test_a_symlink_swap(tmp_path: Path) -> None:
    """A ConfigMap's volume is changed by swapping the link ``..data``; files stay links."""
    config = tmp_path / "config"
    for name, branch in (("..1", "one"), ("..2", "two")):
        write_files(
            config / name, applications("a") | {"applications/a.yaml": _changed("a", branch)}
        )
    (config / "..data").symlink_to("..1")
    (config / "applications").symlink_to("..data/applications")
    (config / "clusters").mkdir()
    (config / "clusters" / "one.yaml").symlink_to("../..data/clusters/one.yaml")
    files = ConfigurationFiles(config)
    assert _branches(files.load()) == ["refs/heads/one"]
    async with _watching(files) as watch:
        (config / "..data_tmp").symlink_to("..2")
        (config / "..data_tmp").rename(config / "..data")
        assert _branches(await watch.next()) == ["refs/heads/two"]


async def test_a_secret_that_appears(tmp_path: Path) -> None:
    """A receiver that only lacked its secret file comes to life when the file does."""
    config = tmp_path / "config"
    receiver = RECEIVER.replace("NAME", "hook").replace("SECRET", str(tmp_path / "secret"))
    files = ConfigurationFiles(write_files(config, {"receivers/hook.yaml": receiver}))
    assert files.load().errors
    async with _watching(files) as watch:
        (tmp_path / "secret").write_text("topsecret")
        result = await watch.next()
    assert result.errors == ()
    assert ReceiverName("hook") in result.configuration.receivers


async def test_errors_are_results_too(tmp_path: Path) -> None:
    """A file that turns invalid is reported once; mending it as well."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    before = files.load()
    async with _watching(files) as watch:
        write_files(tmp_path, {"applications/a.yaml": "["})
        broken = await watch.next()
        assert broken.configuration == before.configuration
        assert broken.errors
        write_files(tmp_path, applications("a"))
        assert (await watch.next()).same_as(before)


async def test_a_confirmed_removal_counts_without_another_change(tmp_path: Path) -> None:
    """Confirming is enough; the folder does not have to change again."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c", "d")))
    files.load()
    async with _watching(files) as watch:
        for name in "abc":
            (tmp_path / "applications" / f"{name}.yaml").unlink()
        assert len((await watch.next()).held) == 3
        files.confirm_removals()
        assert _names(await watch.next()) == ["d"]


async def _look(clock: ManualClock) -> None:
    """Let the watch look once more."""
    clock.advance(POLL_INTERVAL)
    await clock.until_sleeping(1)


@asynccontextmanager
async def _looking(
    files: ConfigurationFiles, clock: ManualClock
) -> AsyncIterator[list[LoadResult]]:
    results: list[LoadResult] = []

    async def follow() -> None:
        async with aclosing(files.watch(clock)) as changes:
            async for result in changes:
                results.append(result)  # noqa: PERF401 - the list is read while the watch runs

    task = asyncio.create_task(follow())
    await clock.until_sleeping(1)
    try:
        yield results
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_file_is_read_when_it_rests(tmp_path: Path) -> None:
    """A half-written file, valid as far as it goes, is not read between two writes."""
    whole = APPLICATION.replace("NAME", "a").replace("branch: main", "branch: next")
    half = whole[: whole.index("    - {name: production")]
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    clock = ManualClock()
    async with _looking(files, clock) as results:
        await _look(clock)
        write_files(tmp_path, {"applications/a.yaml": half})
        await _look(clock)
        assert results == []
        write_files(tmp_path, {"applications/a.yaml": whole})
        await _look(clock)
        assert results == []
        await _look(clock)
        assert [len(one.stages) for one in results[0].configuration.applications.values()] == [2]


async def test_a_restless_folder_is_read_all_the_same(tmp_path: Path) -> None:
    """A file that changes at every look counts after four looks."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    files.load()
    clock = ManualClock()
    async with _looking(files, clock) as results:
        await _look(clock)
        for number in range(4):
            assert results == []
            write_files(tmp_path, {"applications/a.yaml": _changed("a", f"next-{number}")})
            await _look(clock)
        assert len(results) == 1
    assert timedelta(seconds=2) > POLL_INTERVAL * 4


async def test_nothing_is_read_while_nothing_changes(tmp_path: Path) -> None:
    """An idle folder costs a look at its names, and yields nothing."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a")))
    before = files.load()
    clock = ManualClock()
    async with _looking(files, clock) as results:
        for _ in range(5):
            await _look(clock)
        assert results == []
    assert files.current is before


@pytest.mark.parametrize("count", [500])
async def test_a_large_folder_is_looked_at_quickly(tmp_path: Path, count: int) -> None:
    """Five hundred applications still count within two seconds."""
    names = [f"a{number}" for number in range(count)]
    files = ConfigurationFiles(write_files(tmp_path, applications(*names)))
    files.load()
    async with _watching(files) as watch:
        write_files(tmp_path, {"applications/a7.yaml": _changed("a7", "next")})
        assert "refs/heads/next" in _branches(await watch.next())


async def test_a_removal_confirmed_elsewhere_counts_here(tmp_path: Path) -> None:
    """While files are held it is asked what was confirmed; only what is held is believed."""
    files = ConfigurationFiles(write_files(tmp_path, applications("a", "b", "c", "d")))
    files.load()
    asked: list[int] = []
    said: set[str] = set()

    async def confirmed() -> set[str]:
        asked.append(1)
        return said

    results: list[LoadResult] = []
    clock = ManualClock()

    async def follow() -> None:
        async with aclosing(files.watch(clock, confirmed=confirmed)) as changes:
            async for result in changes:
                results.append(result)  # noqa: PERF401 - the list is read while the watch runs

    task = asyncio.create_task(follow())
    await clock.until_sleeping(1)
    try:
        assert asked == []
        for name in "abc":
            (tmp_path / "applications" / f"{name}.yaml").unlink()
        for _ in range(4):
            await _look(clock)
        assert len(results[-1].held) == 3
        assert asked
        said |= {"applications/a.yaml", "applications/d.yaml"}
        for _ in range(3):
            await _look(clock)
        assert _names(results[-1]) == ["b", "c", "d"]
        said |= {"applications/b.yaml", "applications/c.yaml"}
        for _ in range(3):
            await _look(clock)
        assert _names(results[-1]) == ["d"]
        count = len(asked)
        await _look(clock)
        assert len(asked) == count
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
