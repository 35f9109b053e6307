"""Which addresses gitopsd sends requests of its own to, decided after resolution.

A check or a message may go to a name whose owner points it elsewhere: at this machine, or at
a cloud's metadata service. The connection is made to the address that was checked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult

from gitopsd.errors import PermanentError

Lookup: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Host name and port -> addresses; raises OSError."""

# What clouds serve credentials from, beside the link-local 169.254.169.254: Amazon over IPv6,
# Alibaba, Oracle, and Azure's host agent.
_METADATA = frozenset(
    map(ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192", "168.63.129.16"))
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052
_LOW_32_BITS = 0xFFFF_FFFF


class RefusedAddressError(OSError):
    """A check would go where checks do not go."""


def find_refusal(text: str, *, allow_loopback: bool) -> str:
    """Say why an address is refused; empty when it is not.

    Args:
        text: An IP address, also an IPv6 one that stands for an IPv4 one.
        allow_loopback: Whether this machine itself may be asked.
    """
    address = _unwrap(ip_address(text.partition("%")[0]))
    if address.is_loopback:
        return "" if allow_loopback else f"{text} is a loopback address"
    if address in _METADATA:
        return f"{text} is a metadata address"
    if address.is_link_local:
        return f"{text} is a link-local address"
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return f"{text} is no address of a host"
    return ""


def check_literal_address(url: str, *, allow_loopback: bool) -> None:
    """Refuse an address that is written into a URL: no resolver is asked for those.

    Raises:
        PermanentError: It is refused (``RefusedAddress``).
    """
    try:
        refusal = find_refusal(urlsplit(url).hostname or "", allow_loopback=allow_loopback)
    except ValueError:
        return  # a name: the resolver decides
    if refusal:
        raise PermanentError(refusal, reason="RefusedAddress")


def _unwrap(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Find the IPv4 address that an IPv6 one carries traffic to, if it does."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & _LOW_32_BITS)
    carried = address.ipv4_mapped or address.sixtofour
    if carried is None and address.teredo is not None:
        carried = address.teredo[1]
    # The old "compatible" form ::a.b.c.d; :: and ::1 are addresses of their own.
    if carried is None and 1 < int(address) <= _LOW_32_BITS:
        carried = IPv4Address(int(address))
    return carried or address


async def _look_up(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(entry[4][0]) for entry in found]


class CheckedResolver(AbstractResolver):
    """Resolves names to allowed addresses only.

    The connection is made to what is returned here, so a name cannot mean one address while it is
    checked and another when it is connected to.

    Args:
        allow_loopback: Whether this machine itself may be asked.
        look_up: Asks the system's resolver unless given.
    """

    def __init__(self, *, allow_loopback: bool, look_up: Lookup = _look_up) -> None:
        self._allow_loopback = allow_loopback
        self._look_up = look_up

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Resolve a name.

        Raises:
            RefusedAddressError: Every address is refused.
            OSError: The name does not resolve.
        """
        addresses = list(dict.fromkeys(await self._look_up(host, port)))
        refusals = {
            address: find_refusal(address, allow_loopback=self._allow_loopback)
            for address in addresses
        }
        allowed = [address for address in addresses if not refusals[address]]
        if not allowed:
            reasons = "; ".join(refusals.values()) or "it has no address"
            raise RefusedAddressError(f"{host} is not asked: {reasons}")
        return [_describe(host, address, port, family) for address in allowed]

    async def close(self) -> None:
        """Nothing to close."""


def _describe(host: str, address: str, port: int, family: int) -> ResolveResult:
    return ResolveResult(
        hostname=host,
        host=address,
        port=port,
        family=family or (socket.AF_INET6 if ":" in address else socket.AF_INET),
        proto=0,
        flags=socket.AI_NUMERICHOST,
    )
