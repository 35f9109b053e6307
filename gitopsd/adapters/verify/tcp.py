"""Checks of a port: a connection is taken and, if asked for, something is answered."""

from __future__ import annotations

import asyncio

from gitopsd.adapters.verify.attempts import Sighting, fine, wrong
from gitopsd.adapters.verify.dialing import Dialer, translate_connection
from gitopsd.domain.checks import TcpCheck
from gitopsd.domain.manifests import Json
from gitopsd.kube.redaction import redact_text
from gitopsd.ports import CheckTarget

_CHUNK = 4096
LONGEST_ANSWER = 65_536
"""Bytes of an answer that are looked through."""
_SHOWN_CHARACTERS = 500


class TcpLooker:
    """Connects to ports.

    Args:
        dialer: Opens connections.
    """

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def look(self, check: TcpCheck, target: CheckTarget) -> Sighting:
        """Connect, send, and read until what is expected has come, or the check's time is over.

        Raises:
            PermanentError: The connection was not taken.
            TemporaryError: This side could not ask.
        """
        got = bytearray()
        try:
            async with asyncio.timeout(check.timeout.total_seconds()):
                await self._talk(check, target, got)
        except TimeoutError:
            if not got:
                return wrong(f"no complete answer within {check.timeout.total_seconds():g} s")
        return judge_answer(check, bytes(got))

    async def _talk(self, check: TcpCheck, target: CheckTarget, got: bytearray) -> None:
        host = check.endpoint.find_host(target.namespace)
        wanted = check.expect.encode()
        async with self._dialer.open(host, check.endpoint.port) as (reader, writer):
            try:
                writer.write(check.send.encode())
                await writer.drain()
                while wanted not in got and len(got) < LONGEST_ANSWER:
                    chunk = await reader.read(_CHUNK)
                    if not chunk:
                        return
                    got += chunk
            except OSError as error:
                raise translate_connection(error) from error


def judge_answer(check: TcpCheck, got: bytes) -> Sighting:
    """Judge what came back from a port that took the connection. Pure."""
    shown = redact_text(got[:_SHOWN_CHARACTERS].decode("utf-8", "replace")).replace("\x00", "?")
    answer: dict[str, Json] = {"text": shown, "bytes": len(got)} if got else {}
    if check.expect.encode() in got:
        said = f"answered {check.expect[:60]!r}" if check.expect else "it takes connections"
        return fine(said, answer)
    if not got:
        return wrong(f"closed without an answer; expected {check.expect[:60]!r}", answer)
    return wrong(f"answered {shown[:60]!r}; expected {check.expect[:60]!r}", answer)
