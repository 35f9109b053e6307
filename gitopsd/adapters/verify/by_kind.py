"""The verifier: gives each check to what makes its kind."""

from __future__ import annotations

from datetime import timedelta

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.prometheus.analysing import MetricAnalyst
from gitopsd.adapters.prometheus.measuring import MetricReader
from gitopsd.adapters.verify.attempts import make_attempt
from gitopsd.adapters.verify.commands import CommandRunner
from gitopsd.adapters.verify.dialing import Dialer
from gitopsd.adapters.verify.dns_records import DnsLooker
from gitopsd.adapters.verify.grpc_health import GrpcLooker
from gitopsd.adapters.verify.http import HttpVerifier
from gitopsd.adapters.verify.jobs import JobRunner
from gitopsd.adapters.verify.services import ask_about_services
from gitopsd.adapters.verify.tcp import TcpLooker
from gitopsd.adapters.verify.tls import TlsLooker
from gitopsd.cluster_ports import Clusters
from gitopsd.domain.checks import (
    Check,
    CommandCheck,
    ConnectingCheck,
    DnsCheck,
    GrpcCheck,
    HttpCheck,
    HttpListCheck,
    JobCheck,
    PrometheusCheck,
    TcpCheck,
    TlsCheck,
)
from gitopsd.ports import CheckAttempt, CheckTarget, Clock

SLACK = timedelta(seconds=30)
"""Added to the time of kinds that bound what they wait for themselves."""


class VerifierByKind:
    """Makes checks of every kind; implements ``ports.Verifier``.

    Args:
        clusters: The configured clusters, for checks that go through an API server.
        clock: Measures latency; real time unless given.
        allow_loopback: Whether checks may connect to this machine.
        resolver: Resolves names; the system's, with refused addresses left out, unless given.
        metrics: Asks metric servers; None where there are none.
    """

    def __init__(
        self,
        clusters: Clusters,
        clock: Clock | None = None,
        *,
        allow_loopback: bool = False,
        resolver: CheckedResolver | None = None,
        metrics: MetricReader | None = None,
    ) -> None:
        self._clusters = clusters
        self._clock = clock or SystemClock()
        checked = resolver or CheckedResolver(allow_loopback=allow_loopback)
        dialer = Dialer(checked, allow_loopback=allow_loopback)
        self._http = HttpVerifier(
            clusters, self._clock, allow_loopback=allow_loopback, resolver=checked
        )
        self._tcp = TcpLooker(dialer)
        self._tls = TlsLooker(dialer, self._clock)
        self._grpc = GrpcLooker(dialer)
        self._dns = DnsLooker(allow_loopback=allow_loopback)
        self._jobs = JobRunner(clusters, self._clock)
        self._commands = CommandRunner(clusters)
        self._analyst = MetricAnalyst(metrics, self._clock) if metrics is not None else None

    async def run_check(self, check: Check, target: CheckTarget) -> CheckAttempt:
        """Make one attempt. Never raises.

        Safe to repeat: asks only; what a Job or a command does twice is its author's business,
        and a Job is found again by the attempt's name.

        Args:
            check: What is asked and expected.
            target: Where.
        """
        match check:
            case HttpCheck():
                return await self._http.run_check(check, target)
            case HttpListCheck():
                return await self._http.run_checks(check, target)
            case JobCheck():
                return await self._jobs.run(check, target)
            case PrometheusCheck():
                return await self._measure(check, target)
            case CommandCheck():
                bound = check.timeout + SLACK
                look = self._commands.look
                return await make_attempt(check, target, look, self._clock, bound=bound)
            case _:
                return await self._connect(check, target)

    async def _connect(self, check: ConnectingCheck, target: CheckTarget) -> CheckAttempt:
        clock, patient, clusters = self._clock, check.timeout + SLACK, self._clusters
        match check:
            case TcpCheck():
                look_tcp = ask_about_services(self._tcp.look, clusters)
                return await make_attempt(check, target, look_tcp, clock, bound=patient)
            case TlsCheck():
                look_tls = ask_about_services(self._tls.look, clusters)
                return await make_attempt(check, target, look_tls, clock)
            case GrpcCheck():
                look_grpc = ask_about_services(self._grpc.look, clusters)
                return await make_attempt(check, target, look_grpc, clock)
            case DnsCheck():
                return await make_attempt(check, target, self._dns.look, clock, bound=patient)

    async def _measure(self, check: PrometheusCheck, target: CheckTarget) -> CheckAttempt:
        if self._analyst is None:
            return CheckAttempt(passed=None, message="no metric server can be asked here")
        return await self._analyst.run(check, target)

    async def tidy(self, check: Check, target: CheckTarget) -> None:
        """Remove what an attempt left in the cluster, once its answer is stored. Never raises."""
        if isinstance(check, JobCheck):
            await self._jobs.tidy(check, target)

    async def close(self) -> None:
        """Close connections."""
        await self._http.close()
