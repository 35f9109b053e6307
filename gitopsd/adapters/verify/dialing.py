"""Connections of checks: to allowed addresses only, decided when they are made."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_address

from gitopsd.adapters.outgoing_addresses import (
    CheckedResolver,
    RefusedAddressError,
    find_refusal,
)
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause

# Trouble of this machine or its network says nothing about the application.
OWN_TROUBLE = (
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOBUFS,
    errno.ENOMEM,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EADDRNOTAVAIL,
)


UNKNOWN_NAME = "UnknownName"
"""Reason of an error: nobody knows the name."""


class Dialer:
    """Opens connections.

    Args:
        resolver: Decides which addresses of a name are allowed.
        allow_loopback: Whether an address of this machine may be written down.
    """

    def __init__(self, resolver: CheckedResolver, *, allow_loopback: bool) -> None:
        self._resolver = resolver
        self._allow_loopback = allow_loopback

    async def find_addresses(self, host: str, port: int) -> list[str]:
        """Find the addresses that may be connected to.

        Raises:
            PermanentError: There is none (``RefusedAddress`` when all are refused).
            TemporaryError: Nobody could be asked.
        """
        if _is_address(host):
            refusal = find_refusal(host, allow_loopback=self._allow_loopback)
            if refusal:
                raise PermanentError(refusal, reason="RefusedAddress")
            return [host]
        try:
            found = await self._resolver.resolve(host, port)
        except OSError as error:
            raise translate_lookup(error) from error
        return [one["host"] for one in found]

    @asynccontextmanager
    async def open(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, server_name: str = ""
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """Connect to the first address of a host that takes it, for as long as the block lasts.

        The connection goes to the address that was judged; the name is not asked for again.

        Raises:
            PermanentError: The application's side does not take it, or nothing may be asked there.
            TemporaryError: This side could not ask.
            ssl.SSLError: The handshake failed.
        """
        reader, writer = await self._connect(
            host, port, tls, (server_name or host) if tls is not None else None
        )
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def _connect(
        self, host: str, port: int, tls: ssl.SSLContext | None, server_name: str | None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        addresses = await self.find_addresses(host, port)
        for address in addresses[:-1]:
            try:
                return await asyncio.open_connection(
                    address, port, ssl=tls, server_hostname=server_name
                )
            except ssl.SSLError:
                raise
            except OSError:
                continue  # another address of the name may do
        try:
            return await asyncio.open_connection(
                addresses[-1], port, ssl=tls, server_hostname=server_name
            )
        except ssl.SSLError:
            raise
        except OSError as error:
            raise translate_connection(error) from error


def _is_address(host: str) -> bool:
    try:
        ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def translate_connection(error: OSError) -> PermanentError | TemporaryError:
    """Tell the application's doing from this machine's own trouble."""
    if error.errno in OWN_TROUBLE:
        return TemporaryError(say(error))
    return PermanentError(say(error))


def translate_lookup(error: OSError) -> PermanentError | TemporaryError:
    """Tell a name that is unknown or refused from name servers that are away."""
    if isinstance(error, RefusedAddressError):
        return PermanentError(str(error), reason="RefusedAddress")
    if isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME:
        return PermanentError("the name does not resolve", reason=UNKNOWN_NAME)
    return TemporaryError(f"the name cannot be looked up: {say(error)}")


def say(error: BaseException) -> str:
    """Say an error in a clause, redacted."""
    return redact_clause(str(error) or type(error).__name__)
