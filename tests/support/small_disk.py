"""A disk of a few megabytes that a test fills, seen by those that it starts there."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_BLOCK = 64 * 1024


@dataclass(frozen=True, slots=True)
class SmallDisk:
    """A file system in memory, in a mount namespace of its own.

    Attributes:
        path: Where those see it that are started with `prefix`.
        seen_from_here: The same for the test.
        prefix: What to write before a command to run it where the disk is mounted.
    """

    path: Path
    seen_from_here: Path
    prefix: tuple[str, ...]

    def fill(self, free: int = 0) -> None:
        """Leave not one byte free, or some.

        Args:
            free: How many bytes to leave; the file system rounds it down to its own pages.
        """
        with (self.seen_from_here / "filler").open("wb", buffering=0) as file:
            size = _BLOCK
            while size:
                try:
                    size = size if file.write(b"\0" * size) == size else size // 2
                except OSError:
                    size //= 2
            file.truncate(max(file.tell() - free, 0))

    def make_room(self) -> None:
        """Take back what `fill` wrote."""
        (self.seen_from_here / "filler").unlink()


@contextmanager
def make_small_disk(directory: Path, megabytes: int) -> Iterator[SmallDisk]:
    """Mount one until the end of the block; it is gone with this process, however that ends.

    Args:
        directory: An empty directory to mount it at.
        megabytes: Its size.

    Raises:
        RuntimeError: This user may not mount; says how to run the test.
    """
    script = 'mount -t tmpfs -o "size=$1m,mode=755" tmpfs "$2" && echo mounted && exec cat'
    holder = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "--", "unshare", "--mount", "--"),
            *("sh", "-c", script, "sh", str(megabytes), str(directory)),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"PATH": os.defpath},
    )
    with holder:
        try:
            assert holder.stdout is not None
            if holder.stdout.readline() != b"mounted\n":
                _, said = holder.communicate()
                raise RuntimeError(
                    f"no disk of its own: {said.decode().strip()}. Run the test as `make test` "
                    "does, with `sh tools/own-network.sh COMMAND`, or as root"
                )
            prefix = ("nsenter", f"--mount=/proc/{holder.pid}/ns/mnt", "--")
            seen = Path(f"/proc/{holder.pid}/root{directory}")
            yield SmallDisk(directory, seen, prefix)
        finally:
            holder.kill()
