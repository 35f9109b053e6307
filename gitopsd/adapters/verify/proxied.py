"""Checks of a ``service:``: through the API server, whose own trouble is nobody's verdict."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

import orjson

from gitopsd.cluster_ports import (
    LOCKED_OUT,
    ApiRefusal,
    Cluster,
    Clusters,
    HttpAnswer,
    ProxiedRequest,
)
from gitopsd.domain.checks import HttpCheck
from gitopsd.domain.manifests import ObjectKey, ObjectRef
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import (
    CheckTarget,
    Clock,
)

MAX_REDIRECTS = 5

_API_SERVER = "ApiServer"
_NOT_THE_SERVICE = (_API_SERVER, *LOCKED_OUT)
_REDIRECTS = (301, 302, 303, 307, 308)
_NOT_FOUND = 404
_SUSPICIOUS = (429, 502, 503, 504)
_SECONDS = re.compile(r"[0-9]{1,4}")
_UNAVAILABLE = 503
# What the API server's service proxy answers, as 503, when it works and the service does not:
# no ready endpoint, no such port, or a pod that refuses or drops the connection.
_SERVICE_TROUBLE = ("no endpoints available", "no service port", "error trying to reach service")


@dataclass(frozen=True, slots=True)
class _Route:
    """One service behind one API server.

    Attributes:
        cluster: Client of the cluster, as the stage's identity.
        namespace: Namespace of the service.
        check: What is asked.
    """

    cluster: Cluster
    namespace: str
    check: HttpCheck

    @property
    def service(self) -> ObjectRef:
        """The service as an object, for asking whether the API server itself is well."""
        return ObjectRef(ObjectKey("", "Service", self.namespace, self.check.service), "v1")

    def request(self, path: str, timeout: timedelta) -> ProxiedRequest:
        """Make one request of it."""
        check = self.check
        return ProxiedRequest(
            namespace=self.namespace,
            service=check.service,
            port=check.port,
            scheme=check.scheme,
            path=path,
            method=check.method,
            headers={"Accept-Encoding": "identity", **check.headers},
            timeout=timeout,
            max_body_bytes=check.max_body_bytes,
        )


class ProxiedClient:
    """Sends checks to services through their API server.

    Args:
        clusters: The configured clusters.
        clock: Measures what is left of an attempt's time.
    """

    def __init__(self, clusters: Clusters, clock: Clock) -> None:
        self._clusters = clusters
        self._clock = clock

    async def fetch(self, check: HttpCheck, target: CheckTarget) -> HttpAnswer:
        """Make one attempt.

        Raises:
            PermanentError: The service answered badly or not at all; the API server was well.
            TemporaryError: The API server, or this side, could not say.
        """
        namespace = check.namespace or target.namespace
        try:
            cluster = self._clusters.get(
                target.cluster, service_account=target.service_account, namespace=target.namespace
            )
        except PermanentError as error:
            raise TemporaryError(error.message, reason=_API_SERVER) from error
        route = _Route(cluster, namespace, check)
        begin = self._clock.monotonic()
        try:
            return await self._ask(route)
        except TemporaryError as error:
            if _is_told(error):
                raise
            spent = timedelta(seconds=self._clock.monotonic() - begin)
            return await self._ask_again(route, error, timed_out=spent >= check.timeout)

    async def _ask(self, route: _Route) -> HttpAnswer:
        """Send the request while an eye is kept on the API server, and follow redirects."""
        path = route.check.path
        end = self._clock.monotonic() + route.check.timeout.total_seconds()
        for _ in range(MAX_REDIRECTS + 1):
            left = timedelta(seconds=max(end - self._clock.monotonic(), 0.001))
            answer = await self._send(route, path, left)
            following = _find_next(route, answer)
            if not following:
                return _as_the_service_said(route, answer)
            path = following
        raise PermanentError(f"more than {MAX_REDIRECTS} redirects")

    async def _send(self, route: _Route, path: str, timeout: timedelta) -> HttpAnswer:
        # A slow answer is the service's fault only if the API server was well meanwhile: it is
        # asked at half time. What it says is looked at only if the attempt fails after that.
        half = timeout / 2
        begin = self._clock.monotonic()
        watch = asyncio.create_task(self._look_after(route, half))
        try:
            answer = await route.cluster.send(route.request(path, timeout))
        except TemporaryError as error:
            looked = timedelta(seconds=self._clock.monotonic() - begin) >= half
            if looked and (not watch.done() or watch.exception() is not None):
                raise TemporaryError(
                    f"the API server does not answer: {error.message}", reason=_API_SERVER
                ) from error
            raise
        except PermanentError as error:  # the cluster's own files
            raise TemporaryError(error.message, reason=_API_SERVER) from error
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        judged = _judge_answer(answer)
        if judged.status in _SUSPICIOUS:
            # A load balancer before the API server says the same as a service that is busy.
            await _look(route)
        return judged

    async def _look_after(self, route: _Route, delay: timedelta) -> None:
        await self._clock.sleep(delay)
        await _look(route)

    async def _ask_again(
        self, route: _Route, error: TemporaryError, *, timed_out: bool
    ) -> HttpAnswer:
        """Find out whose fault it was that no answer came.

        The API server is asked for the service itself. Does it answer, a time-out was the
        service's doing. A broken connection may have been either's, so it is tried once more:
        twice broken, with the API server well after each, is the service's doing.
        """
        await _look(route)
        if timed_out:
            raise PermanentError(
                f"no complete answer within {route.check.timeout.total_seconds():g} s"
            ) from error
        try:
            return await self._ask(route)
        except TemporaryError as again:
            if _is_told(again):
                raise
            await _look(route)
            raise PermanentError(f"the connection broke twice: {again.message}") from again


async def _look(route: _Route) -> None:
    """See whether the API server answers at all.

    Raises:
        TemporaryError: It does not, or cannot be asked.
    """
    try:
        await route.cluster.get(route.service)
    except GitopsdError as error:
        asked = getattr(error, "retry_after", None)
        reason = error.reason if error.reason in LOCKED_OUT else _API_SERVER
        raise TemporaryError(error.message, reason=reason, retry_after=asked) from error


def _is_told(error: TemporaryError) -> bool:
    """Tell whether the API server said something itself, or is known not to be well.

    An error that another one caused comes from the connection; one without cause is an answer.
    """
    return error.reason in _NOT_THE_SERVICE or error.__cause__ is None


def _judge_answer(answer: HttpAnswer | ApiRefusal) -> HttpAnswer:
    """Let the service's answers pass, and sort the API server's own."""
    if isinstance(answer, ApiRefusal):
        raise TemporaryError(f"the API server refused: {answer.message}", reason=_API_SERVER)
    if not answer.from_proxy:
        return answer
    message = _find_message(answer)
    served = answer.status == _UNAVAILABLE and any(one in message for one in _SERVICE_TROUBLE)
    if served or answer.status == _NOT_FOUND:
        raise PermanentError(message)
    seconds = answer.headers.get("retry-after", "")
    raise TemporaryError(
        f"the API server answered {answer.status}: {message}",
        reason=_API_SERVER,
        retry_after=timedelta(seconds=int(seconds)) if _SECONDS.fullmatch(seconds) else None,
    )


def _find_message(answer: HttpAnswer) -> str:
    try:
        status = orjson.loads(answer.body)
        message = str(status["message"])
    except (ValueError, KeyError, TypeError):
        message = "without a message"
    return redact_clause(message)


def _find_next(route: _Route, answer: HttpAnswer) -> str:
    """Find the path a redirect leads to on the same service; empty when none is followed."""
    if not route.check.follow_redirects or answer.status not in _REDIRECTS:
        return ""
    return _find_path(route, answer)


def _find_path(route: _Route, answer: HttpAnswer) -> str:
    """Find the path on the same service that an answer points to; empty when it points to none."""
    try:
        parts = urlsplit(answer.headers.get("location", ""))
    except ValueError:
        return ""
    query = f"?{parts.query}" if parts.query else ""
    # The API server writes its own address and this prefix before paths of the same service.
    check = route.check
    prefix = (
        f"/api/v1/namespaces/{route.namespace}/services/"
        f"{check.scheme}:{check.service}:{check.port}/proxy"
    )
    if parts.path.startswith(f"{prefix}/"):
        return parts.path.removeprefix(prefix) + query
    if parts.netloc or not parts.path.startswith("/"):
        return ""
    return parts.path + query


def _as_the_service_said(route: _Route, answer: HttpAnswer) -> HttpAnswer:
    """Take what the API server wrote before a path off again: people know their service's paths."""
    path = _find_path(route, answer)
    return replace(answer, headers={**answer.headers, "location": path}) if path else answer
