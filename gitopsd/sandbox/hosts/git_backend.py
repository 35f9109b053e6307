"""Git's own smart HTTP server, ``git http-backend``, behind aiohttp.

Source: git-http-backend(1) and the CGI it speaks (RFC 3875).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from aiohttp import web

from gitopsd.errors import PermanentError

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK_BYTES = 64 * 1024
QUIET_GIT = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
NO_GIT = "there is no git in PATH; install it: apt-get install git, or dnf install git"


def find_git() -> str:
    """Find the program.

    Raises:
        PermanentError: There is none.
    """
    found = shutil.which("git")
    if found is None:
        raise PermanentError(NO_GIT)
    return found


async def run_git(*words: str, directory: Path | None = None) -> str:
    """Run a Git command and return what it printed.

    Raises:
        PermanentError: It failed; says what Git said.
    """
    process = await asyncio.create_subprocess_exec(
        find_git(),
        *words,
        cwd=directory,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8", **QUIET_GIT},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, said = await process.communicate()
    if process.returncode:
        raise PermanentError(f"git {words[0]}: {said.decode(errors='replace').strip()}")
    return output.decode(errors="replace")


async def find_backend() -> str:
    """Find the program ``git-http-backend``.

    Raises:
        PermanentError: There is no Git.
    """
    return str(Path((await run_git("--exec-path")).strip()) / "git-http-backend")


class GitBackend:
    """Answers requests for the repositories under a directory.

    Args:
        root: The directory.
        program: What `find_backend` returned.
    """

    def __init__(self, root: Path, program: str) -> None:
        self._root = root
        self._program = program

    async def answer(
        self, request: web.Request, *, protocol: str | None = None
    ) -> web.StreamResponse:
        """Answer a request, but for the end of its body: the caller calls ``write_eof``.

        Args:
            request: A request of a Git client, whoever sent it.
            protocol: Git protocol to speak; what the client asks for when left out.
        """
        body = await request.read()
        process = await asyncio.create_subprocess_exec(
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(request, len(body), protocol),
        )
        stdin, stdout = process.stdin, process.stdout
        if stdin is None or stdout is None:
            raise PermanentError("the child has no pipes")
        feeding = asyncio.create_task(_feed(stdin, body))
        try:
            response = await _read_head(stdout)
            await response.prepare(request)
            while chunk := await stdout.read(CHUNK_BYTES):
                await response.write(chunk)
            await feeding
        finally:
            feeding.cancel()
            if process.returncode is None:
                # Not process.kill(): it would take note of an end that the loop then misses.
                with contextlib.suppress(ProcessLookupError):
                    os.kill(process.pid, signal.SIGKILL)
            await process.wait()
        return response

    def _environment(
        self, request: web.Request, length: int, protocol: str | None
    ) -> dict[str, str]:
        asked = request.headers.get("Git-Protocol", "")
        return {
            "PATH": os.defpath,
            "GIT_PROJECT_ROOT": str(self._root),
            "GIT_HTTP_EXPORT_ALL": "1",
            **QUIET_GIT,
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": "git",
            "REMOTE_ADDR": request.remote or "",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "GIT_PROTOCOL": asked if protocol is None else protocol,
        }


async def list_refs(repository: Path) -> dict[str, str]:
    """List the refs of a bare repository and what they point to."""
    lines = await run_git("for-each-ref", "--format=%(objectname) %(refname)", directory=repository)
    pairs: Sequence[Sequence[str]] = [line.split(" ", 1) for line in lines.splitlines()]
    return {ref: commit for commit, ref in pairs}


async def _read_head(stdout: asyncio.StreamReader) -> web.StreamResponse:
    response = web.StreamResponse()
    while line := (await stdout.readline()).strip():
        name, _, value = line.decode().partition(": ")
        if name == "Status":
            response.set_status(int(value.split(" ")[0]))
        else:
            response.headers[name] = value
    return response


async def _feed(stdin: asyncio.StreamWriter, body: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(body)
        await stdin.drain()
    stdin.close()
