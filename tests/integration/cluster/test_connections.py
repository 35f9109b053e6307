"""How a cluster is reached: files that change, credentials that must not come from programs."""

from __future__ import annotations

import base64
import json
import os
import ssl
import subprocess
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from gitopsd.adapters.cluster.connections import load_connection
from gitopsd.domain.config import ClusterSpec
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import PermanentError, TemporaryError
from tests.support.half_dead_api import HalfDeadApi, json_answer, run_half_dead_api

if TYPE_CHECKING:
    from aiohttp import web

    from tests.integration.cluster.conftest import Connect

SETTINGS = ObjectRef(ObjectKey("", "ConfigMap", "shop", "settings"), "v1")
PATH = "/api/v1/namespaces/shop/configmaps/settings"
ROOT = Path(__file__).resolve().parents[3]


def kubeconfig(
    path: Path, server: str, user: dict[str, Any], cluster: dict[str, Any] | None = None
) -> ClusterSpec:
    """Write a kubeconfig with one context, and name it."""
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "only",
        "contexts": [{"name": "only", "context": {"cluster": "shop", "user": "us"}}],
        "clusters": [{"name": "shop", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "us", "user": user}],
    }
    path.write_text(json.dumps(document))
    return ClusterSpec("shop", kubeconfig=str(path))


def credentials(api: HalfDeadApi) -> list[str]:
    """List the credentials that object requests came with, in order, each once in a row."""
    found: list[str] = []
    for seen in api.seen:
        credential = seen.headers.get("authorization", "nothing")
        if seen.path == PATH and found[-1:] != [credential]:
            found.append(credential)
    return found


