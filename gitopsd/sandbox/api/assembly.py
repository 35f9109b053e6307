"""Puts the API server of one simulated cluster together, and starts and stops it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from gitopsd.sandbox.api.admission import Admission
from gitopsd.sandbox.api.authority import make_authority
from gitopsd.sandbox.api.bootstrap_objects import create_bootstrap_objects
from gitopsd.sandbox.api.control import ControlServer
from gitopsd.sandbox.api.definitions import DefinitionKeeper
from gitopsd.sandbox.api.deleting import Deleter
from gitopsd.sandbox.api.dispatch import Dispatcher
from gitopsd.sandbox.api.faults import Faults
from gitopsd.sandbox.api.forwarding import Forwarder
from gitopsd.sandbox.api.gate import Gate
from gitopsd.sandbox.api.identity import AUTHENTICATED, MASTERS, Tokens, User
from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.api.kubeconfigs import make_kubeconfig
from gitopsd.sandbox.api.parts import Parts
from gitopsd.sandbox.api.plain_paths import PlainPaths
from gitopsd.sandbox.api.proxies import Proxies
from gitopsd.sandbox.api.reading import Reader
from gitopsd.sandbox.api.request_log import RequestLog
from gitopsd.sandbox.api.reviews import Reviewer
from gitopsd.sandbox.api.rights import Rights
from gitopsd.sandbox.api.served import ServedResources
from gitopsd.sandbox.api.server import ApiServer
from gitopsd.sandbox.api.stamping import Stamper
from gitopsd.sandbox.api.storage import ObjectStore
from gitopsd.sandbox.api.watching import Watcher
from gitopsd.sandbox.api.writing import Writer
from gitopsd.sandbox.objects.schemas import Schemas
from gitopsd.sandbox.objects.service_addresses import ServiceAddresses
from gitopsd.sandbox.objects.writes import ObjectWriter

if TYPE_CHECKING:
    from types import TracebackType

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.authority import Authority
    from gitopsd.sandbox.clock import Clock

SERVICES = Kind("", "services")
ADMINISTRATOR = User("sandbox-admin", (MASTERS, AUTHENTICATED))


@dataclass(frozen=True, slots=True)
class Listen:
    """Where to listen.

    Attributes:
        host: Address; clients use it too.
        port: Port; 0: a free one.
    """

    host: str = "127.0.0.1"
    port: int = 0


class SandboxApi:
    """The API server of one cluster; an async context manager.

    Attributes:
        store: Its objects.
        admission: What must be there before an object can be made.
        tokens: Who may ask.
        faults: The fault switches.
        log: The requests.
        url: Where it listens, once it is entered.
        control: Where requests are shown and faults switched, once it is entered.
    """

    def __init__(self, listen: Listen, clock: Clock) -> None:
        self._listen = listen
        self._clock = clock
        self._stack = AsyncExitStack()
        self._authority: Authority | None = None
        self._keeping: asyncio.Task[None] | None = None
        self.url = ""
        self.control = ""
        served = ServedResources(Schemas.load())
        self._served = served
        addresses = ServiceAddresses(lambda: self.store.list(SERVICES).items)
        objects = ObjectWriter(served.schemas, addresses)
        # A cluster that is made anew goes on above where the one before it can have ended.
        first = int(clock.now().timestamp() * 1000)
        self.store = ObjectStore(clock, stamp=Stamper(served, objects, clock), version=first)
        self.admission = Admission(self.store)
        self.tokens = Tokens(self.store)
        self.faults = Faults()
        self.log = RequestLog()
        self._rights = Rights(self.store)
        self._forwarder = Forwarder()
        reader = Reader(self.store, served)
        writer = Writer(self.store, served, objects, self.admission)
        self._dispatcher = Dispatcher(
            served=served,
            reader=reader,
            watcher=Watcher(self.store, served, clock),
            writer=writer,
            deleter=Deleter(self.store, served, reader),
            parts=Parts(
                store=self.store,
                served=served,
                reader=reader,
                writer=writer,
                objects=objects,
                tokens=self.tokens,
            ),
            reviewer=Reviewer(self._rights, self.tokens),
        )

    async def __aenter__(self) -> Self:
        """Listen; return once requests are answered."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End every request and forget everything."""
        await self._stack.aclose()

    async def run(self) -> None:
        """Wait for ever; ends with an exception when a part of the server broke."""
        if self._keeping is not None:
            await asyncio.shield(self._keeping)

    def make_kubeconfig(self, user: User = ADMINISTRATOR) -> JsonObject:
        """A kubeconfig for a user, with a token of its own."""
        token = self.tokens.make(user)
        return make_kubeconfig(
            server=self.url, authority=self.authority, user=user.name, token=token
        )

    @property
    def authority(self) -> bytes:
        """The certificate that the API server's is signed by (PEM), once it is entered."""
        return self._authority.certificate if self._authority is not None else b""

    async def _start(self) -> None:
        create_bootstrap_objects(self.store)
        await self._stack.enter_async_context(self._forwarder)
        host = self._listen.host
        control = await self._stack.enter_async_context(
            ControlServer(host, faults=self.faults, log=self.log, store=self.store)
        )
        self.control = control.url
        self._authority = make_authority((host,), now=self._clock.now())
        server = ApiServer(
            dispatcher=self._dispatcher,
            gate=Gate(self.tokens, self._rights),
            plain=PlainPaths(self._served, host),
            proxies=Proxies(self.store, self._forwarder),
            faults=self.faults,
            log=self.log,
            clock=self._clock,
        )
        self._stack.push_async_callback(server.stop)
        control.disconnect = server.disconnect
        port = await server.start(host, self._listen.port, self._authority.context)
        self.url = f"https://{host}:{port}"
        keeper = DefinitionKeeper(self.store, self._served, self._clock)
        self._keeping = asyncio.create_task(keeper.run())
        self._stack.push_async_callback(_end, self._keeping)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
