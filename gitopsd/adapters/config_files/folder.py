"""The folder on disk: which files there are, and whether they changed."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from gitopsd.adapters.config_files.documents import FOLDERS, MAX_FILE_BYTES, PEOPLE_FILE
from gitopsd.adapters.config_files.problems import suggest
from gitopsd.errors import ConfigError

MAX_FILES = 10_000
"""More files than any installation has; beyond it the folder is surely the wrong one."""

_ENDINGS = (".yaml", ".yml")
_FLAT = "__"
"""Stands for a slash in names at the top: keys of a ConfigMap hold none, and are mounted side by
side."""

_MAX_DEPTH = 4

Signature: TypeAlias = tuple[tuple[str | int, ...], ...]
"""What changes when a file, or what a link points to, is written, replaced or removed."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One regular file.

    Attributes:
        name: Path relative to the folder, with slashes.
        path: Where it is.
        status: Its status, links followed; None when it cannot be looked at.
    """

    name: str
    path: Path
    status: os.stat_result | None


@dataclass(frozen=True, slots=True)
class FolderContent:
    """What lies in the folder.

    Attributes:
        files: Path relative to the folder -> its kind and content.
        unreadable: Files that are there and cannot be read; with the reason.
        unreadable_folders: Folders that cannot be listed ("" for the whole one), with the reason.
        problems: What does not belong there.
    """

    files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    unreadable_folders: dict[str, str] = field(default_factory=dict)
    problems: list[ConfigError] = field(default_factory=list)


def load_content(directory: Path) -> FolderContent:
    """Read every configuration file below ``directory``."""
    content = FolderContent()
    for entry in _walk(directory, content.unreadable_folders):
        kind = _find_kind(entry.name)
        if kind is None:
            content.problems.append(_explain_place(entry.name))
            continue
        if entry.name in content.files:
            content.problems.append(_explain_twice(entry))
            continue
        try:
            content.files[entry.name] = (kind, _read(entry))
        except OSError as error:
            content.unreadable[entry.name] = error.strerror or str(error)
    return content


def load_signature(directory: Path, secret_files: Iterable[str] = ()) -> Signature:
    """Look at the folder without reading files.

    Args:
        directory: The configuration folder.
        secret_files: Files that the configuration names; when one appears, what it was missing for
            becomes valid.
    """
    unreadable: dict[str, str] = {}
    rows: list[tuple[str | int, ...]] = [
        (entry.name, *_sign(entry.status)) for entry in _walk(directory, unreadable)
    ]
    rows += [(folder, "unreadable", why) for folder, why in unreadable.items()]
    rows += [(name, *_sign(_look(Path(name)))) for name in secret_files]
    return tuple(sorted(rows, key=str))


def _walk(directory: Path, unreadable: dict[str, str]) -> Iterator[_Entry]:
    waiting = [(directory, "", 0)]
    count = 0
    while waiting:
        place, prefix, depth = waiting.pop()
        try:
            with os.scandir(place) as listing:
                names = sorted(one.name for one in listing if not one.name.startswith("."))
        except OSError as error:
            unreadable[prefix.rstrip("/")] = error.strerror or str(error)
            continue
        for name in names:
            path = place / name
            status = _look(path)
            if status is not None and stat.S_ISDIR(status.st_mode):
                if depth < _MAX_DEPTH:
                    waiting.append((path, f"{prefix}{name}/", depth + 1))
            elif status is None and name in FOLDERS and not prefix:
                unreadable[name] = "it is a link to nothing"
            elif name.endswith(_ENDINGS):
                count += 1
                if count > MAX_FILES:
                    unreadable[""] = f"it holds more than {MAX_FILES} files"
                    return
                yield _Entry(f"{prefix}{name}" if prefix else _unfold(name), path, status)


def _unfold(name: str) -> str:
    folder, flat, rest = name.partition(_FLAT)
    return f"{folder}/{rest}" if flat and folder in FOLDERS else name


def _look(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):  # gone, a dangling link, or no path at all
        return None


def _sign(status: os.stat_result | None) -> tuple[int, ...]:
    if status is None:
        return ()
    # The inode tells a renamed file, the change time one whose modification time was set back.
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
    )


def _find_kind(name: str) -> str | None:
    folder, slash, _ = name.partition("/")
    if not slash:
        return "People" if name == PEOPLE_FILE else None
    return FOLDERS.get(folder)


def _explain_place(name: str) -> ConfigError:
    folder, slash, _ = name.partition("/")
    if slash:
        problem = f"{folder}/ is no folder of the configuration"
        remedy = suggest(folder, FOLDERS)
    else:
        problem = "only people.yaml lies at the top of the configuration"
        remedy = "Move the file into the folder of its kind: " + ", ".join(sorted(FOLDERS))
    return ConfigError(file=name, path="", problem=problem, remedy=remedy)


def _explain_twice(entry: _Entry) -> ConfigError:
    return ConfigError(
        file=entry.name,
        path="",
        problem=f"it is there twice, once as {entry.name.replace('/', _FLAT, 1)} at the top",
        remedy="Keep one of the two",
    )


def _read(entry: _Entry) -> bytes:
    if entry.status is None:
        raise FileNotFoundError(0, "it is not there, or a link to nothing")
    if not stat.S_ISREG(entry.status.st_mode):
        raise OSError(0, "it is no regular file")
    with entry.path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)
