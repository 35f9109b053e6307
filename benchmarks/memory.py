"""How much memory a process and its children hold, shared pages counted by their share."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path, PurePosixPath

_PSS = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """One process.

    Attributes:
        pid: Its id.
        command: Its command line, every path by its last part.
        kilobytes: Its proportional set size.
    """

    pid: int
    command: str
    kilobytes: int


def parse_pss(text: str) -> int:
    """Read ``Pss`` from ``smaps_rollup``, in kB.

    Raises:
        ValueError: It is not there.
    """
    found = _PSS.search(text)
    if found is None:
        raise ValueError("there is no line Pss")
    return int(found[1])


def select_tree(root: int, parents: Iterable[tuple[int, int]]) -> set[int]:
    """Select a process and everything below it.

    Args:
        root: The topmost process.
        parents: (process, its parent) of all processes.
    """
    children: dict[int, list[int]] = {}
    for pid, parent in parents:
        children.setdefault(parent, []).append(pid)
    tree, waiting = set(), [root]
    while waiting:
        pid = waiting.pop()
        if pid not in tree:
            tree.add(pid)
            waiting += children.get(pid, [])
    return tree


def name_command(arguments: Iterable[str]) -> str:
    """Name a command line without the places of the machine it ran on."""
    return " ".join(PurePosixPath(word).name for word in arguments if word)


def read_tree(root: int) -> list[ProcessMemory]:
    """Read the memory of a process and everything below it, largest first."""
    found = []
    for pid in select_tree(root, _list_parents()):
        with suppress(OSError):
            folder = _PROC / str(pid)
            command = name_command((folder / "cmdline").read_bytes().decode().split("\0"))
            pss = parse_pss((folder / "smaps_rollup").read_text())
            found.append(ProcessMemory(pid, command, pss))
    return sorted(found, key=lambda one: one.kilobytes, reverse=True)


def _list_parents() -> list[tuple[int, int]]:
    found = []
    # Every process of the machine is looked at: text files by `Path` take twice the time.
    for entry in os.scandir(_PROC):
        if entry.name.isdecimal():
            with suppress(OSError), FileIO(f"{entry.path}/stat") as stat:
                found.append((int(entry.name), int(stat.read().rpartition(b")")[2].split()[1])))
    return found
