"""Asks containers how they are, with the pod's own probes and the kubelet's rules and words."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING

import aiohttp

from gitopsd.sandbox.dialing import say_dial
from gitopsd.sandbox.fields import field_at, number_at, object_at, objects_at, text_at, texts_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.container import Container

USER_AGENT = "kube-probe/1"
BODY_LIMIT_BYTES = 10 * 1024
DEFAULT_PERIOD_SECONDS = 10
DEFAULT_FAILURES = 3


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """The container that is asked.

    Attributes:
        container: The running instance.
        pod_ip: The pod's address, as messages name it.
        named_ports: The container's ports by their name.
        session: For HTTP probes; keeps no connections.
    """

    container: Container
    pod_ip: str
    named_ports: JsonObject
    session: aiohttp.ClientSession


@dataclass(frozen=True, slots=True)
class Schedule:
    """When a probe is asked and how often it has to agree.

    Attributes:
        first: Wait before the first attempt.
        period: Wait between attempts.
        limit: How long one attempt may take.
        successes: Agreeing answers that make a success.
        failures: Failures in a row that make a failure.
    """

    first: timedelta
    period: timedelta
    limit: timedelta
    successes: int
    failures: int


def parse_schedule(probe: JsonObject, *, scale: float) -> Schedule:
    """The schedule of a probe; `scale` below 1 shortens its waits, never its time limit."""
    return Schedule(
        first=timedelta(seconds=number_at(probe, "initialDelaySeconds")) * scale,
        period=timedelta(seconds=number_at(probe, "periodSeconds", default=DEFAULT_PERIOD_SECONDS))
        * scale,
        limit=timedelta(seconds=number_at(probe, "timeoutSeconds", default=1)),
        successes=int(number_at(probe, "successThreshold", default=1)),
        failures=int(number_at(probe, "failureThreshold", default=DEFAULT_FAILURES)),
    )


async def run_handler(handler: JsonObject, target: ProbeTarget, limit: timedelta) -> str:
    """Ask once, by ``httpGet``, ``tcpSocket``, ``exec`` or ``sleep``.

    Returns:
        An empty string when the container agreed, else why not, in the kubelet's words.
    """
    try:
        if "httpGet" in handler:
            return await _ask_http(object_at(handler, "httpGet"), target, limit)
        if "tcpSocket" in handler:
            return await _ask_tcp(object_at(handler, "tcpSocket"), target, limit)
        if "exec" in handler:
            words = texts_at(handler, "exec", "command")
            result = await target.container.run_command(words, limit=limit)
            return "" if result.exit_code == 0 else result.output or f"exit {result.exit_code}"
    except TimeoutError:
        return f"command timed out after {limit.total_seconds():g}s"
    return ""


async def run_probe(
    probe: JsonObject,
    target: ProbeTarget,
    schedule: Schedule,
    clock: Clock,
    judge: Callable[[str], bool],
    unhealthy: Callable[[str], None],
) -> None:
    """Ask until the judge has heard enough.

    Args:
        probe: The pod's probe.
        target: Who is asked.
        schedule: When.
        clock: For the waits.
        judge: Called with each verdict: empty when it agreed, else the last complaint; answers
            whether to go on asking.
        unhealthy: Called with the complaint of each single failure.
    """
    await clock.sleep(schedule.first)
    agreed = failed = 0
    go_on = True
    while go_on:
        complaint = await run_handler(probe, target, schedule.limit)
        if complaint:
            agreed, failed = 0, failed + 1
            unhealthy(complaint)
        else:
            agreed, failed = agreed + 1, 0
        if agreed >= schedule.successes:
            go_on = judge("")
        elif failed >= schedule.failures:
            go_on = judge(complaint)
        if go_on:
            await clock.sleep(schedule.period)


async def _ask_http(handler: JsonObject, target: ProbeTarget, limit: timedelta) -> str:
    port = _port(field_at(handler, "port"), target)
    scheme = text_at(handler, "scheme", default="HTTP").lower()
    path = text_at(handler, "path", default="/")
    path = path if path.startswith("/") else f"/{path}"
    shown = f"{scheme}://{text_at(handler, 'host') or target.pod_ip}:{port}{path}"
    host = text_at(handler, "host") or target.container.probe_host
    headers = {"User-Agent": USER_AGENT, "Accept": "*/*", "Connection": "close"}
    for header in objects_at(handler, "httpHeaders"):
        headers[text_at(header, "name")] = text_at(header, "value")
    try:
        async with target.session.get(
            f"{scheme}://{host}:{port}{path}",
            headers=headers,
            ssl=False,
            allow_redirects=True,
            timeout=aiohttp.ClientTimeout(total=limit.total_seconds()),
        ) as response:
            await response.content.read(BODY_LIMIT_BYTES)
    except TimeoutError:
        return (
            f'Get "{shown}": context deadline exceeded '
            "(Client.Timeout exceeded while awaiting headers)"
        )
    except aiohttp.ClientConnectorError as error:
        return f'Get "{shown}": {say_dial(error, target.pod_ip, port)}'
    except aiohttp.ClientError as error:
        return f'Get "{shown}": {str(error) or "EOF"}'
    if HTTPStatus.OK <= response.status < HTTPStatus.BAD_REQUEST:
        return ""
    return f"HTTP probe failed with statuscode: {response.status}"


async def _ask_tcp(handler: JsonObject, target: ProbeTarget, limit: timedelta) -> str:
    port = _port(field_at(handler, "port"), target)
    host = text_at(handler, "host") or target.container.probe_host
    try:
        async with asyncio.timeout(limit.total_seconds()):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return f"dial tcp {target.pod_ip}:{port}: i/o timeout"
    except OSError as error:
        return say_dial(error, target.pod_ip, port)
    writer.close()
    return ""


def _port(port: Json, target: ProbeTarget) -> int:
    if isinstance(port, str):
        port = int(port) if port.isdigit() else target.named_ports.get(port)
    return port if isinstance(port, int) else 0
