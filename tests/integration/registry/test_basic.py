"""A real registry that asks everybody for a user and a password."""

from __future__ import annotations

import base64
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitopsd.domain.images import RegistrySpec
from gitopsd.errors import PermanentError, TemporaryError
from tests.integration.registry.conftest import Connect
from tests.support.images import web_image
from tests.support.registry import PushedImage, RegistryServer

USER, PASSWORD = "reader", secrets.token_urlsafe(16)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """A real registry with one user."""
    directory = tmp_path_factory.mktemp("registry")
    with RegistryServer(directory, login=(USER, PASSWORD)) as running:
        yield running


@pytest.fixture
def image(server: RegistryServer) -> PushedImage:
    """An image in it."""
    return server.push(web_image("1"), "team/api:1")


def _spec(server: RegistryServer, credential: Path | None = None) -> RegistrySpec:
    return RegistrySpec("it", server.host, url=server.url, credential_file=str(credential or ""))


def _docker_config(host: str, **entry: str) -> str:
    return json.dumps({"auths": {"ghcr.io": {"auth": "x"}, host: entry}})


@pytest.mark.parametrize("form", ["pair", "auth", "fields", "url"])
async def test_the_credential_opens_it(
    server: RegistryServer, image: PushedImage, connect: Connect, tmp_path: Path, form: str
) -> None:
    """A file with user:password, and a Docker config.json in each of its shapes, let us in."""
    packed = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    text = {
        "pair": f"{USER}:{PASSWORD}\n",
        "auth": _docker_config(server.host, auth=packed),
        "fields": _docker_config(server.host, username=USER, password=PASSWORD),
        "url": _docker_config(f"https://{server.host}/v2/", auth=packed),
    }[form]
    file = tmp_path / "login"
    file.write_text(text)
    client = connect(_spec(server, file))

    assert await client.fetch_digest(image.repository, "1") == image.digest
    assert await client.fetch_tags(image.repository) == ("1",)


async def test_without_a_credential_it_stays_closed(
    server: RegistryServer, image: PushedImage, connect: Connect
) -> None:
    """The error names the registry and says where a credential goes; nothing was missing."""
    client = connect(_spec(server))

    with pytest.raises(TemporaryError, match="Give it a credentialFile in registries/") as caught:
        await client.fetch_digest(image.repository, "1")
    assert caught.value.reason == "Credential"
    assert caught.value.retry_after is not None


async def test_a_wrong_password_is_said_and_never_shown(
    server: RegistryServer, image: PushedImage, connect: Connect, tmp_path: Path
) -> None:
    """A refused credential is no image that is missing; a mended file counts at once."""
    file = tmp_path / "login"
    file.write_text(f"{USER}:wrong-password")
    client = connect(_spec(server, file))
    with pytest.raises(TemporaryError, match="refuses our credential") as caught:
        await client.fetch_digest(image.repository, "1")
    assert caught.value.reason == "Credential"
    assert "wrong-password" not in str(caught.value)

    file.write_text(f"{USER}:{PASSWORD}")
    assert await client.fetch_digest(image.repository, "1") == image.digest


@pytest.mark.parametrize(
    "text, problem",
    [
        ("only-a-user", "holds neither user:password nor a Docker config.json"),
        (":password", "holds neither user:password"),
        ("user:", "holds neither user:password"),
        ("a:b\nc:d", "holds neither user:password"),
        ("{", "is no JSON"),
        ("{}", "has no entry for"),
        ('{"auths": []}', "has no entry for"),
        ('{"auths": {"HOST": {}}}', "has no user and password for"),
        ('{"auths": {"HOST": {"auth": "%%"}}}', "holds an `auth` that is no base64"),
        ('{"auths": {"HOST": {"auth": "dXNlcg=="}}}', "holds neither user:password"),
        ('{"auths": {"HOST": {"identitytoken": "x"}}}', "has no user and password for"),
        (b"\xff\xfe", "is no UTF-8"),
    ],
)
async def test_a_file_that_holds_no_credential_is_explained(
    server: RegistryServer, connect: Connect, tmp_path: Path, text: str | bytes, problem: str
) -> None:
    """The file is named, what is wrong with it, and what to write; its content is not shown."""
    file = tmp_path / "login"
    content = text if isinstance(text, bytes) else text.replace("HOST", server.host).encode()
    file.write_bytes(content)

    with pytest.raises(PermanentError, match=problem) as caught:
        await connect(_spec(server, file)).fetch_tags(f"{server.host}/team/api")
    assert caught.value.reason == "CredentialFile"
    assert str(file) in str(caught.value)


async def test_a_missing_file_is_explained(
    server: RegistryServer, connect: Connect, tmp_path: Path
) -> None:
    """So is one that is not there."""
    with pytest.raises(PermanentError, match="cannot be read") as caught:
        await connect(_spec(server, tmp_path / "gone")).fetch_tags(f"{server.host}/team/api")
    assert caught.value.reason == "CredentialFile"
