"""Runs the command line in this process, against a server of this process."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gitopsd.cli.app import main


@dataclass(frozen=True)
class Ran:
    """What a verb did.

    Attributes:
        code: Exit code.
        out: What it wrote to standard output.
        err: What it wrote to standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:  # noqa: ANN401 - each test knows its own
        """Standard output as JSON."""
        return json.loads(self.out)


def run(*arguments: str) -> Ran:
    """Run ``gitopsd ARGUMENTS`` to its end."""
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ran(code, out.getvalue(), err.getvalue())


class CommandLine:
    """A person at a terminal who works with one server.

    Args:
        url: The server.
        token: The person's token.
        directory: Where the token's file is kept.
    """

    def __init__(self, url: str, token: str, directory: Path) -> None:
        self._file = directory / "token"
        self._file.write_text(token + "\n")
        self._url = url

    async def run(self, *arguments: str) -> Ran:
        """Run a verb while the server of this process answers."""
        where = ("--server", self._url, "--token-file", str(self._file))
        return await asyncio.to_thread(run, *arguments, *where)
