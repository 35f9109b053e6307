"""HTTP checks: one attempt, with evidence."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
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
from gitopsd.domain.checks import HttpCheck, HttpListCheck
from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.redaction import redact_text
from gitopsd.ports import (
    CheckAttempt,
    CheckTarget,
    Clock,
)


class HttpVerifier:
    """Makes HTTP checks.

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

    async def run_check(self, check: HttpCheck, target: CheckTarget) -> CheckAttempt:
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

    async def run_checks(self, check: HttpListCheck, target: CheckTarget) -> CheckAttempt:
        """Make the requests of one attempt, all at the same time. Never raises.

        Safe to repeat: see `run_check`.
        """
        begin = self._clock.monotonic()
        attempts = await asyncio.gather(*(self.run_check(one, target) for one in check.requests))
        passed, message = judge_all(check, attempts)
        latency = self._since(begin)
        asked: list[Json] = [attempt.evidence for attempt in attempts]
        evidence: dict[str, Json] = {
            "check": check.name,
            "latencySeconds": round(latency.total_seconds(), 4),
            "passed": passed,
            "message": message,
            "requests": asked,
        }
        waits = [attempt.retry_after for attempt in attempts if attempt.retry_after is not None]
        return CheckAttempt(
            passed,
            message,
            evidence,
            latency,
            retry_after=max(waits, default=None),
            locked_out=passed is None and any(attempt.locked_out for attempt in attempts),
        )

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


def judge_all(check: HttpListCheck, attempts: Sequence[CheckAttempt]) -> tuple[bool | None, str]:
    """Judge several requests together: one that failed decides, then one that saw nothing. Pure."""
    named = list(zip(check.requests, attempts, strict=True))
    for passed in (False, None):
        told = [f"{one.name}: {seen.message}" for one, seen in named if seen.passed is passed]
        if told:
            more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
            return passed, told[0] + more
    return True, f"all {len(named)} requests were answered as expected"


def _describe_request(check: HttpCheck) -> JsonObject:
    where = check.url or f"{check.scheme}://{check.service}:{check.port}{check.path}"
    return {"method": check.method, "url": redact_text(where)}
