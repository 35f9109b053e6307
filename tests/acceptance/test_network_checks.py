"""Releases that are verified over the network in every way, and those that only look so.

Real: the engine, the checks, every byte on a socket, a gRPC server with the real health service.
In memory: the cluster, Git, the store. What an attempt sees is tested in tests/integration/verify;
here is what a release comes to by it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import (
    Check,
    DnsCheck,
    Endpoint,
    GrpcCheck,
    HttpCheck,
    HttpListCheck,
    TcpCheck,
    TlsCheck,
)
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.testing.cluster import MemoryClusters
from tests.support.engine_world import STAGING, World, deployment, make_world, shop_spec, started
from tests.support.lying_server import LyingServer, reply, run_lying_server
from tests.support.verified_servers import (
    NAME,
    Authority,
    GrpcServer,
    NameServer,
    run_grpc_server,
    run_name_server,
    run_tcp_server,
    say,
    stay,
)

GOOD, NEXT = "registry.example/api:1", "registry.example/api:2"
WITHIN, TIMEOUT = timedelta(seconds=1.5), timedelta(seconds=0.4)
DAY = timedelta(days=1)


@dataclass
class Servers:
    """What is asked.

    Attributes:
        pages: An HTTP server.
        health: A gRPC server.
        names: A name server.
        banner: What a TCP server says.
        addresses: What the name of all of them resolves to.
    """

    pages: LyingServer
    health: GrpcServer
    names: NameServer
    banner: list[bytes] = field(default_factory=lambda: [b"220 ready\r\n"])
    addresses: list[str] = field(default_factory=lambda: ["127.0.0.1"])

    def mend(self) -> None:
        """Let all be well."""
        self.pages.elsewhere.clear()
        self.health.set("", "SERVING")
        self.names.records[f"{NAME}.", "A"] = ["192.0.2.1"]
        self.banner[:] = [b"220 ready\r\n"]
        self.addresses[:] = ["127.0.0.1"]

    async def look_up(self, _host: str, _port: int) -> Sequence[str]:
        """Resolve the name."""
        return self.addresses


@dataclass
class Verified:
    """A running world and what its staging is verified by."""

    world: World
    servers: Servers


@asynccontextmanager
async def verified_world(directory: Path, left: timedelta = 90 * DAY) -> AsyncIterator[Verified]:
    """Run a world whose staging asks a server of each kind; a certificate is valid so long."""
    authority = Authority(directory)
    async with AsyncExitStack() as stack:
        pages = await stack.enter_async_context(run_lying_server(reply(200)))
        health = stack.enter_context(run_grpc_server())
        names = await stack.enter_async_context(run_name_server())
        servers = Servers(pages, health, names)
        servers.mend()

        async def greet(reader: object, writer: object) -> None:
            await say(servers.banner[0])(reader, writer)  # type: ignore[arg-type]  # streams

        tcp = await stack.enter_async_context(run_tcp_server(greet))
        tls = await stack.enter_async_context(run_tcp_server(stay, authority.context(left=left)))
        asked = [HttpCheck(path, url=f"{pages.url}{path}") for path in ("/health", "/ready")]
        checks: tuple[Check, ...] = (
            HttpListCheck("pages", tuple(asked)),
            TcpCheck("port", Endpoint(tcp, NAME), expect="220 "),
            TlsCheck("certificate", Endpoint(tls, NAME), ca_file=authority.file),
            GrpcCheck("cart", Endpoint(health.port, NAME)),
            DnsCheck("name", NAME, expect=("192.0.2.1",), nameservers=(names.address,)),
        )
        checks = tuple(replace(check, within=WITHIN, timeout=TIMEOUT) for check in checks)
        spec = shop_spec()
        world = make_world(replace(spec, stages=(replace(spec.stages[0], verify=checks),)))
        resolver = CheckedResolver(allow_loopback=True, look_up=servers.look_up)
        verifier = VerifierByKind(
            MemoryClusters({"one": world.cluster}),
            SystemClock(),
            allow_loopback=True,
            resolver=resolver,
        )
        stack.push_async_callback(verifier.close)
        pace = replace(world.services.pace, look=timedelta(milliseconds=100))
        world.services = replace(world.services, verifier=verifier, pace=pace)
        await stack.enter_async_context(started(world))
        yield Verified(world, servers)


def _spoil_page(servers: Servers) -> None:
    servers.pages.elsewhere["/ready"] = reply(503)


def _send_on(servers: Servers) -> None:
    servers.pages.elsewhere["/ready"] = reply(302, Location="http://169.254.169.254/latest/")


def _spoil_banner(servers: Servers) -> None:
    servers.banner[0] = b"554 no service\r\n"


def _spoil_health(servers: Servers) -> None:
    servers.health.set("", "NOT_SERVING")


def _spoil_name(servers: Servers) -> None:
    servers.names.records[f"{NAME}.", "A"] = ["192.0.2.9"]


def _point_away(servers: Servers) -> None:
    servers.addresses[:] = ["169.254.169.254"]


LIES: dict[str, tuple[Callable[[Servers], None], str]] = {
    "one page of two": (_spoil_page, "check pages failed after"),
    "a page that sends on to the metadata address": (
        _send_on,
        "/ready: answered 302, which sends on to ",
    ),
    "another banner": (_spoil_banner, "check port failed after"),
    "NOT_SERVING": (_spoil_health, "check cart failed after"),
    "another address": (_spoil_name, f"{NAME} is 192.0.2.9; expected 192.0.2.1"),
    "a name that now leads elsewhere": (_point_away, "169.254.169.254 is a link-local address"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("lie", LIES)
async def test_what_only_looks_right_is_rolled_back(lie: str, tmp_path: Path) -> None:
    """A good release passes all of them; the next one, with one that lies, is taken back."""
    spoil, said = LIES[lie]
    async with verified_world(tmp_path) as site:
        world = site.world
        await world.push("good", deployment(GOOD))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED)
        spoil(site.servers)
        await world.push("next", deployment(NEXT))
        run = await world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)
        site.servers.mend()
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        live = str(world.cluster.live()["Deployment shop-staging/api"])

    assert run.step is Step.VERIFY
    assert run.failure is not None
    assert run.failure.reason == "VerificationFailed"
    assert said in run.failure.message
    assert GOOD in live


@pytest.mark.timeout(60)
async def test_a_certificate_that_ends_soon_stops_a_release(tmp_path: Path) -> None:
    """Three days left: the handshake works, and the release is not verified."""
    async with verified_world(tmp_path, left=3.5 * DAY) as site:
        await site.world.push("one", deployment(GOOD))
        run = await site.world.until_run(STAGING, RunKind.ROLLOUT, Phase.FAILED)

    assert run.failure is not None
    assert "check certificate failed after" in run.failure.message
    assert "valid for 3 days more" in run.failure.message
