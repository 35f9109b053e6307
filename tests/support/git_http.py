"""A small Git host for tests: real ``git http-backend``, passwords, and signed push webhooks.

What is real: every byte of the Git protocol, repositories on disk, and the ``git`` that people
push with. What is ours: the HTTP server around it, and the webhook sender, which speaks as GitHub
does (``X-GitHub-Event: push``, ``X-Hub-Signature-256`` over the raw body).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import hmac
import json
import os
import signal
import ssl
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from aiohttp import web

from tests.support.repositories import BareRepository

ZERO = "0" * 40
_CHUNK_BYTES = 1 << 16
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
    push_hook: PushHook | None = None
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    sent: list[SentHook] = field(default_factory=list)
    answer: Callable[[web.Request], web.StreamResponse | None] | None = None
    protocol: str | None = None
    delay: asyncio.Event | None = None
    delayed: str = ""
    _session: aiohttp.ClientSession | None = None
    _backend: str = ""

    def create(self, name: str) -> BareRepository:
        """Make an empty repository that can be pushed to, or open it."""
        self.root.mkdir(parents=True, exist_ok=True)
        return BareRepository(self.root / name)

    def address(self, name: str) -> str:
        """Address of a repository, without credentials."""
        return f"{self.url}/{name}"

    def push_address(self, name: str) -> str:
        """Address of a repository with the credentials in it, for ``git push``."""
        if self.login is None:
            return self.address(name)
        user, password = self.login
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
        if not self._is_admitted(authorization):
            challenge = {"WWW-Authenticate": 'Basic realm="git"'}
            return web.Response(status=401, headers=challenge, text="who are you?")
        repository = self._repository_of(request)
        if repository is None:
            return web.Response(status=404, text="no such repository")
        pushes = request.path.endswith("/git-receive-pack")
        before = repository.refs() if pushes else {}
        response = await self._run_backend(request)
        if pushes:
            await self._report(repository, before)
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    def _is_admitted(self, authorization: str) -> bool:
        if self.login is None:
            return True
        expected = base64.b64encode(":".join(self.login).encode()).decode()
        return hmac.compare_digest(authorization, f"Basic {expected}")

    def _repository_of(self, request: web.Request) -> BareRepository | None:
        name = request.path.lstrip("/").partition(".git/")[0] + ".git"
        path = self.root / name
        return BareRepository(path) if path.is_dir() else None

    async def _run_backend(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        process = await asyncio.create_subprocess_exec(
            self._backend,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=self._environment(request, len(body)),
        )
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None
        feeding = asyncio.create_task(_feed(stdin, body))
        try:
            response = await self._read_head(stdout)
            await response.prepare(request)
            while chunk := await stdout.read(_CHUNK_BYTES):
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

    def _environment(self, request: web.Request, length: int) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "REMOTE_USER": "git",
            "REMOTE_ADDR": request.remote or "",
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(length),
            "GIT_PROTOCOL": request.headers.get("Git-Protocol", "")
            if self.protocol is None
            else self.protocol,
        }

    @staticmethod
    async def _read_head(stdout: asyncio.StreamReader) -> web.StreamResponse:
        response = web.StreamResponse()
        while line := (await stdout.readline()).strip():
            name, _, value = line.decode().partition(": ")
            if name == "Status":
                response.set_status(int(value.split(" ")[0]))
            else:
                response.headers[name] = value
        return response

    async def _report(self, repository: BareRepository, before: dict[str, str]) -> None:
        after = repository.refs()
        for ref in sorted(before.keys() | after.keys()):
            old, new = before.get(ref, ZERO), after.get(ref, ZERO)
            if self.push_hook is not None and old != new:
                status = await self.send_push(repository.path.name, ref, old, new)
                self.sent.append(SentHook(ref, old, new, status))

    async def send_push(self, name: str, ref: str, before: str, after: str) -> int:
        """Send one signed push webhook as GitHub would; returns the status, 0 for no answer."""
        assert self.push_hook is not None
        assert self._session is not None
        body = json.dumps(self.describe_push(name, ref, before, after)).encode()
        key = self.push_hook.secret.encode()
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "GitHub-Hookshot/044aadd",
            "X-GitHub-Event": "push",
            "X-GitHub-Delivery": str(uuid.uuid4()),
            "X-Hub-Signature-256": f"sha256={hmac.new(key, body, hashlib.sha256).hexdigest()}",
        }
        try:
            async with self._session.post(self.push_hook.url, data=body, headers=headers) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    def describe_push(self, name: str, ref: str, before: str, after: str) -> dict[str, object]:
        """Describe a push as GitHub does."""
        address = self.address(name)
        short = name.removesuffix(".git")
        return {
            "ref": ref,
            "before": before,
            "after": after,
            "created": before == ZERO,
            "deleted": after == ZERO,
            "forced": False,
            "compare": f"{self.url}/{short}/compare",
            "commits": [],
            "head_commit": None if after == ZERO else {"id": after, "message": "A push"},
            "repository": {
                "id": 1,
                "name": short.rpartition("/")[2],
                "full_name": short,
                "private": True,
                "html_url": address.removesuffix(".git"),
                "url": address.removesuffix(".git"),
                "clone_url": address,
                "git_url": address.replace("http", "git", 1),
                "ssh_url": f"git@{address.partition('://')[2].replace('/', ':', 1)}",
                "default_branch": "main",
            },
            "pusher": {"name": "developer", "email": "developer@example.test"},
            "sender": {"login": "developer", "id": 1, "type": "User"},
        }


async def _feed(stdin: asyncio.StreamWriter, body: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(body)
        await stdin.drain()
    stdin.close()


async def _find_backend() -> str:
    process = await asyncio.create_subprocess_exec(
        "git", "--exec-path", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    return str(Path(output.decode().strip()) / "git-http-backend")


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
    git_host._backend = await _find_backend()
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
