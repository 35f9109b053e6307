"""The sandbox's API server alone, without controllers or nodes, in a thread of this process.

    with BareSandbox() as server, ApiTalk(server.client) as talk:
        talk.say("GET", "/api/v1/namespaces")

It is the counterpart of :class:`tests.support.quiet_control_plane.QuietControlPlane`.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
from ipaddress import IPv4Address
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from gitopsd.sandbox.api.assembly import Listen, SandboxApi
from gitopsd.sandbox.clock import Clock
from tests.support.cluster_client import ClusterClient

_START_SECONDS = 20


class BareSandbox:
    """One running API server; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._ready = threading.Event()
        self._kubeconfig: Any = None
        self._thread = threading.Thread(target=self._run, name="bare-sandbox")

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise TimeoutError("the sandbox does not start; its thread printed why")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    @property
    def client(self) -> ClusterClient:
        """Requests as its administrator."""
        cluster = self._kubeconfig["clusters"][0]["cluster"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        place = urlsplit(cluster["server"])
        return ClusterClient(
            IPv4Address(place.hostname or ""),
            place.port or 0,
            ssl.create_default_context(cadata=authority),
            self._kubeconfig["users"][0]["user"]["token"],
        )

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        async with SandboxApi(Listen(), Clock()) as api:
            self._kubeconfig = api.make_kubeconfig()
            self._ready.set()
            await self._ended.wait()
