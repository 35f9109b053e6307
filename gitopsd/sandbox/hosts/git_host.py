"""A Git host: repositories over HTTP, a login, and signed push webhooks as GitHub sends them.

Run it with ``python -m gitopsd.sandbox.hosts.git_host``. Where pushes are reported is read from
the hook file at each push, as a person may set a webhook at any time::

    {"url": "http://127.0.0.1:8080/hooks/github", "secretFile": "/path/of/the/secret"}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections import defaultdict
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import orjson
from aiohttp import web

from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.hosts.foreground import LARGEST_REQUEST_BYTES, run_foreground, run_host
from gitopsd.sandbox.hosts.git_backend import GitBackend, find_backend, list_refs, run_git
from gitopsd.sandbox.hosts.logins import find_user, read_receiver
from gitopsd.sandbox.hosts.push_hooks import (
    Movement,
    describe_push,
    is_forced,
    list_commits,
    list_movements,
    sign_push,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from gitopsd.domain.manifests import JsonObject

HOOK_TIMEOUT = aiohttp.ClientTimeout(total=10)
TRIES = 5
FIRST_WAIT = timedelta(milliseconds=500)
_SENT = range(200, 300)


@dataclass(frozen=True, slots=True)
class GitHostOptions:
    """How a host runs.

    Attributes:
        root: Directory of the repositories.
        login_file: File with ``user:password`` lines; None lets everybody in.
        hook_file: File that says where pushes are reported; None: nowhere.
        repositories: Names of repositories that are made when they are not there.
    """

    root: Path
    login_file: Path | None = None
    hook_file: Path | None = None
    repositories: Sequence[str] = ()


@dataclass(slots=True)
class GitHost:
    """The running host; an application's handlers and what it sends."""

    options: GitHostOptions
    clock: Clock = field(default_factory=Clock)
    url: str = ""
    _backend: GitBackend | None = None
    _session: aiohttp.ClientSession | None = None
    _locks: defaultdict[str, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )
    _sending: set[asyncio.Task[None]] = field(default_factory=set)

    def make_app(self) -> web.Application:
        """Make what is served."""
        app = web.Application(client_max_size=LARGEST_REQUEST_BYTES)
        app.router.add_route("*", "/{path:.*}", self.handle)
        return app

    @asynccontextmanager
    async def run(self, url: str) -> AsyncIterator[None]:
        """Make the repositories; deliver webhooks for as long as the block lasts."""
        self.url = url
        self.options.root.mkdir(parents=True, exist_ok=True)
        for name in self.options.repositories:
            await make_repository(self.options.root / name)
        async with AsyncExitStack() as stack:
            session = aiohttp.ClientSession(timeout=HOOK_TIMEOUT)
            self._session = await stack.enter_async_context(session)
            self._backend = GitBackend(self.options.root, await find_backend())
            try:
                yield
            finally:
                for task in self._sending:
                    task.cancel()
                if self._sending:
                    await asyncio.wait(self._sending)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of a Git client."""
        user = find_user(self.options.login_file, request.headers.get("Authorization", ""))
        if user is None:
            challenge = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=HTTPStatus.UNAUTHORIZED, headers=challenge, text="Log in.\n")
        name = request.path.lstrip("/").partition(".git/")[0] + ".git"
        repository = self.options.root / name
        if ".." in Path(name).parts or not repository.is_dir() or self._backend is None:
            return web.Response(status=HTTPStatus.NOT_FOUND, text="No such repository.\n")
        if not request.path.endswith("/git-receive-pack"):
            return await _finish(await self._backend.answer(request))
        async with self._locks[name]:
            before = await list_refs(repository)
            response = await self._backend.answer(request)
            moved = list_movements(before, await list_refs(repository))
            for movement in moved:
                body = await self._describe(name, movement, user)
                self._send_soon(orjson.dumps(body))
        return await _finish(response)

    async def _describe(self, name: str, movement: Movement, user: str) -> JsonObject:
        repository = self.options.root / name
        return describe_push(
            self.url,
            name,
            movement,
            pusher=user,
            commits=await list_commits(repository, movement, f"{self.url}/{name}"),
            forced=await is_forced(repository, movement),
        )

    def _send_soon(self, body: bytes) -> None:
        task = asyncio.create_task(self._send(body))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send(self, body: bytes) -> None:
        """Deliver, with a few tries. Safe to repeat: each has the same delivery id."""
        hook = read_receiver(self.options.hook_file)
        if hook is None:
            return
        url, secret = hook
        headers, wait = sign_push(body, secret), FIRST_WAIT
        for _ in range(TRIES):
            if await self._post(url, body, headers) in _SENT:
                return
            await self.clock.sleep(wait)
            wait *= 2
        sys.stderr.write(f"{url} took no delivery; it was tried {TRIES} times\n")

    async def _post(self, url: str, body: bytes, headers: dict[str, str]) -> int:
        if self._session is None:
            return 0
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0


async def make_repository(path: Path) -> None:
    """Make an empty bare repository that can be pushed to. Safe to repeat: one there stays."""
    await run_git("init", "--quiet", "--bare", "--initial-branch=main", str(path))
    await run_git("config", "http.receivepack", "true", directory=path)


async def _finish(response: web.StreamResponse) -> web.StreamResponse:
    with contextlib.suppress(ConnectionError):
        await response.write_eof()
    return response


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the process."""
    parser = argparse.ArgumentParser(prog="python -m gitopsd.sandbox.hosts.git_host")
    parser.add_argument("--listen", default="127.0.0.1:0", metavar="HOST:PORT")
    parser.add_argument("--info", type=Path, help="file that gets pid and url when it listens")
    parser.add_argument("--root", type=Path, required=True, help="directory of the repositories")
    parser.add_argument("--login-file", type=Path, help="lines of user:password")
    parser.add_argument("--hook-file", type=Path, help="JSON with url and secretFile")
    parser.add_argument("--repository", action="append", default=[], help="made when not there")
    parser.add_argument("--parent", type=int, default=0, help="process that it ends with")
    given = parser.parse_args(arguments)
    host = GitHost(
        GitHostOptions(
            root=given.root,
            login_file=given.login_file,
            hook_file=given.hook_file,
            repositories=given.repository,
        )
    )
    run_host(run_foreground(given.listen, given.info, host.make_app(), host.run), given.parent)


if __name__ == "__main__":
    main()
