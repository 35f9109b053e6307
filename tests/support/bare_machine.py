"""A machine on which only a few programs are installed, for what setup says of the others."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from tests.support.projects import REPOSITORY

ESSENTIAL = (
    *("sh", "env", "cat", "chmod", "cp", "cut", "date", "dirname", "find", "flock", "head", "id"),
    *("ln", "make", "mkdir", "mktemp", "mv", "rm", "sed", "sha256sum", "sort", "tail", "touch"),
    *("tr", "uname"),
)
"""What every Debian has, and make."""

_SETUP = ("Makefile", "pyproject.toml", "requirements", "tools", "tests/envtest")


@dataclass(frozen=True, slots=True)
class BareMachine:
    """A copy of what sets a clone up, and a PATH with few programs.

    Attributes:
        clone: The copy; nothing is installed in it.
        programs: The one directory of the PATH.
        home: An empty home directory.
    """

    clone: Path
    programs: Path
    home: Path

    def link(self, name: str) -> None:
        """Install a program of this machine.

        Raises:
            LookupError: It is not here either.
        """
        found = shutil.which(name)
        if found is None:
            raise LookupError(name)
        (self.programs / name).symlink_to(found)

    def write(self, name: str, script: str) -> None:
        """Install a program that is a shell script, in place of what there was."""
        file = self.programs / name
        file.unlink(missing_ok=True)
        file.write_text(f"#!/bin/sh\n{dedent(script)}")
        file.chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        """What a login there would have."""
        return {"PATH": str(self.programs), "HOME": str(self.home), "LANG": "C.UTF-8"}

    def run(self, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone.

        Args:
            command: Program and arguments.
            more: More of its environment.
        """
        return subprocess.run(
            command,
            cwd=self.clone,
            env={**self.environment, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


def make_bare_machine(directory: Path, programs: Sequence[str] = ESSENTIAL) -> BareMachine:
    """Make one with some programs of this machine."""
    made = BareMachine(directory / "clone", directory / "bin", directory / "home")
    for path in (made.clone, made.programs, made.home):
        path.mkdir()
    for name in programs:
        made.link(name)
    for name in _SETUP:
        source, target = REPOSITORY / name, made.clone / name
        target.parent.mkdir(exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, target)
    return made


def without_place(place: Path, command: Sequence[str]) -> list[str]:
    """Prefix a command so that it finds a directory of this machine empty."""
    if not place.exists():
        return list(command)
    unshare = shutil.which("unshare") or "unshare"
    mount = shutil.which("mount") or "mount"
    apart = [unshare, "--mount"] if os.geteuid() == 0 else [unshare, "--map-root-user", "--mount"]
    script = f'{mount} -t tmpfs tmpfs {place} && exec "$@"'
    return [*apart, "--", "sh", "-c", script, "sh", *command]
