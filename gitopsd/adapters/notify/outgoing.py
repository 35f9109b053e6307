"""The connections that messages go out on: pooled, bounded, to checked addresses only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import aiohttp

from gitopsd.adapters.outgoing_addresses import CheckedResolver, RefusedAddressError
from gitopsd.adapters.secret_files import load_secret
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause

USER_AGENT = "gitopsd"
TIMEOUT = timedelta(seconds=10)
"""Bound of one request, answer included."""

LONGEST_PAUSE = timedelta(hours=1)
"""A receiver that asks to be left alone for longer is asked again then all the same."""

MAX_BODY_BYTES = 4_194_304
"""Longest answer that is read; a page of a hundred messages or deployments is a tenth of it."""

_CONNECTIONS = 8


class UnsentError(TemporaryError):
    """No connection could be made, so the other side has seen nothing of the request."""


class UnclearError(TemporaryError):
    """The request may have been done or not: the connection broke, or no answer came in time."""


class BoundedResponse(aiohttp.ClientResponse):
    """An answer of which at most `MAX_BODY_BYTES` are read, whoever reads it."""

    async def read(self) -> bytes:
        """Read the body once.

        Raises:
            aiohttp.ClientPayloadError: It is longer than is ever read.
        """
        if self._body is None:
            parts = bytearray()
            while chunk := await self.content.readany():
                parts += chunk
                if len(parts) > MAX_BODY_BYTES:
                    self.close()
                    raise aiohttp.ClientPayloadError(f"more than {MAX_BODY_BYTES} bytes")
            self._body = bytes(parts)
        return self._body


class Outgoing:
    """One pool of connections for all channels, opened with the first request.

    Args:
        allow_loopback: Whether a channel may be on this machine.
        timeout: Bound of one request.
    """

    def __init__(self, *, allow_loopback: bool = True, timeout: timedelta = TIMEOUT) -> None:
        self.allow_loopback = allow_loopback
        self.timeout = timeout
        self._session: aiohttp.ClientSession | None = None

    def session(self) -> aiohttp.ClientSession:
        """The session; closed and opened anew by nobody but `close`."""
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=CheckedResolver(allow_loopback=self.allow_loopback),
                use_dns_cache=False,
                limit=0,
                limit_per_host=_CONNECTIONS,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                # What is packed could unpack to anything; nothing here is long enough to matter.
                headers={"Accept-Encoding": "identity"},
                trust_env=False,
                response_class=BoundedResponse,
            )
        return self._session

    @asynccontextmanager
    async def request_to(self, where: str) -> AsyncIterator[None]:
        """Bound what is done inside, and translate how it can fail.

        Args:
            where: What is asked, for people.

        Raises:
            UnsentError: Nothing was sent.
            UnclearError: It may have been done.
            PermanentError: The address is refused, or none.
        """
        try:
            async with asyncio.timeout(self.timeout.total_seconds()):
                yield
        except TimeoutError as error:
            bound = self.timeout.total_seconds()
            raise UnclearError(f"{where}: no answer within {bound:g} s") from error
        except aiohttp.InvalidURL as error:
            raise PermanentError(f"{where}: its url is no address") from error
        except (aiohttp.ClientError, OSError) as error:
            raise translate(where, error) from error

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def translate(where: str, error: Exception) -> PermanentError | TemporaryError:
    """Say what a failed connection means.

    Args:
        where: What was asked.
        error: What aiohttp or the system raised.
    """
    cause = getattr(error, "os_error", error)
    message = f"{where}: {redact_clause(str(cause) or type(error).__name__)}"
    if isinstance(cause, RefusedAddressError):
        return PermanentError(message, reason="RefusedAddress")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UnsentError(message)
    return UnclearError(message)


def read_token(where: str, path: str) -> str:
    """Read a token as it is now.

    Raises:
        TemporaryError: The file cannot be read, or holds no token: one that is being replaced
            comes back.
    """
    try:
        token = load_secret(path).decode("ascii").strip()
    except PermanentError as error:
        raise UnsentError(f"{where}: {error.message}") from error
    except UnicodeDecodeError as error:
        raise UnsentError(f"{where}: secret file {path} holds no token") from error
    if not token or any(sign.isspace() or not sign.isprintable() for sign in token):
        raise UnsentError(f"{where}: secret file {path} holds no token")
    return token


def parse_retry_after(value: str, now: datetime) -> timedelta | None:
    """Read ``Retry-After`` (RFC 9110, 10.2.3): seconds or a date.

    Returns:
        How long to wait, at most `LONGEST_PAUSE`; None when nothing usable was said.
    """
    if value.isascii() and value.isdigit():
        return min(timedelta(seconds=min(int(value[:9]), 10**8)), LONGEST_PAUSE)
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return min(max(until - now, timedelta(0)), LONGEST_PAUSE)


def find_pause(headers: Mapping[str, str], now: datetime) -> timedelta | None:
    """Find how long an answer asks to be left alone; None when it does not say.

    Args:
        headers: Under lower-case names, or in a mapping that does not mind.
        now: Time that a date is compared with.
    """
    return parse_retry_after(headers.get("retry-after", ""), now)
