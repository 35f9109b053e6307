"""A small Git host for tests: real ``git http-backend``, passwords, and signed push webhooks.

What is real: every byte of the Git protocol, repositories on disk, and the ``git`` that people
push with. What is ours: the HTTP server around it, and the webhook sender, which speaks as GitHub
does (``X-GitHub-Event: push``, ``X-Hub-Signature-256`` over the raw body).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hmac
import json
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.hosts.git_backend import GitBackend, find_backend
from gitopsd.sandbox.hosts.push_hooks import (
    Movement,
    describe_push,
    list_movements,
    sign_push,
)
from tests.support.repositories import BareRepository

_HOOK_TIMEOUT = aiohttp.ClientTimeout(total=10)


@dataclass(frozen=True, slots=True)
class PushHook:
    """Where pushes are reported.

    Attributes:
        url: Address of the receiver.
        secret: Key of the signature.
    """

    url: str
    secret: str


@dataclass(frozen=True, slots=True)
class SentHook:
    """One delivery that the host made.

    Attributes:
        ref: Ref that moved.
        before: Its target before the push.
        after: Its target after the push.
        status: HTTP status of the receiver; 0 when it did not answer.
    """

    ref: str
    before: str
    after: str
    status: int


@dataclass(slots=True)
class GitHost:
    """A running Git host; made by `run_git_http`.

    Attributes:
        root: Directory of the repositories.
        url: Base address.
        login: User name and password that are asked for; None lets everybody in.
        writer: User name and password that pushes need instead; None for none of their own.
        push_hook: Where pushes are reported; None for nowhere.
        requests: Method, path with query, and Authorization header of each request, in order.
        sent: Deliveries of push webhooks, in order.
        answer: Answers a request instead of Git when it returns a response.
        delay: Held requests are answered when it is set; None holds none.
        delayed: Part of the user agents whose requests are held; empty holds all.
        protocol: Git protocol to speak whatever the client asks for; None for what it asks for.
    """

    root: Path
    url: str = ""
    login: tuple[str, str] | None = None
    writer: tuple[str, str] | None = None
    push_hook: PushHook | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[SentHook] = field(default_factory=list)
    answer: Callable[[web.Request], web.StreamResponse | None] | None = None
    protocol: str | None = None
    delay: asyncio.Event | None = None
    delayed: str = ""
    _session: aiohttp.ClientSession | None = None
    _backend: GitBackend | None = None

    def create(self, name: str) -> BareRepository:
        """Make an empty repository that can be pushed to, or open it."""
        self.root.mkdir(parents=True, exist_ok=True)
        return BareRepository(self.root / name)

    def address(self, name: str) -> str:
        """Address of a repository, without credentials."""
        return f"{self.url}/{name}"

    def push_address(self, name: str) -> str:
        """Address of a repository with the credentials in it, for ``git push``."""
        login = self.writer or self.login
        if login is None:
            return self.address(name)
        user, password = login
        return self.address(name).replace("://", f"://{user}:{password}@", 1)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        authorization = request.headers.get("Authorization", "")
        self.requests.append((request.method, request.path_qs, authorization))
        agent = request.headers.get("User-Agent", "")
        if self.delay is not None and self.delayed in agent:
            await self.delay.wait()
        special = self.answer(request) if self.answer is not None else None
        if special is not None:
            return special
        if not self._is_admitted(request, authorization):
            challenge = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=401, headers=challenge, text="who are you?")
        repository = self._repository_of(request)
        if repository is None:
            return web.Response(status=404, text="no such repository")
        pushes = request.path.endswith("/git-receive-pack")
        before = repository.refs() if pushes else {}
        assert self._backend is not None
        response = await self._backend.answer(request, protocol=self.protocol)
        if pushes:
            await self._report(repository, before)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _is_admitted(self, request: web.Request, authorization: str) -> bool:
        writes = "git-receive-pack" in request.path_qs
        login = self.writer if writes and self.writer is not None else self.login
        if login is None:
            return True
        expected = base64.b64encode(":".join(login).encode()).decode()
        return hmac.compare_digest(authorization, f"Basic {expected}")

    def _repository_of(self, request: web.Request) -> BareRepository | None:
        name = request.path.lstrip("/").partition(".git/")[0] + ".git"
        path = self.root / name
        return BareRepository(path) if path.is_dir() else None

    async def _report(self, repository: BareRepository, before: dict[str, str]) -> None:
        for moved in list_movements(before, repository.refs()):
            if self.push_hook is not None:
                status = await self.send_push(
                    repository.path.name, moved.ref, moved.before, moved.after
                )
                self.sent.append(SentHook(moved.ref, moved.before, moved.after, status))

    async def send_push(self, name: str, ref: str, before: str, after: str) -> int:
        """Send one signed push webhook as GitHub would; returns the status, 0 for no answer."""
        assert self.push_hook is not None
        assert self._session is not None
        described = self.describe_push(name, ref, before, after)
        body = json.dumps(described).encode()
        headers = sign_push(body, self.push_hook.secret.encode())
        try:
            async with self._session.post(self.push_hook.url, data=body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    def describe_push(self, name: str, ref: str, before: str, after: str) -> JsonObject:
        """Describe a push as GitHub does."""
        return describe_push(self.url, name, Movement(ref, before, after))


@contextlib.asynccontextmanager
async def run_git_http(
    root: Path,
    *,
    login: tuple[str, str] | None = None,
    push_hook: PushHook | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[GitHost]:
    """Run a Git host over HTTP for as long as the block lasts.

    Args:
        root: Directory of the repositories; made when it does not exist.
        login: User name and password that are asked for.
        push_hook: Where pushes are reported.
        host: Address to listen on.
        port: Port to listen on; 0 for a free one.
        tls: Certificate to serve HTTPS with.
    """
    git_host = GitHost(root, login=login, push_hook=push_hook)
    git_host._backend = GitBackend(root, await find_backend())
    application = web.Application(client_max_size=1 << 30)
    application.router.add_route("*", "/{path:.*}", git_host.handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        bound = runner.addresses[0][1]
        git_host.url = f"{'https' if tls else 'http'}://{host}:{bound}"
        async with aiohttp.ClientSession(timeout=_HOOK_TIMEOUT) as session:
            git_host._session = session
            yield git_host
    finally:
        await runner.cleanup()
