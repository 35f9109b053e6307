"""Finds the adapter's Git children among the processes of this machine."""

from __future__ import annotations

import os
from pathlib import Path

_MODULE = b"gitopsd.adapters.git.child"


def list_git_children(parent: int | None = None) -> list[int]:
    """List the living Git children of a process, of this one when left out."""
    wanted = os.getpid() if parent is None else parent
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (directory / "cmdline").read_bytes().split(b"\0")
            stat = (directory / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if _MODULE in arguments and int(stat[1]) == wanted and stat[0] != "Z":
            found.append(int(directory.name))
    return found


def read_process_file(pid: int, name: str) -> bytes:
    """Read what the kernel tells about a process: ``cmdline``, ``environ`` and the like."""
    return Path(f"/proc/{pid}/{name}").read_bytes()


def is_running(pid: int) -> bool:
    """Whether a process runs; one that waits for init to take note of its end does not."""
    try:
        stat = read_process_file(pid, "stat").decode()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