@pytest.mark.parametrize(
    "user, names",
    [
        ({"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "PROGRAM"}}, "exec"),
        ({"auth-provider": {"name": "gcp", "config": {"cmd-path": "PROGRAM"}}}, "auth-provider"),
        ({"token": "x", "exec": {"command": "PROGRAM"}}, "exec"),
    ],
    ids=["exec", "auth-provider", "exec beside a token"],
)
async def test_a_plug_in_is_refused_by_name_and_never_started(
    tmp_path: Path, connect: Connect, user: dict[str, Any], names: str
) -> None:
    """A kubeconfig that would run a program is refused; the program has not run."""
    mark = tmp_path / "ran"
    program = tmp_path / "steal"
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o700)
    wanted = json.loads(json.dumps(user).replace("PROGRAM", str(program)))
    spec = kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", wanted)

    with pytest.raises(PermanentError) as raised:
        await connect(spec).get(SETTINGS)

    assert raised.value.reason == "PlugInRefused"
    assert names in raised.value.message
    assert "user us of kubeconfig" in raised.value.message
    assert not mark.exists()


async def test_a_plug_in_of_another_context_does_not_matter(
    tmp_path: Path, connect: Connect, api: HalfDeadApi
) -> None:
    """Only the user that is used is judged."""
    path = tmp_path / "kubeconfig"
    kubeconfig(path, api.url, {"token": "mine"})
    document = json.loads(path.read_text())
    document["users"].append({"name": "other", "user": {"exec": {"command": "aws"}}})
    path.write_text(json.dumps(document))

    await connect(ClusterSpec("shop", kubeconfig=str(path), context="only")).get(SETTINGS)

    assert credentials(api) == ["Bearer mine"]


async def test_a_replaced_kubeconfig_counts_from_the_next_request(
    tmp_path: Path, connect: Connect, api: HalfDeadApi
) -> None:
    """A rotated credential or a moved server is used without a restart."""
    path = tmp_path / "kubeconfig"
    cluster = connect(kubeconfig(path, api.url, {"token": "first"}))
    await cluster.get(SETTINGS)
    other = tmp_path / "other"
    async with run_half_dead_api() as moved:
        kubeconfig(other, moved.url, {"token": "second"})
        other.replace(path)
        await cluster.get(SETTINGS)

        assert credentials(api) == ["Bearer first"]
        assert credentials(moved) == ["Bearer second"]


async def test_a_request_under_way_survives_the_replacement(
    tmp_path: Path, connect: Connect, api: HalfDeadApi
) -> None:
    """The old session ends when its last request has."""
    path = tmp_path / "kubeconfig"
    cluster = connect(kubeconfig(path, api.url, {"token": "first"}))

    async def slow(request: web.Request) -> web.StreamResponse:
        api.do("GET", PATH, api.well)
        kubeconfig(path, api.url, {"token": "another"})
        await cluster.get(SETTINGS)
        return await api.well(request)

    api.do("GET", PATH, slow)

    assert isinstance(await cluster.get(SETTINGS), dict)
    assert credentials(api) == ["Bearer first", "Bearer another"]


async def test_files_that_a_kubeconfig_names_count_too(tmp_path: Path, connect: Connect) -> None:
    """A CA or client key replaced beside it makes a new connection."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    ca = tmp_path / "ca.crt"
    ca.write_bytes(trustme.CA().cert_pem.bytes())
    async with run_half_dead_api(context) as api:
        spec = kubeconfig(
            tmp_path / "kubeconfig", api.url, {"token": "x"}, {"certificate-authority": "ca.crt"}
        )
        cluster = connect(spec)
        with pytest.raises(TemporaryError, match="not trusted"):
            await cluster.get(SETTINGS)

        ca.write_bytes(authority.cert_pem.bytes())

        assert isinstance(await cluster.get(SETTINGS), dict)


@pytest.mark.parametrize("by", ["tokenFile of the cluster", "tokenFile of a kubeconfig"])
async def test_a_rotated_token_is_used_at_once(
    tmp_path: Path, connect: Connect, api: HalfDeadApi, by: str
) -> None:
    """Each request reads the token file as it is."""
    token = tmp_path / "rotated"
    token.write_text("first\n")
    if by == "tokenFile of the cluster":
        spec = ClusterSpec("shop", server=api.url, token_file=str(token))
    else:
        spec = kubeconfig(tmp_path / "kubeconfig", api.url, {"tokenFile": str(token)})
    cluster = connect(spec)
    await cluster.get(SETTINGS)
    token.write_text("second\n")
    await cluster.get(SETTINGS)

    assert credentials(api) == ["Bearer first", "Bearer second"]


async def test_an_empty_token_is_never_an_anonymous_request(
    tmp_path: Path, connect: Connect, api: HalfDeadApi
) -> None:
    """While the file is being written nothing is sent; that passes."""
    token = tmp_path / "rotated"
    token.write_text("")
    cluster = connect(ClusterSpec("shop", server=api.url, token_file=str(token)))

    with pytest.raises(TemporaryError) as raised:
        await cluster.get(SETTINGS)

    assert raised.value.reason == "Credential"
    assert raised.value.retry_after == timedelta(seconds=60)
    assert api.seen == []


async def test_a_client_certificate_is_presented_and_left_nowhere(
    tmp_path: Path, connect: Connect
) -> None:
    """The key of a kubeconfig is used, and no temporary file of it stays behind."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    client = authority.issue_cert("gitopsd@example.test", common_name="gitopsd")
    key = client.private_key_pem.bytes()

    async with run_half_dead_api(context) as api:
        names: list[str] = []

        async def who(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            peer = dict(request.transport.get_extra_info("peercert"))
            names.extend(value for (field, value), *_ in peer["subject"] if field == "commonName")
            return json_answer({"kind": "ConfigMap", "metadata": {}})

        api.do("GET", PATH, who)
        user = {
            "client-certificate-data": encoded(client.cert_chain_pems[0].bytes()),
            "client-key-data": encoded(key),
        }
        trusted = {"certificate-authority-data": encoded(authority.cert_pem.bytes())}
        await connect(kubeconfig(tmp_path / "kubeconfig", api.url, user, trusted)).get(SETTINGS)

    assert names == ["gitopsd"]
    assert not [path for path in temporary_files() if key in content_of(path)]


def temporary_files() -> list[Path]:
    """List the files that lie about."""
    return list(Path(tempfile.gettempdir()).iterdir())


def encoded(content: bytes) -> str:
    """Write bytes as a kubeconfig does."""
    return base64.b64encode(content).decode()


def content_of(path: Path) -> bytes:
    """Read a file; nothing when it is none."""
    try:
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


@pytest.mark.parametrize(
    "signed_by_us, name, words",
    [(False, "127.0.0.1", "unable to get local issuer"), (True, "shop.example", "mismatch")],
    ids=["another CA", "another name"],
)
async def test_a_certificate_that_is_not_trusted_is_explained(
    tmp_path: Path, connect: Connect, signed_by_us: bool, name: str, words: str
) -> None:
    """The sentence says what is wrong, which CA was asked, and what to give."""
    ours, theirs = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (ours if signed_by_us else theirs).issue_cert(name).configure_cert(context)
    ca, token = tmp_path / "ca.crt", tmp_path / "token-of-tls"
    ca.write_bytes(ours.cert_pem.bytes())
    token.write_text("secret-token")
    async with run_half_dead_api(context) as api:
        spec = ClusterSpec("shop", server=api.url, ca_file=str(ca), token_file=str(token))
        with pytest.raises(TemporaryError) as raised:
            await connect(spec).get(SETTINGS)

    message = raised.value.message
    assert words in message
    assert f"CA file {ca}" in message
    assert "Give the CA that signed it" in message
    assert "secret-token" not in message


async def test_another_name_in_the_certificate_can_be_given(
    tmp_path: Path, connect: Connect
) -> None:
    """A kubeconfig's tls-server-name is what the certificate is checked for."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("shop.example").configure_cert(context)
    async with run_half_dead_api(context) as api:
        trusted = {
            "certificate-authority-data": encoded(authority.cert_pem.bytes()),
            "tls-server-name": "shop.example",
        }
        spec = kubeconfig(tmp_path / "kubeconfig", api.url, {"token": "x"}, trusted)

        assert isinstance(await connect(spec).get(SETTINGS), dict)


@pytest.mark.parametrize(
    "content, words",
    [
        ("{", "not valid YAML"),
        ("[]", "does not hold a mapping"),
        ("{}", "names no server"),
        (None, "cannot be read"),
        ("x" * 1_000_001, "longer than"),
    ],
    ids=["no YAML", "a list", "empty", "missing", "too long"],
)
async def test_a_kubeconfig_that_cannot_be_used_is_said(
    tmp_path: Path, connect: Connect, content: str | None, words: str
) -> None:
    """The sentence names the file and the problem."""
    path = tmp_path / "kubeconfig"
    if content is not None:
        path.write_text(content)

    with pytest.raises(PermanentError, match=words) as raised:
        await connect(ClusterSpec("shop", kubeconfig=str(path))).get(SETTINGS)

    assert str(path) in raised.value.message


async def test_an_unknown_context_is_said(tmp_path: Path, connect: Connect) -> None:
    """A context that the file does not have names what to change."""
    kubeconfig(tmp_path / "kubeconfig", "https://127.0.0.1:1", {"token": "x"})
    spec = ClusterSpec("shop", kubeconfig=str(tmp_path / "kubeconfig"), context="none")

    with pytest.raises(PermanentError, match=r"context none .* names no server"):
        await connect(spec).get(SETTINGS)


@pytest.mark.parametrize(
    "name, content",
    [("ca", "not a certificate"), ("token", None)],
    ids=["CA", "token"],
)
async def test_a_file_that_cannot_be_used_is_said(
    tmp_path: Path, connect: Connect, name: str, content: str | None
) -> None:
    """The sentence names the file."""
    files = {"ca": tmp_path / "the-ca", "token": tmp_path / "the-token"}
    files["ca"].write_bytes(trustme.CA().cert_pem.bytes())
    files["token"].write_text("x")
    if content is None:
        files[name].unlink()
    else:
        files[name].write_text(content)
    spec = ClusterSpec(
        "shop",
        server="https://127.0.0.1:1",
        ca_file=str(files["ca"]),
        token_file=str(files["token"]),
    )

    with pytest.raises(PermanentError, match=str(files[name])):
        await connect(spec).get(SETTINGS)


async def test_a_connection_does_not_show_its_credential(tmp_path: Path) -> None:
    """Printing one, as a debugger or a log would, shows no token."""
    spec = kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", {"token": "secret-token"})

    connection = await load_connection(spec)

    assert connection.authorization() == {"Authorization": "Bearer secret-token"}
    assert "secret-token" not in repr(connection)


async def test_a_closed_session_is_not_opened_again(
    tmp_path: Path, connect: Connect, api: HalfDeadApi
) -> None:
    """A client that outlived its configuration says so instead of leaking a connection."""
    path = tmp_path / "kubeconfig"
    cluster = connect(kubeconfig(path, api.url, {"token": "x"}), timeout=timedelta(seconds=2))
    await cluster.close()

    with pytest.raises(TemporaryError, match="closed"):
        await cluster.get(SETTINGS)


def test_the_generated_models_are_not_imported(tmp_path: Path) -> None:
    """Reading a kubeconfig costs its loader, not a thousand generated modules."""
    kubeconfig(tmp_path / "kubeconfig", "http://127.0.0.1:1", {"token": "x"})
    script = f"""
import asyncio, sys
from gitopsd.adapters.cluster.clusters import ConfiguredClusters
assert "kubernetes_asyncio" not in sys.modules, "imported before anybody needed it"
from gitopsd.adapters.cluster.connections import load_connection
from gitopsd.domain.config import ClusterSpec
spec = ClusterSpec("shop", kubeconfig={str(tmp_path / "kubeconfig")!r})
assert asyncio.run(load_connection(spec)).credential == "Bearer x"
names = [name for name in sys.modules if name.startswith("kubernetes_asyncio")]
assert "kubernetes_asyncio.config.kube_config" in names
assert not [name for name in names if "models" in name or "client.api" in name], names
assert len(names) < 15, names
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )

    assert done.returncode == 0, done.stderr
