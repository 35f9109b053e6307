"""The prober: gives each question to what asks its kind."""

from __future__ import annotations

from gitopsd.adapters.asking_http import HttpAsker
from gitopsd.adapters.gates.external import ExternalProber
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.domain.asked_gates import (
    ChecksGate,
    ExternalGate,
    Finding,
    GateQuestion,
    ProbeAnswer,
    PrometheusGate,
)
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock


class GateProberByKind:
    """Asks what gates of every kind want to know; implements ``ports.GateProber``.

    Args:
        clock: Time.
        allow_loopback: Whether services that application files name may be on this machine.
        resolver: Resolves their names; the system's, with refused addresses left out, unless given.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        allow_loopback: bool = False,
        resolver: CheckedResolver | None = None,
    ) -> None:
        self._asker = HttpAsker(allow_loopback=allow_loopback, resolver=resolver)
        self._external = ExternalProber(self._asker, clock)

    async def ask(self, question: GateQuestion) -> ProbeAnswer:
        """Ask once. Never raises. Safe to repeat: it only asks."""
        try:
            return await self._ask(question)
        except GitopsdError as error:
            return ProbeAnswer(
                Finding.INCONCLUSIVE,
                redact_clause(error.message),
                retry_after=getattr(error, "retry_after", None),
            )

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        await self._asker.close()

    async def _ask(self, question: GateQuestion) -> ProbeAnswer:
        match question.gate:
            case ExternalGate() as gate:
                return await self._external.ask(gate, question)
            case ChecksGate() | PrometheusGate():
                return ProbeAnswer(Finding.INCONCLUSIVE, "this version cannot ask that")
