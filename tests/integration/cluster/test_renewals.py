"""Credentials that a server refuses, and files that are replaced: who is told, and when."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import trustme

from gitopsd.adapters.cluster.clusters import ConfiguredClusters
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.testing.telemetry import MemoryTelemetry
from tests.support.half_dead_api import Behaviour, HalfDeadApi, refuse, run_half_dead_api

SETTINGS = ObjectRef(ObjectKey("", "ConfigMap", "shop", "settings"), "v1")
PATH = "/api/v1/namespaces/shop/configmaps/settings"
REFUSE = refuse(401, "Unauthorized", "Unauthorized")


class Installation:
    """One configured cluster, whose file may be replaced.

    Attributes:
        spec: What the file says now.
        clusters: What is tested.
    """

    def __init__(self, spec: ClusterSpec) -> None:
        self.spec = spec
        self.clusters = ConfiguredClusters(lambda: {"shop": self.spec}, MemoryTelemetry())

    async def refused(self) -> TemporaryError:
        """Ask for an object; the credential or the server is refused."""
        with pytest.raises(TemporaryError) as raised:
            await self.clusters.get("shop").get(SETTINGS)
        return raised.value

    async def taken(self) -> bool:
        """Ask for an object; it is answered."""
        return isinstance(await self.clusters.get("shop").get(SETTINGS), dict)


Install = Callable[[ClusterSpec], Installation]


@pytest.fixture
async def install() -> AsyncIterator[Install]:
    """Makes installations, and closes them after the test."""
    made: list[Installation] = []

    def make(spec: ClusterSpec) -> Installation:
        made.append(Installation(spec))
        return made[-1]

    yield make
    for one in made:
        await one.clusters.close()


def kubeconfig(path: Path, server: str, **user: Any) -> ClusterSpec:  # noqa: ANN401 - any field of a user
    """Write a kubeconfig the way a person replaces one: a new file in its place."""
    new = path.with_suffix(".new")
    new.write_text(
        json.dumps(
            {
                "current-context": "only",
                "contexts": [{"name": "only", "context": {"cluster": "shop", "user": "us"}}],
                "clusters": [{"name": "shop", "cluster": {"server": server}}],
                "users": [{"name": "us", "user": user}],
            }
        )
    )
    new.replace(path)
    return ClusterSpec("shop", kubeconfig=str(path))


@pytest.mark.parametrize("by", ["token file", "kubeconfig", "cluster file"])
async def test_a_file_that_changes_after_a_refusal_is_told_once(
    by: str, tmp_path: Path, install: Install, api: HalfDeadApi
) -> None:
    """Not before it changes, and not twice; what is there then is what is used."""
    token = tmp_path / "token"
    token.write_text("expired")
    path = tmp_path / "kubeconfig"
    spec = ClusterSpec("shop", server=api.url, token_file=str(token))
    site = install(kubeconfig(path, api.url, token="expired") if by == "kubeconfig" else spec)
    assert await site.taken()
    api.do("GET", PATH, REFUSE)
    error = await site.refused()
    assert error.reason == "Credential"
    assert site.clusters.find_renewed() == ()

    if by == "token file":
        token.write_text("a new one")
    elif by == "kubeconfig":
        kubeconfig(path, api.url, token="a new one")
    else:
        other = tmp_path / "other"
        other.write_text("a new one")
        site.spec = ClusterSpec("shop", server=api.url, token_file=str(other))
    api.do("GET", PATH, api.well)

    assert site.clusters.find_renewed() == ("shop",)
    assert site.clusters.find_renewed() == ()
    assert await site.taken()
    assert api.seen[-1].headers["authorization"] == "Bearer a new one"


async def test_a_file_that_changes_without_a_refusal_is_no_news(
    tmp_path: Path, install: Install, api: HalfDeadApi
) -> None:
    """Tokens are replaced all the time; nobody waits for that."""
    token = tmp_path / "token"
    token.write_text("first")
    site = install(ClusterSpec("shop", server=api.url, token_file=str(token)))
    assert site.clusters.find_renewed() == ()
    assert await site.taken()
    token.write_text("the second")

    assert site.clusters.find_renewed() == ()
    assert await site.taken()


async def test_a_token_that_changed_while_it_was_refused_is_told(
    tmp_path: Path, install: Install, api: HalfDeadApi
) -> None:
    """The answer is about the old one: nobody has to wait a minute for the new."""
    token = tmp_path / "token"
    token.write_text("expired")
    site = install(ClusterSpec("shop", server=api.url, token_file=str(token)))
    assert await site.taken()

    def replaced_meanwhile() -> Behaviour:
        async def behave(request: Any) -> Any:  # noqa: ANN401 - a behaviour of the server
            token.write_text("a new one")
            return await REFUSE(request)

        return behave

    api.do("GET", PATH, replaced_meanwhile())
    await site.refused()

    assert site.clusters.find_renewed() == ("shop",)


async def test_an_empty_token_file_is_told_when_it_is_filled(
    tmp_path: Path, install: Install, api: HalfDeadApi
) -> None:
    """It is a refusal like any other: nobody has to wait a minute for what is written into it."""
    token = tmp_path / "token"
    token.write_text("")
    site = install(ClusterSpec("shop", server=api.url, token_file=str(token)))
    assert (await site.refused()).reason == "Credential"
    assert site.clusters.find_renewed() == ()
    token.write_text("a new one")

    assert site.clusters.find_renewed() == ("shop",)
    assert await site.taken()


async def test_a_rotated_authority_waits_for_its_file(tmp_path: Path, install: Install) -> None:
    """A certificate that is not trusted is tried again each minute, and with a new CA at once."""
    rotated = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    rotated.issue_cert("127.0.0.1").configure_cert(context)
    authority, token = tmp_path / "ca.crt", tmp_path / "token"
    authority.write_bytes(trustme.CA().cert_pem.bytes())
    token.write_text("x")
    async with run_half_dead_api(context) as api:
        site = install(
            ClusterSpec("shop", server=api.url, token_file=str(token), ca_file=str(authority))
        )
        error = await site.refused()
        assert error.reason == "Tls"
        assert error.retry_after is not None
        assert error.retry_after.total_seconds() == 60
        assert site.clusters.find_renewed() == ()

        authority.write_bytes(rotated.cert_pem.bytes())

        assert site.clusters.find_renewed() == ("shop",)
        assert await site.taken()


@pytest.mark.parametrize("kind", ["exec", "auth-provider"])
async def test_a_kubeconfig_that_wants_a_plug_in_later_is_refused_then(
    kind: str, tmp_path: Path, install: Install, api: HalfDeadApi
) -> None:
    """It was fine when it was read first. The program is not started; a good file counts again."""
    mark, program, path = tmp_path / "ran", tmp_path / "steal", tmp_path / "kubeconfig"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o700)
    wanted = {
        "exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)},
        "auth-provider": {"name": "gcp", "config": {"cmd-path": str(program)}},
    }
    site = install(kubeconfig(path, api.url, token="good"))
    assert await site.taken()
    asked = len(api.seen)
    kubeconfig(path, api.url, token="good", **{kind: wanted[kind]})
    for _ in range(2):
        with pytest.raises(PermanentError) as raised:
            await site.clusters.get("shop").get(SETTINGS)
        assert raised.value.reason == "PlugInRefused"
        assert f"from the {kind} plug-in" in raised.value.message
    assert not mark.exists()
    assert len(api.seen) == asked, "nothing is sent with what was read before"

    kubeconfig(path, api.url, token="good again")

    assert await site.taken()
    assert not mark.exists()
