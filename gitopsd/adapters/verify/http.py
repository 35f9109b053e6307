"""The verifier: one attempt of one HTTP check, with evidence."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.adapters.verify.direct import DirectClient
from gitopsd.adapters.verify.expectations import describe_answer, find_mismatch
from gitopsd.adapters.verify.proxied import ProxiedClient
from gitopsd.cluster_ports import (
    LOCKED_OUT,
    Clusters,
    HttpAnswer,
)
from gitopsd.domain.config import Check, HttpCheck
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.redaction import redact_text
from gitopsd.ports import (
    CheckAttempt,
    CheckTarget,
    Clock,
)


class HttpVerifier:
    """Makes HTTP checks; implements ``ports.Verifier``.

    Args:
        clusters: The configured clusters, for checks of services.
        clock: Measures latency; real time unless given.
        allow_loopback: Whether checks by URL may go to this machine.
        resolver: Resolves the names in URLs; the system's, with refused addresses left out,
            unless given.
    """

    def __init__(
        self,
        clusters: Clusters,
        clock: Clock | None = None,
        *,
        allow_loopback: bool = False,
        resolver: CheckedResolver | None = None,
    ) -> None:
        checked = resolver or CheckedResolver(allow_loopback=allow_loopback)
        self._direct = DirectClient(checked, allow_loopback=allow_loopback)
        self._clock = clock or SystemClock()
        self._proxied = ProxiedClient(clusters, self._clock)

    async def run_check(self, check: Check, target: CheckTarget) -> CheckAttempt:
        """Make one attempt. Never raises.

        Safe to repeat: asks, as far as the application's own method is safe to repeat.

        Args:
            check: What is asked and expected.
            target: Where.
        """
        begin = self._clock.monotonic()
        try:
            answer = await self._fetch(check, target)
        except GitopsdError as error:
            passed = False if isinstance(error, PermanentError) else None
            failed = self._attempt(check, begin, passed=passed, message=error.message)
            return replace(
                failed,
                retry_after=getattr(error, "retry_after", None),
                locked_out=passed is None and error.reason in LOCKED_OUT,
            )
        latency = self._since(begin)
        mismatch = find_mismatch(check, answer, latency)
        message = mismatch or f"answered {answer.status}"
        return self._attempt(check, begin, passed=not mismatch, message=message, answer=answer)

    async def close(self) -> None:
        """Close connections."""
        await self._direct.close()

    async def _fetch(self, check: HttpCheck, target: CheckTarget) -> HttpAnswer:
        if check.service:
            return await self._proxied.fetch(check, target)
        try:
            async with asyncio.timeout(check.timeout.total_seconds()):
                return await self._direct.fetch(check)
        except TimeoutError as error:
            bound = check.timeout.total_seconds()
            raise PermanentError(f"no complete answer within {bound:g} s") from error

    def _attempt(
        self,
        check: HttpCheck,
        begin: float,
        *,
        passed: bool | None,
        message: str,
        answer: HttpAnswer | None = None,
    ) -> CheckAttempt:
        latency = self._since(begin)
        evidence: dict[str, Json] = {
            "check": check.name,
            "request": _describe_request(check),
            "latencySeconds": round(latency.total_seconds(), 4),
            "passed": passed,
            "message": message,
        }
        if answer is not None:
            evidence["answer"] = describe_answer(answer)
        return CheckAttempt(passed=passed, message=message, evidence=evidence, latency=latency)

    def _since(self, begin: float) -> timedelta:
        return timedelta(seconds=self._clock.monotonic() - begin)


def _describe_request(check: HttpCheck) -> JsonObject:
    where = check.url or f"{check.scheme}://{check.service}:{check.port}{check.path}"
    return {"method": check.method, "url": redact_text(where)}
