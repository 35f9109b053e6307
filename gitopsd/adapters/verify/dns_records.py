"""Checks of a name: it has records, and the expected ones."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gitopsd.adapters.outgoing_addresses import find_refusal
from gitopsd.adapters.verify.attempts import Sighting, fine, wrong
from gitopsd.adapters.verify.dialing import say
from gitopsd.domain.checks import DnsCheck
from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import CheckTarget

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

DNS_PORT = 53
_MOST_SHOWN = 20


class DnsLooker:
    """Looks names up.

    Args:
        allow_loopback: Whether a name server on this machine may be written down.
    """

    def __init__(self, *, allow_loopback: bool) -> None:
        self._allow_loopback = allow_loopback

    async def look(self, check: DnsCheck, _target: CheckTarget) -> Sighting:
        """Ask for the records, for as long as the check says: silence is no verdict.

        Raises:
            PermanentError: There is no such name or record, or the name server may not be asked.
            TemporaryError: No name server gave an answer.
        """
        import dns.exception
        import dns.resolver

        resolver = await asyncio.to_thread(self._make_resolver, check)
        patience = check.timeout.total_seconds()
        try:
            found = await resolver.resolve(
                check.host, check.record, search=False, lifetime=patience
            )
        except dns.resolver.NXDOMAIN as error:
            raise PermanentError(f"there is no name {check.host} (NXDOMAIN)") from error
        except dns.resolver.NoAnswer as error:
            raise PermanentError(f"{check.host} has no {check.record} record") from error
        except dns.exception.DNSException as error:
            # A server that fails, refuses or is silent: nobody knows what the name means.
            raise TemporaryError(f"no name server answered: {say(error)}") from error
        return judge_records(check, sorted(record.to_text() for record in found))

    def _make_resolver(self, check: DnsCheck) -> Resolver:
        import dns.asyncresolver
        import dns.exception
        import dns.nameserver

        try:
            resolver = dns.asyncresolver.Resolver(configure=not check.nameservers)
        except dns.exception.DNSException as error:
            raise TemporaryError(f"this machine has no name servers: {say(error)}") from error
        resolver.cache = None
        if check.nameservers:
            places = [split_nameserver(one) for one in check.nameservers]
            for address, _ in places:
                refusal = find_refusal(address, allow_loopback=self._allow_loopback)
                if refusal:
                    raise PermanentError(refusal, reason="RefusedAddress")
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(address, port) for address, port in places
            ]
        return resolver


def split_nameserver(text: str) -> tuple[str, int]:
    """Split ``ADDRESS``, ``ADDRESS:PORT`` or ``[ADDRESS]:PORT``."""
    if text.startswith("["):
        address, _, port = text[1:].partition("]")
        return address, int(port.removeprefix(":") or DNS_PORT)
    if text.count(":") == 1:
        address, _, port = text.partition(":")
        return address, int(port)
    return text, DNS_PORT


def judge_records(check: DnsCheck, found: Sequence[str]) -> Sighting:
    """Hold the records of a name against what is expected. Pure."""
    shown: list[Json] = [*found[:_MOST_SHOWN]]
    answer: dict[str, Json] = {"name": check.host, "record": check.record, "found": shown}
    known = {_plain(one) for one in found}
    missing = [one for one in check.expect if _plain(one) not in known]
    listed = ", ".join(found[:_MOST_SHOWN])
    if missing:
        said = f"{check.host} is {listed}; expected {', '.join(missing)}"
        return wrong(said, answer)
    if not found:
        return wrong(f"{check.host} has no {check.record} record", answer)
    return fine(f"{check.host} is {listed}", answer)


def _plain(value: str) -> str:
    """Compare names without their last dot, and without regard to case."""
    return value.lower().rstrip(".")
