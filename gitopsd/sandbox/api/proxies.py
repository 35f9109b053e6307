"""Requests that somebody else answers: nodes, pods and services, on ``proxy`` paths and others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import web

from gitopsd.sandbox.api.backends import find_exec, find_log, find_pod, find_service

if TYPE_CHECKING:
    from gitopsd.sandbox.api.forwarding import Began, Forwarder
    from gitopsd.sandbox.api.paths import Asked
    from gitopsd.sandbox.api.storage import ObjectStore


class Proxies:
    """Passes them on."""

    def __init__(self, store: ObjectStore, forwarder: Forwarder) -> None:
        self._store = store
        self._forwarder = forwarder

    async def answer(
        self, request: web.BaseRequest, asked: Asked, body: bytes, began: Began
    ) -> web.StreamResponse | None:
        """The answer of who is asked; None when the API server answers itself.

        Args:
            request: The request.
            asked: What it asks for.
            body: Its body.
            began: Told the status when an answer begins that somebody else gives.

        Raises:
            StatusError: There is nobody to ask.
        """
        match (asked.group, asked.resource, asked.subresource):
            case ("", "pods", "log"):
                found = find_log(self._store, asked.namespace, asked.name, request.query)
                if found is None:
                    return web.Response(status=204)
                return await self._forwarder.fetch_log(request, *found, began)
            case ("", "pods", "exec"):
                where = find_exec(self._store, asked.namespace, asked.name, request.query)
                return await self._forwarder.join_sockets(request, *where, began)
            case ("", "pods", "proxy"):
                backend = find_pod(self._store, asked.namespace, asked.name)
            case ("", "services", "proxy"):
                backend = find_service(self._store, asked.namespace, asked.name)
            case _:
                return None
        return await self._forwarder.forward(request, body, backend, asked.rest, began)
