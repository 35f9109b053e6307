"""The prober: gives each question to what asks its kind."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from gitopsd.adapters.asking_http import HttpAsker
from gitopsd.adapters.gates.commit_checks import ChecksProber
from gitopsd.adapters.gates.external import ExternalProber
from gitopsd.adapters.gates.prometheus import PrometheusProber
from gitopsd.adapters.notify.github_client import READING_CHECKS, GitHubClient
from gitopsd.adapters.notify.outgoing import Outgoing
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.prometheus.client import PrometheusClient
from gitopsd.adapters.prometheus.measuring import MetricReader
from gitopsd.domain.asked_gates import (
    ChecksGate,
    ExternalGate,
    Finding,
    GateQuestion,
    ProbeAnswer,
    PrometheusGate,
)
from gitopsd.domain.config import Configuration
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock

LONGEST_ASKING = timedelta(seconds=60)
"""Bound of all requests of one asking together: a host with many pages of checks takes several."""


class GateProberByKind:
    """Asks what gates of every kind want to know; implements ``ports.GateProber``.

    Attributes:
        metrics: Asks metric servers; checks measure with it too.

    Args:
        configuration: The configuration in force now.
        clock: Time.
        allow_loopback: Whether services that application files name may be on this machine.
        github_url: Address of GitHub's REST API; empty for the public one.
        resolver: Resolves their names; the system's, with refused addresses left out, unless given.
    """

    def __init__(
        self,
        configuration: Callable[[], Configuration],
        clock: Clock,
        *,
        allow_loopback: bool = False,
        github_url: str = "",
        resolver: CheckedResolver | None = None,
    ) -> None:
        self._asker = HttpAsker(allow_loopback=allow_loopback, resolver=resolver)
        # Metric servers are named by whoever runs gitopsd, not by application files.
        self._trusted = HttpAsker(allow_loopback=True)
        self._outgoing = Outgoing()
        self._external = ExternalProber(self._asker, clock)
        self.metrics = MetricReader(PrometheusClient(self._trusted, clock), configuration)
        self._prometheus = PrometheusProber(self.metrics, clock)
        github = GitHubClient(
            self._outgoing, clock, github_url, rights=READING_CHECKS, conditional=True
        )
        self._checks = ChecksProber(github, configuration)

    async def ask(self, question: GateQuestion) -> ProbeAnswer:
        """Ask once. Never raises. Safe to repeat: it only asks."""
        try:
            async with asyncio.timeout(LONGEST_ASKING.total_seconds()):
                return await self._ask(question)
        except TimeoutError:
            bound = LONGEST_ASKING.total_seconds()
            return ProbeAnswer(Finding.INCONCLUSIVE, f"no complete answer within {bound:g} s")
        except GitopsdError as error:
            return ProbeAnswer(
                Finding.INCONCLUSIVE,
                redact_clause(error.message),
                retry_after=getattr(error, "retry_after", None),
            )

    async def close(self) -> None:
        """Close connections. Safe to repeat."""
        await self._asker.close()
        await self._trusted.close()
        await self._outgoing.close()

    async def _ask(self, question: GateQuestion) -> ProbeAnswer:
        match question.gate:
            case ExternalGate() as gate:
                return await self._external.ask(gate, question)
            case PrometheusGate() as gate:
                return await self._prometheus.ask(gate, question)
            case ChecksGate() as gate:
                return await self._checks.ask(gate, question)
