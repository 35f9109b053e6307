"""Single questions over HTTP: one request, one connection, bounded, to a checked address only."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

import aiohttp

from gitopsd.adapters.notify.outgoing import translate
from gitopsd.adapters.outgoing_addresses import CheckedResolver, check_literal_address
from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError, TemporaryError

USER_AGENT = "gitopsd"

_CHUNK = 65_536
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class HttpQuestion:
    """One request.

    Attributes:
        url: Where.
        where: Who is asked, for people.
        timeout: Bound of the whole, answer included.
        longest: Longest answer that is read, in bytes.
        method: ``GET`` or ``POST``.
        headers: Beside those that every request has.
        body: What is sent.
        tls: Which certificates count; None for those that the system trusts.
    """

    url: str
    where: str
    timeout: timedelta
    longest: int
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: bytes | None = None
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class HttpReply:
    """What came back, read to its end.

    Attributes:
        status: HTTP status.
        headers: Lower-case names -> values.
        body: The body.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpAsker:
    """Asks; implements nothing of what is asked.

    Args:
        allow_loopback: Whether addresses of this machine may be asked.
        resolver: Resolves names; the system's, with refused addresses left out, unless given.
    """

    def __init__(self, *, allow_loopback: bool, resolver: CheckedResolver | None = None) -> None:
        self._allow_loopback = allow_loopback
        self._resolver = resolver or CheckedResolver(allow_loopback=allow_loopback)
        self._session: aiohttp.ClientSession | None = None

    async def fetch(self, question: HttpQuestion) -> HttpReply:
        """Make one request; redirects are answers, and are not followed.

        Raises:
            TemporaryError: No complete answer came, or a longer one than is read.
            PermanentError: The address is refused, or none.
        """
        check_literal_address(question.url, allow_loopback=self._allow_loopback)
        try:
            async with asyncio.timeout(question.timeout.total_seconds()):
                return await self._fetch(question)
        except TimeoutError as error:
            bound = question.timeout.total_seconds()
            raise TemporaryError(
                f"{question.where}: no complete answer within {bound:g} s"
            ) from error
        except (aiohttp.InvalidURL, ValueError) as error:
            raise PermanentError(f"{question.where}: its url is no address") from error
        except (aiohttp.ClientError, OSError) as error:
            raise translate(question.where, error) from error

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _fetch(self, question: HttpQuestion) -> HttpReply:
        headers = {"User-Agent": USER_AGENT, "Accept": _JSON, **(question.headers or {})}
        async with self._open().request(
            question.method,
            question.url,
            headers=headers,
            data=question.body,
            allow_redirects=False,
            ssl=question.tls or True,
        ) as response:
            body = bytearray()
            async for chunk in response.content.iter_chunked(_CHUNK):
                body += chunk
                if len(body) > question.longest:
                    response.close()  # not drained: it may have no end
                    raise TemporaryError(
                        f"{question.where} answered more than {question.longest} bytes"
                    )
            lower = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, lower, bytes(body))

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
                headers={"Accept-Encoding": "identity"},
                trust_env=False,
            )
        return self._session


def find_type_problem(headers: Mapping[str, str]) -> str:
    """Say what an answer says it is, if it is not plain JSON; empty when it is."""
    packed = headers.get("content-encoding", "identity").strip().lower()
    if packed != "identity":
        return f"it packed, as {packed[:20]}"
    said = headers.get("content-type", "")
    kind = said.partition(";")[0].strip().lower()
    return "" if kind == _JSON else f"{said[:60] or 'no type'} instead of {_JSON}"


def load_strictly(body: bytes) -> Json:
    """Read JSON as RFC 8259 has it, and no object that says one thing twice.

    Raises:
        ValueError: It is something else.
    """
    try:
        loaded: Json = json.loads(body, object_pairs_hook=_once, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return loaded


def _once(pairs: Sequence[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("it says one thing twice")
    return found


def _refuse(name: str) -> Json:
    raise ValueError(f"{name} is no JSON")
