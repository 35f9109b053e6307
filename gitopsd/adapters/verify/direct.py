"""Checks of a ``url:``: one HTTP request of our own, within bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urljoin, urlsplit

import aiohttp

from gitopsd.adapters.outgoing_addresses import CheckedResolver, check_literal_address
from gitopsd.adapters.verify.dialing import say, translate_connection, translate_lookup
from gitopsd.cluster_ports import (
    HttpAnswer,
)
from gitopsd.domain.checks import HttpCheck
from gitopsd.errors import PermanentError, TemporaryError

USER_AGENT = "gitopsd-verify"
MAX_REDIRECTS = 5

_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 65_536
_USUAL_PORTS = {"http": 80, "https": 443}


class DirectClient:
    """Sends checks to URLs; each attempt has its own connection.

    Args:
        resolver: Decides which addresses are allowed.
        allow_loopback: Whether addresses of this machine may be written in URLs.
    """

    def __init__(self, resolver: CheckedResolver, *, allow_loopback: bool) -> None:
        self._resolver = resolver
        self._allow_loopback = allow_loopback
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, check: HttpCheck) -> HttpAnswer:
        """Make one request, and follow redirects on the same host if asked to.

        The caller bounds the time.

        Raises:
            PermanentError: The application's side answered badly or not at all.
            TemporaryError: This side could not ask.
        """
        url = check.url
        for _ in range(MAX_REDIRECTS + 1):
            answer = await self._fetch_one(check, url)
            target = answer.headers.get("location", "")
            if not check.follow_redirects or answer.status not in _REDIRECTS or not target:
                return answer
            following = _find_following(url, target)
            if not following:
                return answer
            url = following
        raise PermanentError(f"more than {MAX_REDIRECTS} redirects")

    async def close(self) -> None:
        """Close the session."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch_one(self, check: HttpCheck, url: str) -> HttpAnswer:
        check_literal_address(url, allow_loopback=self._allow_loopback)
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", **check.headers}
        try:
            async with self._open().request(
                check.method, url, headers=headers, allow_redirects=False
            ) as response:
                answer = HttpAnswer(
                    status=response.status, headers=_lower(response.headers), body=b""
                )
                body, truncated = await _read(response, check.max_body_bytes)
                return replace(answer, body=body, truncated=truncated)
        except _ConnectionBrokenError as error:
            raise _translate(error.cause) from error.cause
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PermanentError(say(error)) from error

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=self._resolver, use_dns_cache=False, force_close=True, limit=32
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                trust_env=False,
                middlewares=(_break_once,),
            )
        return self._session


class _ConnectionBrokenError(aiohttp.ClientError):
    """No answer came, because of ``cause``."""

    def __init__(self, cause: aiohttp.ClientError) -> None:
        super().__init__(str(cause))
        self.cause = cause


async def _break_once(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Keep the library from trying again by itself: an attempt is one attempt."""
    try:
        return await handler(request)
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise _ConnectionBrokenError(error) from error


def _find_following(url: str, location: str) -> str:
    """Find where a redirect leads; empty when it may not be followed."""
    try:
        following = urljoin(url, location)
    except ValueError:
        return ""
    return following if is_same_host(url, following) else ""


def is_same_host(one: str, other: str) -> bool:
    """Tell whether a redirect stays on its host: same origin, or from http to https there."""
    try:
        origins = [_find_origin(url) for url in (one, other)]
    except ValueError:
        return False
    (scheme, host, port), (new_scheme, new_host, new_port) = origins
    if host != new_host:
        return False
    upgrade = (scheme, port, new_scheme, new_port) == ("http", 80, "https", 443)
    return upgrade or (scheme, port) == (new_scheme, new_port)


def _find_origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _USUAL_PORTS.get(parts.scheme, 0)


async def _read(response: aiohttp.ClientResponse, bound: int) -> tuple[bytes, bool]:
    """Read at most ``bound`` bytes; the connection is dropped, not drained, beyond that."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > bound:
            response.close()
            return bytes(body[:bound]), True
    return bytes(body), False


def _translate(error: aiohttp.ClientError) -> PermanentError | TemporaryError:
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return translate_lookup(error.os_error)
    if isinstance(error, OSError):
        return translate_connection(error)
    return PermanentError(say(error))


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
