"""One pooled session to all registries; everything that comes back is bounded."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

import gitopsd
from gitopsd.adapters.outgoing_addresses import (
    CheckedResolver,
    RefusedAddressError,
    check_literal_address,
)
from gitopsd.adapters.registry.endpoints import is_same_origin
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause

TIMEOUT = timedelta(seconds=10)
"""Bound of one request with its redirects, from the wait for a connection to the last byte."""

CONNECT_TIMEOUT = timedelta(seconds=5)
CONNECTIONS = 32
CONNECTIONS_TO_ONE = 8
MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_CREDENTIALS = frozenset({"authorization", "cookie"})


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer within its bounds.

    Attributes:
        status: HTTP status.
        headers: Lower-case header names -> values; those of one name joined by commas.
        body: Body, empty for a HEAD.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transfer:
    """Sends requests to registries and to where they redirect.

    Args:
        trusted_hosts: Tells the host names that the configuration names: they may be anywhere.
            Others, which image names and answers can name, are not asked at this machine's own
            addresses, nor at link-local and metadata ones.
        timeout: Bound of one request.
    """

    def __init__(
        self, trusted_hosts: Callable[[], Collection[str]], timeout: timedelta = TIMEOUT
    ) -> None:
        self._trusted_hosts = trusted_hosts
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._contexts: dict[tuple[str, int, int], ssl.SSLContext] = {}

    async def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        largest: int,
        ca_file: str = "",
    ) -> Answer:
        """Send a GET or HEAD and follow its redirects; credentials stay with the first origin.

        Once a redirect led elsewhere they are not sent again, not even to where they belong.

        Args:
            method: ``GET`` or ``HEAD``.
            url: Whole address.
            headers: Request headers.
            largest: Longest body that is read, in bytes.
            ca_file: CA certificates for the first origin; empty for the system's.

        Raises:
            TemporaryError: No complete answer in time.
            PermanentError: ``RefusedAddress``, or the address or CA file cannot be used.
        """
        bound = self._timeout.total_seconds()
        where = f"{method} {url.partition('?')[0]}"
        try:
            async with asyncio.timeout(bound):
                return await self._follow(method, url, headers, largest, ca_file)
        except TimeoutError as error:
            raise TemporaryError(f"{where}: no answer within {bound:g} s") from error
        except aiohttp.ClientConnectorCertificateError as error:
            message = f"{where}: its certificate is not trusted: {_say(error.certificate_error)}"
            raise TemporaryError(message, reason="Tls") from error
        except aiohttp.InvalidURL as error:
            raise _no_address(where) from error
        except (aiohttp.ClientError, OSError) as error:
            raise _translate(where, error) from error
        except ValueError as error:  # of what splits addresses, and of names that no DNS can hold
            raise _no_address(where) from error

    async def close(self) -> None:
        """Close connections. Safe to repeat: closed is closed."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _follow(
        self, method: str, url: str, headers: Mapping[str, str], largest: int, ca_file: str
    ) -> Answer:
        first = url
        for _ in range(MOST_REDIRECTS + 1):
            own = is_same_origin(first, url)
            if not own:  # for good: who leads back home would choose what is asked there as us
                headers = _without_credentials(headers)
            tls = self._context(ca_file) if own and ca_file else True
            answer = await self._once(method, url, headers, largest, tls)
            location = answer.headers.get("location", "")
            if answer.status not in _REDIRECTS or not location:
                return answer
            url = _find_following(url, location)
        message = f"{method} {first}: it redirects more than {MOST_REDIRECTS} times"
        raise TemporaryError(message, reason="BadAnswer")

    async def _once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        largest: int,
        tls: ssl.SSLContext | bool,  # noqa: FBT001 - aiohttp's own words: a context, or True for the system's
    ) -> Answer:
        host = urlsplit(url).hostname or ""
        try:
            check_literal_address(url, allow_loopback=host in self._trusted_hosts())
        except PermanentError as error:
            raise _refused(f"{method} {url}", error.message) from error
        async with self._open().request(
            method, _as_written(url), headers=headers, allow_redirects=False, ssl=tls
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > largest:
                    response.close()
                    message = f"{method} {url}: the answer is longer than {largest} bytes"
                    raise TemporaryError(message, reason="BadAnswer")
            joined: dict[str, str] = {}
            for name, value in response.headers.items():
                lowered = name.lower()
                joined[lowered] = f"{joined[lowered]}, {value}" if lowered in joined else value
            return Answer(response.status, joined, bytes(body))

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_Resolver(self._trusted_hosts),
                    use_dns_cache=False,
                    limit=CONNECTIONS,
                    limit_per_host=CONNECTIONS_TO_ONE,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={
                    "User-Agent": f"gitopsd/{gitopsd.__version__}",
                    # Digests are of the bytes as they are stored, and a bound must hold for them.
                    "Accept-Encoding": "identity",
                },
                timeout=aiohttp.ClientTimeout(
                    total=None, sock_connect=CONNECT_TIMEOUT.total_seconds()
                ),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _context(self, ca_file: str) -> ssl.SSLContext:
        try:
            found = Path(ca_file).stat()
            key = (ca_file, found.st_mtime_ns, found.st_size)
            if key not in self._contexts:
                self._contexts = {
                    known: context
                    for known, context in self._contexts.items()
                    if known[0] != ca_file
                }
                self._contexts[key] = ssl.create_default_context(cafile=ca_file)
            return self._contexts[key]
        except (OSError, ssl.SSLError) as error:
            message = f"CA file {ca_file} cannot be used: {_say(error)}"
            raise PermanentError(message, reason="CredentialFile") from error


class _Resolver(AbstractResolver):
    """Resolves configured hosts to any address, and others only to those that may be asked."""

    def __init__(self, trusted_hosts: Callable[[], Collection[str]]) -> None:
        self._trusted_hosts = trusted_hosts
        self._any = CheckedResolver(allow_loopback=True)
        self._checked = CheckedResolver(allow_loopback=False)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name."""
        resolver = self._any if host in self._trusted_hosts() else self._checked
        return await resolver.resolve(host, port, family)

    async def close(self) -> None:
        """Nothing to close."""


def _as_written(url: str) -> URL:
    """Send an address as it is written: storage services sign every sign of their redirects."""
    plain = url.isascii() and url.isprintable() and " " not in url
    return URL(url, encoded=True) if plain else URL(url)


def _without_credentials(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _CREDENTIALS}


def _find_following(url: str, location: str) -> str:
    """Find where a redirect leads.

    Raises:
        TemporaryError: ``BadAnswer``, when it leads nowhere, or from HTTPS to plain HTTP.
    """
    try:
        following = urljoin(url, location)
        parts = urlsplit(following)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        following, parts, usable = location, urlsplit(""), False
    if not usable or (urlsplit(url).scheme == "https" and parts.scheme == "http"):
        message = f"{url}: it redirects to {redact_clause(following[:200])}, which is not followed"
        raise TemporaryError(message, reason="BadAnswer")
    return following


def _translate(where: str, error: Exception) -> PermanentError | TemporaryError:
    cause = getattr(error, "os_error", error)
    message = f"{where}: {_say(cause)}"
    if isinstance(cause, RefusedAddressError):
        return _refused(where, _say(cause))
    return TemporaryError(message)


def _no_address(where: str) -> PermanentError:
    return PermanentError(f"{where}: this is no address, or leads to what is none")


def _refused(where: str, why: str) -> PermanentError:
    message = f"{where}: {why}. If it is meant, name the host in registries/"
    return PermanentError(message, reason="RefusedAddress")


def _say(error: BaseException | str) -> str:
    return redact_clause(str(error) or type(error).__name__)
