"""One process at a time has a data directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from gitopsd.errors import PermanentError
from gitopsd.store.data_directory import lock_data_directory
from tests.support.store_child import start_child


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    """The sentence names the process that has it; when that one is killed, the next gets it."""
    with start_child("hold", str(tmp_path)) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "locked\n"

        with pytest.raises(PermanentError, match=f"process {child.pid} ") as caught:
            lock_data_directory(tmp_path)
        assert caught.value.reason == "DataDirectoryInUse"
        child.kill()

    with lock_data_directory(tmp_path):
        pass


def test_the_lock_ends_with_its_block(tmp_path: Path) -> None:
    """Released, also twice, it is free; within one process, too, it is had once."""
    with lock_data_directory(tmp_path) as lock:
        with pytest.raises(PermanentError):
            lock_data_directory(tmp_path)
        lock.release()
    with lock_data_directory(tmp_path):
        pass


def test_a_missing_directory_is_made_private(tmp_path: Path) -> None:
    """Nobody but its user looks into a new data directory."""
    path = tmp_path / "new" / "data"
    with lock_data_directory(path):
        assert path.stat().st_mode & 0o777 == 0o700
        assert (path / "gitopsd.lock").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    """A file in its place is a sentence, not a traceback."""
    (tmp_path / "file").touch()

    with pytest.raises(PermanentError, match="cannot be used"):
        lock_data_directory(tmp_path / "file")
