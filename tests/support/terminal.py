"""A terminal in which a test types the commands of a document, block by block."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.support.processes import ServerProcess, inherited_environment
from tests.support.projects import REPOSITORY

OWN_PROGRAMS = Path(sys.executable).parent
LONGEST = timedelta(minutes=5)


class CommandFailedError(AssertionError):
    """A command of a document ended otherwise than it is said to."""


@dataclass(slots=True)
class Terminal:
    """One shell: where it stands and what it exported is kept from block to block.

    Attributes:
        directory: Where it stands at first, and where it keeps what it remembers.
        words: What a reader puts for a word of the document, in order.
        environment: What it has exported.
        said: Everything that was printed, for messages.
    """

    directory: Path
    words: dict[str, str]
    environment: dict[str, str]
    stands: Path = field(init=False)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin at home."""
        self.stands = self.directory

    def translate(self, text: str) -> str:
        """Put the reader's own names for those of the document."""
        for word, own in self.words.items():
            text = text.replace(word, own)
        return text

    def type(self, block: str, *, code: int | None = 0) -> str:
        """Type a block, whose first failing command ends it; returns what it printed.

        Args:
            block: Commands as the document has them.
            code: With what the block ends; None takes whatever it is.

        Raises:
            CommandFailedError: It ended with another code.
        """
        state = self.directory / ".exported"
        remember = f"pwd > {shlex.quote(f'{state}.pwd')}; env -0 > {shlex.quote(str(state))}"
        done = subprocess.run(
            ["sh", "-e", "-c", f"trap {shlex.quote(remember)} EXIT\n{self.translate(block)}"],
            cwd=self.stands,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST.total_seconds(),
            check=False,
        )
        self.said.append(f"$ {block}\n{done.stdout}{done.stderr}")
        if code is not None and done.returncode != code:
            told = "\n".join(self.said[-3:])
            raise CommandFailedError(f"ended with {done.returncode}, not {code}:\n{told}")
        self.stands = Path((self.directory / ".exported.pwd").read_text().rstrip("\n"))
        kept = [entry.partition("=") for entry in state.read_text().split("\0") if entry]
        self.environment = {name: value for name, _, value in kept}
        return done.stdout

    @contextmanager
    def leave_running(self, block: str) -> Iterator[ServerProcess]:
        """Type a block whose last command stays in the foreground; it is ended with the block."""
        *before, last = block.strip().splitlines()
        if before:
            self.type("\n".join(before))
        name = last.split()[1]
        program = shutil.which(last.split()[0], path=self.environment["PATH"])
        assert program is not None, last
        log = self.directory / f"{name}.log"
        process = ServerProcess.start(
            name,
            ["sh", "-c", 'cd "$0" && exec "$@"', str(self.stands), program, *last.split()[1:]],
            log,
            environment=self.environment,
        )
        try:
            yield process
        finally:
            process.stop(timedelta(seconds=30))


def open_terminal(directory: Path, words: Mapping[str, str], **more: str) -> Terminal:
    """Open one for somebody who has only what the system has.

    Args:
        directory: An empty directory to stand in; the home directory too.
        words: What to put for words of the document.
        more: What was exported before.
    """
    (directory / "tmp").mkdir(parents=True)
    path = f"{OWN_PROGRAMS}:/usr/local/bin:/usr/bin:/bin"
    home = {"HOME": str(directory), "TMPDIR": str(directory / "tmp"), "LANG": "C.UTF-8"}
    return Terminal(directory, dict(words), {"PATH": path, **home, **more})


def make_origin(directory: Path) -> dict[str, str]:
    """Make a repository of the code as it stands here; returns what lets Git clone it ready made.

    A clone gets a ``.venv`` of the programs that these tests run with: making one takes an index
    of Python packages, and has tests of its own.

    Args:
        directory: Where the repository comes to lie.
    """
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
    ).stdout
    directory.mkdir(parents=True)
    for name in filter(None, files.decode().split("\0")):
        source, target = REPOSITORY / name, directory / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    author = ("-c", "user.name=Author", "-c", "user.email=author@example.test")
    for words in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "All of it"]):
        subprocess.run(["git", *author, *words], cwd=directory, check=True)
    hook = directory.with_name("template") / "hooks" / "post-checkout"
    hook.parent.mkdir(parents=True)
    links = " ".join(str(OWN_PROGRAMS / name) for name in ("gitopsd", "pytest", "kubectl"))
    hook.write_text(
        f"#!/bin/sh\nmkdir -p .venv/bin && ln -s {links} .venv/bin/\ntouch .venv/.locked\n"
    )
    hook.chmod(0o755)
    cache = inherited_environment("XDG_CACHE_HOME", "HOME")
    return {
        "GIT_TEMPLATE_DIR": str(hook.parents[1]),
        "XDG_CACHE_HOME": cache.get("XDG_CACHE_HOME", f"{cache.get('HOME', os.sep)}/.cache"),
    }
