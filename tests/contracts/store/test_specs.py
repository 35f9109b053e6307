"""Revisions of application files, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.checks import (
    CommandCheck,
    DnsCheck,
    Endpoint,
    GrpcCheck,
    HttpCheck,
    HttpListCheck,
    JobCheck,
    TcpCheck,
    TlsCheck,
)
from gitopsd.domain.config import ApplicationSpec, GitSource, RollbackPolicy, StageSpec
from gitopsd.domain.dependencies import DependencyGate
from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.sources import RefName, RepoURL
from gitopsd.domain.windows import CronWindow, Overrun, WeeklyWindow, WindowGate
from gitopsd.store_ports import Store, Transaction
from tests.support.store_values import NOON, SHOP


def _spec(name: str = "shop", *, cluster: str = "east", digest: str = "") -> ApplicationSpec:
    stage = StageSpec(
        name=StageName("production"),
        cluster=cluster,
        path="overlays/production",
        namespace="shop",
        after=(StageName("staging"),),
        verify=(
            HttpCheck(
                "api",
                service="api",
                json_path={"status": "healthy", "count": 3, "ratio": 0.5, "none": None},
                within=timedelta(milliseconds=1500),
            ),
            HttpListCheck("pages", (HttpCheck("/a", url="https://shop.example/a"),)),
            TcpCheck("tcp", Endpoint(25, "mail.example"), send="QUIT", expect="220"),
            TlsCheck("tls", Endpoint(443, service="web"), ca_file="/ca", min_days_left=3),
            GrpcCheck(
                "grpc", Endpoint(443, service="web", namespace="edge"), "shop.Cart", tls=True
            ),
            DnsCheck("dns", "shop.example", "AAAA", ("2001:db8::1",), ("192.0.2.53",)),
            JobCheck("job", "smoke", timeout=timedelta(minutes=3)),
            CommandCheck("command", ("true",), selector={"app": "web"}, exit_code=3),
        ),
        gates=(
            ApprovalGate(("group:release-managers",), count=2),
            SoakGate(StageName("staging"), timedelta(minutes=10)),
            DependencyGate(StageKey(ApplicationName("api"), StageName("live")), same_commit=True),
            WindowGate(
                (WeeklyWindow("Sat 22:00-06:00", (5,), 1320, 360),),
                (CronWindow("0 22 * * 5", timedelta(hours=8)),),
                "Europe/Madrid",
                Overrun.WAIT,
                ("group:leads",),
            ),
        ),
        rollback_policy=RollbackPolicy.MANUAL,
    )
    source = GitSource(RepoURL("https://git.example/shop.git"), RefName("refs/heads/main"))
    return ApplicationSpec(
        ApplicationName(name), {"team": "platform"}, source, (stage,), f"{name}.yaml", 0, digest
    )


async def _add(store: Store, spec: ApplicationSpec) -> ApplicationSpec:
    return await store.transact(lambda tx: tx.specs.add(spec, NOON))


async def test_a_file_comes_back_as_it_was_stored(store: Store) -> None:
    """Gates, checks and durations of a file are read back as they were written."""
    stored = await _add(store, _spec())

    assert stored == replace(_spec(), revision=1)
    assert await store.read(lambda tx: tx.specs.get(SHOP, 1)) == stored
    assert await store.read(lambda tx: tx.specs.current(SHOP)) == stored
    assert await store.read(lambda tx: tx.specs.get(SHOP, 2)) is None


@pytest.mark.parametrize("digests", [("", "", ""), ("a", "b", "a")], ids=["content", "digest"])
async def test_equal_content_keeps_its_number(store: Store, digests: tuple[str, str, str]) -> None:
    """A changed file gets the next number; one that was changed back gets its old one again."""
    clusters = ("east", "west", "east")
    numbers = [
        (await _add(store, _spec(cluster=cluster, digest=digest))).revision
        for cluster, digest in zip(clusters, digests, strict=True)
    ]

    assert numbers == [1, 2, 1]
    current = await store.read(lambda tx: tx.specs.current(SHOP))
    assert current == replace(_spec(digest=digests[0]), revision=1)
    old = await store.read(lambda tx: tx.specs.get(SHOP, 2))
    assert old == replace(_spec(cluster="west", digest=digests[1]), revision=2)


async def test_a_moved_file_is_the_same_content(store: Store) -> None:
    """Another file name is no new revision, but messages name the new file."""
    await _add(store, _spec())

    moved = await _add(store, replace(_spec(), file="moved.yaml"))

    assert moved.revision == 1
    assert await store.read(lambda tx: tx.specs.current(SHOP)) == moved


async def test_a_removed_file_is_no_longer_current(store: Store) -> None:
    """Its revisions stay, and it comes back under its number."""
    await _add(store, _spec())
    await store.transact(lambda tx: tx.specs.remove(SHOP, NOON))

    assert await store.read(lambda tx: tx.specs.current(SHOP)) is None
    assert await store.read(lambda tx: tx.specs.currents()) == []
    assert await store.read(lambda tx: tx.specs.get(SHOP, 1)) == replace(_spec(), revision=1)

    assert (await _add(store, _spec())).revision == 1
    assert (await _add(store, _spec(cluster="west"))).revision == 2


async def test_current_files_are_read_by_name(store: Store) -> None:
    """Each application gives its current revision, in the order of their names."""
    for name in ("web", "shop", "api"):
        await _add(store, _spec(name))
    await _add(store, _spec("shop", cluster="west"))

    def current(tx: Transaction) -> list[tuple[str, int]]:
        return [(str(spec.name), spec.revision) for spec in tx.specs.currents()]

    assert await store.read(current) == [("api", 1), ("shop", 2), ("web", 1)]


async def test_removing_what_is_not_there_is_harmless(store: Store) -> None:
    """Removing twice, or what never was, changes nothing."""
    await store.transact(lambda tx: tx.specs.remove(SHOP, NOON))

    assert await store.read(lambda tx: tx.specs.currents()) == []
