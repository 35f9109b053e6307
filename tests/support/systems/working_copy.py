"""A developer's clone of a system's deploy repository: edits, commits and pushes over HTTP."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.support.systems.story import VERSION, Edit, Replace, SetLine

ROOT = Path(__file__).resolve().parents[3]
_GIT_SECONDS = 30

Files: TypeAlias = Mapping[str, str]
"""Content by path, from the repository's root."""


class EditError(Exception):
    """An edit of a story does not fit the file that it names."""


def read_manifests(system: str) -> dict[str, str]:
    """Read ``manifests/<system>/``."""
    folder = ROOT / "manifests" / system
    return {
        str(path.relative_to(folder)): path.read_text(encoding="utf-8")
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def apply_edits(files: Files, edits: Iterable[Edit], version: str) -> dict[str, str]:
    """Return the files as edits leave them.

    Args:
        files: What there is.
        edits: In order.
        version: Stands for `VERSION`.

    Raises:
        EditError: A file, a line or a text is not there, or more than once.
    """
    edited = dict(files)
    for edit in edits:
        edited[edit.path] = _apply(edited, edit).replace(VERSION, version)
    return edited


def _apply(files: Files, edit: Edit) -> str:
    if isinstance(edit, SetLine):
        line = re.compile(rf"^([ ]*{re.escape(edit.key)}:).*$", re.MULTILINE)
        text, count = line.subn(lambda found: f"{found[1]} {edit.value}", files[edit.path])
    elif isinstance(edit, Replace):
        text, count = files[edit.path], files[edit.path].count(edit.old)
        text = text.replace(edit.old, edit.new)
    else:
        text, count = edit.text, 1
    if count != 1:
        message = f"{edit.path}: {edit} fits {count} times, not once"
        raise EditError(message)
    return text


@dataclass(slots=True)
class WorkingCopy:
    """A clone.

    Attributes:
        directory: Where it lies.
        address: Where it pushes to.
        commits: What was committed, in order.
        finish: What is done to files before they are written.
        tagged: Whether each commit that is pushed gets a tag, higher than those before.
    """

    directory: Path
    address: str
    commits: list[str] = field(default_factory=list)
    finish: Callable[[Files], Files] = dict
    tagged: bool = False

    def make(self) -> None:
        """Make an empty one."""
        self.directory.mkdir(parents=True)
        self._git("init", "--quiet", "--initial-branch=main")

    def write(self, files: Files) -> None:
        """Make the clone hold exactly these files."""
        files = self.finish(files)
        tracked = self._git("ls-files", "-z").split("\0")
        for name in set(filter(None, tracked)) - files.keys():
            (self.directory / name).unlink()
        for name, text in files.items():
            path = self.directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def commit(self, message: str) -> str:
        """Commit what is there, even when nothing is different; returns the commit."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", message)
        self.commits.append(self._git("rev-parse", "HEAD").strip())
        return self.commits[-1]

    def push(self, branch: str) -> None:
        """Push what was committed last."""
        refs = [f"heads/{branch}", *([f"tags/v1.4.{len(self.commits)}"] if self.tagged else [])]
        self._git("push", "--quiet", self.address, *(f"HEAD:refs/{ref}" for ref in refs))

    def _git(self, *words: str) -> str:
        done = subprocess.run(
            ["git", "-c", "user.name=Author", "-c", "user.email=author@example.test", *words],
            cwd=self.directory,
            env={
                "PATH": os.defpath,
                "HOME": str(self.directory.parent),
                "GIT_CONFIG_NOSYSTEM": "1",
                "GIT_TERMINAL_PROMPT": "0",
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_GIT_SECONDS,
            check=False,
        )
        if done.returncode:
            message = f"git {words[0]}: {done.stderr.strip()}"
            raise EditError(message)
        return done.stdout
