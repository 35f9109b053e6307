"""The HTTP surface over the engine in memory, on a real socket of the loopback interface."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, TypeAlias, TypeVar

import aiohttp

from gitopsd.domain.config import ApplicationSpec, HeldRemoval
from gitopsd.domain.groups import GroupSpec
from gitopsd.domain.manifests import Digest, Json
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.stages import Freeze
from gitopsd.domain.verifications import Quarantine
from gitopsd.domain.work import AuditEntry, EvidenceKind
from gitopsd.engine.actions import Actions
from gitopsd.engine.changes import AnnouncingStore, Changes
from gitopsd.entrypoints.http.app import build_app
from gitopsd.entrypoints.http.limits import Rate, TokenBuckets
from gitopsd.entrypoints.http.server import Bounds, listen
from gitopsd.entrypoints.http.service import ProcessState, Service
from gitopsd.entrypoints.tokens import make_token
from gitopsd.errors import ConfigError
from gitopsd.store_ports import Store, Transaction
from tests.support.engine_world import (
    PRODUCTION,
    STAGING,
    World,
    deployment,
    make_world,
    shop_spec,
    started,
)

T = TypeVar("T")
Document: TypeAlias = Any
"""What an answer holds; each test knows its own."""

IMAGE = f"registry.example/api@sha256:{'a' * 64}"
ROLES = ("viewer", "deployer", "approver", "skip-gate", "admin")


@dataclass
class Reply:
    """An answer, read to its end."""

    status: int
    headers: dict[str, str]
    text: str
    document: Document


class TroubledStore:
    """A store that fails as often as it is told to.

    Args:
        store: What answers otherwise.
    """

    def __init__(self, store: Store) -> None:
        self.trouble: list[Exception] = []
        self._store = store

    async def transact(self, work: Callable[[Transaction], T]) -> T:
        """Fail, or run a transaction."""
        if self.trouble:
            raise self.trouble.pop(0)
        return await self._store.transact(work)

    async def read(self, work: Callable[[Transaction], T]) -> T:
        """Fail, or read."""
        if self.trouble:
            raise self.trouble.pop(0)
        return await self._store.read(work)

    async def close(self) -> None:
        """Close the store."""
        await self._store.close()


@dataclass
class HttpWorld:
    """A world whose HTTP surface is open."""

    world: World
    service: Service
    url: str
    session: aiohttp.ClientSession
    problems: list[ConfigError]
    troubled: TroubledStore
    removals: list[HeldRemoval]
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(
        self,
        subject: str,
        role: str = "",
        *,
        groups: tuple[str, ...] = (),
        applications: tuple[str, ...] = (),
        lasts: timedelta | None = None,
    ) -> str:
        """Make a token and return its secret."""
        now = await self.world.store.read(lambda tx: tx.now)
        expires_at = now + lasts if lasts is not None else None
        made = make_token(
            subject, role, now, groups=groups, applications=applications, expires_at=expires_at
        )
        await self.world.store.transact(lambda tx: tx.records.add_token(made.token))
        return made.secret

    async def ask(
        self,
        method: str,
        path: str,
        *,
        role: str = "admin",
        token: str | None = None,
        body: Json = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """Send one request as a role, or with a token of its own ("" for none)."""
        secret = self.tokens[role] if token is None else token
        sent = dict(headers or {})
        if secret:
            sent.setdefault("Authorization", f"Bearer {secret}")
        target = path if path.startswith("/h") else f"/api/v1{path}"
        async with self.session.request(
            method, self.url + target, json=body, headers=sent
        ) as answer:
            text = await answer.text()
            document = await answer.json(content_type=None) if text.startswith(("{", "[")) else None
            return Reply(answer.status, dict(answer.headers), text, document)

    async def get(self, path: str, *, role: str = "admin") -> Document:
        """Read something that is there."""
        reply = await self.ask("GET", path, role=role)
        assert reply.status == 200, reply.text
        return reply.document

    async def post(self, path: str, body: Json = None, *, role: str = "admin") -> Document:
        """Do something that works."""
        reply = await self.ask("POST", path, body=body, role=role)
        assert reply.status in (200, 201), reply.text
        return reply.document

    async def until(self, condition: Callable[[], Awaitable[object]], what: str) -> None:
        """Wait until a condition holds, looking after each change of the store."""
        changes = self.service.changes
        async with asyncio.timeout(20):
            while True:
                mark = changes.mark()
                if await condition():
                    return
                await changes.wait(mark, timedelta(seconds=1))
        raise AssertionError(what)


def make_http_world(
    *specs: ApplicationSpec, rate: Rate | None = None
) -> tuple[World, Service, list[ConfigError], TroubledStore]:
    """Build the world and the service over it, without opening anything."""
    world = make_world(*(specs or (shop_spec(),)))
    changes = Changes(world.clock)
    troubled = TroubledStore(world.store)
    world.services = replace(world.services, store=AnnouncingStore(troubled, changes))
    world.actions = Actions(world.services)
    problems: list[ConfigError] = []
    service = Service(
        services=world.services,
        actions=world.actions,
        changes=changes,
        state=ProcessState(started=True),
        problems=lambda: tuple(problems),
        buckets=TokenBuckets(world.clock, rate or Rate(burst=1000, per_second=1000)),
    )
    return world, service, problems, troubled


@asynccontextmanager
async def serving_world(
    *specs: ApplicationSpec,
    run: bool = True,
    rate: Rate | None = None,
    bounds: Bounds | None = None,
) -> AsyncIterator[HttpWorld]:
    """Open a world's HTTP surface, with its engine running unless told otherwise.

    Args:
        specs: The applications; the usual shop if left out.
        run: Whether the engine works.
        rate: How often one source may send deliveries.
        bounds: What the listener bears.
    """
    world, service, problems, troubled = make_http_world(*specs, rate=rate)
    removals: list[HeldRemoval] = []
    service = replace(service, removals=lambda: tuple(removals))
    listener = await listen(
        build_app(service),
        "127.0.0.1:0",
        bounds or Bounds(linger_seconds=0.2, shutdown_seconds=1.0),
    )
    try:
        async with aiohttp.ClientSession() as session:
            made = HttpWorld(world, service, listener.url, session, problems, troubled, removals)
            for role in ROLES:
                groups = ("release-managers",) if role in ("approver", "admin") else ()
                made.tokens[role] = await made.token(f"{role}-person", role, groups=groups)
            if not run:
                yield made
                return
            async with started(world):
                yield made
    finally:
        service.changes.close()
        await listener.close()


@dataclass(frozen=True)
class Busy:
    """Ids of a world in which something of each kind is there."""

    commit: str
    release: str
    finished: str
    waiting: str
    quarantine: str
    freeze: str


def grouped() -> ApplicationSpec:
    """The usual shop, its production in a group."""
    spec = shop_spec(lambda stage: replace(stage, group="world"))
    return replace(spec, groups=(GroupSpec("world"),))


async def make_busy(http: HttpWorld) -> Busy:
    """Bring a release to staging, let it wait at production's Gate, and put a row of each kind."""
    world = http.world
    commit = await world.push("one", deployment(IMAGE))
    finished = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
    waiting = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
    await http.until(lambda: _has_gates(http, waiting.id), "the gates were evaluated")

    def work(tx: Transaction) -> None:
        held = Quarantine(
            "q-1", STAGING, Digest("sha256:bad"), (), waiting.release, "api crashes", tx.now
        )
        tx.quarantines.add(held)
        tx.records.add_freeze(Freeze("f-1", "application:other", "alex", "audit", tx.now))
        tx.records.append_audit(AuditEntry(0, tx.now, "alex", "freeze", "application:other"))

    await world.store.transact(work)
    return Busy(commit, waiting.release, finished.id, waiting.id, "q-1", "f-1")


async def _has_gates(http: HttpWorld, run: RunId) -> bool:
    return await http.world.store.read(
        lambda tx: any(item.kind is EvidenceKind.GATES for item in tx.runs.evidence(run))
    )


async def send_raw(url: str, sent: bytes, *, then_close: bool = False) -> bytes:
    """Send bytes as they are and read until the server closes the connection.

    Args:
        url: Base URL of the server.
        sent: What to send.
        then_close: Whether our half is closed after sending.
    """
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        await writer.drain()
        if then_close:
            writer.write_eof()
        return await reader.read()
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
