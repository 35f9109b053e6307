"""Services that are connected to by name: gone, out of reach, or not to be asked about."""

from __future__ import annotations

import socket
from collections.abc import Sequence

import pytest

from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.verify.by_kind import VerifierByKind
from gitopsd.domain.checks import Check, Endpoint, GrpcCheck, TcpCheck, TlsCheck
from gitopsd.domain.manifests import JsonObject
from gitopsd.errors import TemporaryError
from gitopsd.ports import CheckAttempt, CheckTarget
from gitopsd.testing.clock import LoopClock
from gitopsd.testing.cluster import MemoryCluster, MemoryClusters
from gitopsd.testing.refusals import forbidden

SERVICE = Endpoint(6379, service="cache")
KINDS: tuple[Check, ...] = (TcpCheck("a", SERVICE), TlsCheck("a", SERVICE), GrpcCheck("a", SERVICE))


async def no_name(_host: str, _port: int) -> Sequence[str]:
    """Know no name."""
    raise socket.gaierror(socket.EAI_NONAME, "unknown")


@pytest.fixture
def cluster() -> MemoryCluster:
    """The stage's cluster."""
    return MemoryCluster(LoopClock())


async def attempt(cluster: MemoryCluster, check: Check) -> CheckAttempt:
    """Make an attempt where the cluster's names are not known."""
    resolver = CheckedResolver(allow_loopback=True, look_up=no_name)
    verifier = VerifierByKind(MemoryClusters({"one": cluster}), LoopClock(), resolver=resolver)
    made = await verifier.run_check(check, CheckTarget("one", "shop"))
    await verifier.close()
    return made


async def serve(cluster: MemoryCluster, address: str) -> None:
    """Have the service."""
    service: JsonObject = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "cache", "namespace": "shop"},
        "spec": {"clusterIP": address},
    }
    await cluster.create(service)


@pytest.mark.parametrize("check", KINDS, ids=["tcp", "tls", "grpc"])
async def test_a_service_whose_name_is_not_known_here_is_no_verdict(
    cluster: MemoryCluster, check: Check
) -> None:
    """It is there: gitopsd runs somewhere else, and the sentence says what to write instead."""
    await serve(cluster, "10.0.0.7")
    made = await attempt(cluster, check)
    assert made.passed is None
    assert made.message.startswith("Service shop/cache is there, and its name does not resolve")
    assert "write an `address:` instead" in made.message


@pytest.mark.parametrize("address", ["", "None"], ids=["gone", "headless, nothing ready"])
async def test_a_service_that_has_no_name_in_its_cluster_fails(
    cluster: MemoryCluster, address: str
) -> None:
    """One that is gone has none anywhere, and one without an address only while pods are ready."""
    if address:
        await serve(cluster, address)
    made = await attempt(cluster, KINDS[0])
    assert (made.passed, made.message) == (False, "the name does not resolve")


async def test_a_service_that_nobody_can_ask_about_is_no_verdict(cluster: MemoryCluster) -> None:
    """Without the right, or while the API server is away; a refused credential is told."""
    cluster.refuse = lambda method, ref, _: forbidden(ref, method, "deployer")
    refused = await attempt(cluster, KINDS[0])
    cluster.fault = lambda _method, _ref: TemporaryError("refused", reason="Credential")
    locked_out = await attempt(cluster, KINDS[0])
    assert (refused.passed, refused.locked_out) == (None, False)
    assert refused.message.startswith("Service shop/cache cannot be read: ")
    assert (locked_out.passed, locked_out.locked_out) == (None, True)


async def test_other_names_are_nobodys_service(cluster: MemoryCluster) -> None:
    """The API server is not asked about them."""
    made = await attempt(cluster, TcpCheck("a", Endpoint(25, "mail.example")))
    assert made.passed is False
    assert cluster.requests == []
