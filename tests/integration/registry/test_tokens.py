"""Registries that ask for tokens: a real one with a token server, and odd ones."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gitopsd.domain.images import RegistrySpec
from gitopsd.errors import TemporaryError
from gitopsd.testing.clock import ManualClock
from tests.integration.registry.conftest import Connect
from tests.support.images import web_image
from tests.support.odd_registry import Asked, OddRegistry, run_odd_registry, say
from tests.support.registry import PushedImage, RegistryServer
from tests.support.token_server import SERVICE, TokenServer, run_token_server

if TYPE_CHECKING:
    from aiohttp import web

USER, PASSWORD = "reader", secrets.token_urlsafe(16)
DIGEST = "sha256:" + "a" * 64


@dataclass
class Place:
    """A real registry that only takes tokens, and who gives them."""

    registry: RegistryServer
    tokens: TokenServer
    image: PushedImage
    login: Path

    def spec(self, *token_hosts: str, credential: bool = True) -> RegistrySpec:
        """Describe the registry; without hosts named, as somebody forgot them."""
        return RegistrySpec(
            "it",
            self.registry.host,
            url=self.registry.url,
            credential_file=str(self.login) if credential else "",
            token_hosts=token_hosts,
        )


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    """A registry with one image, filled while it was open."""
    login = tmp_path / "login"
    login.write_text(f"{USER}:{PASSWORD}")
    with RegistryServer(tmp_path / "registry") as filling:
        image = filling.push(web_image("1"), "team/api:1")
    async with run_token_server(tmp_path, **{USER: PASSWORD}) as tokens:
        guarded = replace(filling, auth=tokens.registry_auth)
        with guarded as registry:
            yield Place(registry, tokens, image, login)


async def test_a_token_opens_the_registry(place: Place, connect: Connect) -> None:
    """The credential goes to the token server alone; the registry sees tokens it verifies."""
    client = connect(place.spec(place.tokens.server.host))

    assert await client.fetch_digest(place.image.repository, "1") == place.image.digest
    assert await client.fetch_tags(place.image.repository) == ("1",)
    details = await client.fetch_details(place.image.repository, place.image.digest)  # type: ignore[arg-type] # the support module's digests are plain text

    assert details is not None
    [asked] = place.tokens.server.asked
    scope = "repository%3Ateam%2Fapi%3Apull"
    assert asked.path == f"/token?service={SERVICE}&scope={scope}"
    assert asked.authorization.startswith("Basic ")


async def test_a_token_can_be_had_without_a_credential(place: Place, connect: Connect) -> None:
    """A public image is seen by whoever asks for a token politely."""
    place.tokens.users[""] = ""
    client = connect(place.spec(credential=False))

    assert await client.fetch_digest(place.image.repository, "1") == place.image.digest
    assert place.tokens.server.asked[0].authorization == ""


async def test_a_refused_credential_is_said(place: Place, connect: Connect) -> None:
    """That the token server does not know us is no image that is missing."""
    place.login.write_text(f"{USER}:wrong")
    client = connect(place.spec(place.tokens.server.host))

    with pytest.raises(TemporaryError, match="refuses our credential for team/api") as caught:
        await client.fetch_digest(place.image.repository, "1")
    assert caught.value.reason == "Credential"


async def test_the_credential_goes_to_named_hosts_only(place: Place, connect: Connect) -> None:
    """A registry that sends us elsewhere for tokens gets nothing sent there unasked."""
    client = connect(place.spec())

    with pytest.raises(
        TemporaryError, match=rf"tokenHosts: \[{place.tokens.server.host}\]"
    ) as caught:
        await client.fetch_digest(place.image.repository, "1")
    assert caught.value.reason == "Credential"
    assert place.tokens.server.asked == []


def _guarded(tokens: Callable[[Asked], web.Response]) -> Callable[[Asked], web.Response]:
    """Make a registry that asks for tokens of its own, and takes any that it gave."""

    def answer(asked: Asked) -> web.Response:
        if asked.path.startswith("/token"):
            return tokens(asked)
        if not asked.authorization.startswith("Bearer good"):
            host = asked.headers["host"]
            challenge = f'Bearer realm="http://{host}/token?account=x",service="it"'
            return say(401, www_authenticate=challenge)
        return say(200, docker_content_digest=DIGEST)

    return answer


def _tokens(registry: OddRegistry) -> list[str]:
    return [path for path in registry.paths if "/token" in path]


def _spec(registry: OddRegistry, credential_file: Path | None = None) -> RegistrySpec:
    file = str(credential_file) if credential_file is not None else ""
    return RegistrySpec("it", registry.host, url=registry.url, credential_file=file)


@pytest.mark.parametrize(
    "extra, life",
    [
        ({}, 60),
        ({"expires_in": 300}, 300),
        ({"expires_in": 0}, 60),
        ({"expires_in": "soon"}, 60),
        ({"expires_in": True}, 60),
        ({"expires_in": 10**12}, 12 * 3600),
    ],
)
async def test_a_token_is_kept_until_shortly_before_its_end(
    connect: Connect, extra: dict[str, object], life: int
) -> None:
    """One token serves many questions; nine tenths of its life later a new one is fetched."""
    clock = ManualClock()
    body = json.dumps({"access_token": "good", **extra})
    async with run_odd_registry(_guarded(lambda _: say(200, body))) as registry:
        client = connect(_spec(registry), clock=clock)
        for _ in range(3):
            await client.fetch_digest(f"{registry.host}/a", "1")
        assert len(_tokens(registry)) == 1
        assert _tokens(registry) == ["GET /token?account=x&service=it&scope=repository%3Aa%3Apull"]

        clock.advance(timedelta(seconds=life * 0.9 - 1))
        await client.fetch_digest(f"{registry.host}/a", "1")
        assert len(_tokens(registry)) == 1
        clock.advance(timedelta(seconds=2))
        await client.fetch_digest(f"{registry.host}/a", "1")
        assert len(_tokens(registry)) == 2


async def test_many_questions_fetch_one_token(connect: Connect) -> None:
    """Questions about one image at once log in once; another image needs a token of its own."""
    body = json.dumps({"token": "good"})
    async with run_odd_registry(_guarded(lambda _: say(200, body))) as registry:
        client = connect(_spec(registry))
        image = f"{registry.host}/a"
        await asyncio.gather(*(client.fetch_digest(image, str(number)) for number in range(8)))
        assert len(_tokens(registry)) == 1
        await client.fetch_digest(f"{registry.host}/b", "1")
        assert len(_tokens(registry)) == 2


async def test_a_token_that_is_refused_is_fetched_anew_once(connect: Connect) -> None:
    """A registry that forgot our token gets another; one that refuses that too is not asked on."""
    given = ["good-1", "good-2", "bad"]

    def token(_: Asked) -> web.Response:
        return say(200, json.dumps({"token": given.pop(0)}))

    valid = ["Bearer good-1"]

    def answer(asked: Asked) -> web.Response:
        if asked.path.startswith("/token"):
            return token(asked)
        if asked.authorization in valid:
            return say(200, docker_content_digest=DIGEST)
        return say(401, www_authenticate=f'Bearer realm="http://{asked.headers["host"]}/token"')

    async with run_odd_registry(answer) as registry:
        client = connect(_spec(registry))
        image = f"{registry.host}/a"
        await client.fetch_digest(image, "1")
        valid[:] = ["Bearer good-2"]
        assert await client.fetch_digest(image, "1") == DIGEST
        valid.clear()
        with pytest.raises(TemporaryError) as caught:
            await client.fetch_digest(image, "1")
        assert caught.value.reason == "Credential"
        assert given == []


@pytest.mark.parametrize(
    "status, body, reason",
    [
        (200, "", "BadAnswer"),
        (200, "[]", "BadAnswer"),
        (200, '{"token": ""}', "BadAnswer"),
        (200, '{"token": "a\\nb"}', "BadAnswer"),
        (200, '{"token": 7}', "BadAnswer"),
        (200, '{"token": "' + "a" * 200_000 + '"}', "BadAnswer"),
        (500, '{"token": "good"}', "BadAnswer"),
        (401, "", "Credential"),
        (403, '{"errors": [{"code": "DENIED", "message": "no"}]}', "Credential"),
    ],
)
async def test_an_odd_token_server_is_trouble(
    connect: Connect, status: int, body: str, reason: str
) -> None:
    """Whatever it says instead of a token ends as a sentence."""
    async with run_odd_registry(_guarded(lambda _: say(status, body))) as registry:
        with pytest.raises(TemporaryError) as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "challenge, reason",
    [
        ("", "Credential"),
        ("Negotiate", "Credential"),
        ("Basic realm=x", "Credential"),
        ("Bearer", "BadAnswer"),
        ('Bearer realm="ftp://x/"', "BadAnswer"),
        ('Bearer realm="nowhere"', "BadAnswer"),
        ('Bearer realm="http://[::1/"', "BadAnswer"),
        ('Bearer realm="http://h.invalid:port/"', "BadAnswer"),
        ('Bearer realm="http://h.invalid:99999/"', "BadAnswer"),
        ('Bearer realm="http://user:word@h.invalid/"', "BadAnswer"),
        ('Bearer realm="http://\u2100.invalid/"', "BadAnswer"),
    ],
)
async def test_an_odd_challenge_is_trouble(connect: Connect, challenge: str, reason: str) -> None:
    """A registry that wants to be logged in to in a way nobody knows is no missing image."""
    async with run_odd_registry(lambda _: say(401, www_authenticate=challenge)) as registry:
        with pytest.raises(TemporaryError) as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "realm",
    [
        "http://evil.invalid/token",
        "http://{host}@evil.invalid/token",
        "http://evil.invalid\\@{host}/token",
        "http://{host}.evil.invalid/token",
        "http://{host}\\.evil.invalid/token",
        "http://evil.invalid#@{host}/token",
        "http://evil.invalid?@{host}/token",
        "http://{name}:1/token",
        "http://{name}/token",
        "//evil.invalid/token",
    ],
)
async def test_no_spelling_of_a_host_gets_the_credential(
    connect: Connect, tmp_path: Path, realm: str
) -> None:
    """A realm that only looks like the registry, or lies at another of its ports, is refused."""
    (tmp_path / "login").write_text("user:password")
    place: list[str] = []

    def answer(_: Asked) -> web.Response:
        named = realm.replace("{host}", place[0]).replace("{name}", place[0].partition(":")[0])
        return say(401, www_authenticate=f'Bearer realm="{named}"')

    async with run_odd_registry(answer) as registry:
        place.append(registry.host)
        with pytest.raises(TemporaryError) as caught:
            await connect(_spec(registry, tmp_path / "login")).fetch_digest(
                f"{registry.host}/a", "1"
            )
        assert registry.paths == ["HEAD /v2/a/manifests/1"]
    assert caught.value.reason in ("BadAnswer", "Credential")
    assert "password" not in str(caught.value)


async def test_a_token_server_that_redirects_gets_the_credential_alone(
    connect: Connect, tmp_path: Path
) -> None:
    """Where it leads does not see the password."""
    (tmp_path / "login").write_text("user:password")
    stranger: list[str] = []

    def answer(asked: Asked) -> web.Response:
        if asked.path.startswith("/token"):
            return say(302, location=f"{stranger[0]}/token")
        return say(401, www_authenticate=f'Bearer realm="{home[0]}/token"')

    home: list[str] = []
    async with (
        run_odd_registry(lambda _: say(401)) as other,
        run_odd_registry(answer) as registry,
    ):
        stranger.append(other.url)
        home.append(registry.url)
        with pytest.raises(TemporaryError) as caught:
            await connect(_spec(registry, tmp_path / "login")).fetch_digest(
                f"{registry.host}/a", "1"
            )
        assert [one.authorization for one in other.asked] == [""]
    assert caught.value.reason == "Credential"


async def test_a_strange_host_is_asked_for_tokens_at_public_addresses_only(
    connect: Connect,
) -> None:
    """A registry cannot send gitopsd to a metadata service, not even without a credential."""
    challenge = 'Bearer realm="http://169.254.169.254/latest"'
    async with run_odd_registry(lambda _: say(401, www_authenticate=challenge)) as registry:
        with pytest.raises(Exception, match="link-local") as caught:
            await connect(_spec(registry)).fetch_digest(f"{registry.host}/a", "1")
    assert getattr(caught.value, "reason", "") == "RefusedAddress"
