"""One cluster as one identity: the Cluster port over raw JSON."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

from gitopsd.adapters.cluster.discovery import Discovery
from gitopsd.adapters.cluster.executing import run_in_container
from gitopsd.adapters.cluster.requests import (
    APPLY_TYPE,
    JSON_PATCH_TYPE,
    NOT_SERVED,
    Answer,
    ApiServer,
    parse_json,
)
from gitopsd.adapters.cluster.watching import WatchPace, watch_collection
from gitopsd.cluster_ports import (
    ApiRefusal,
    AppliedObject,
    CommandOutput,
    HttpAnswer,
    KindInfo,
    PodCommand,
    ProxiedRequest,
    WatchSignal,
)
from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import TemporaryError
from gitopsd.kube.objects import parse_ref, string_at

_CREATED = 201
_NOT_FOUND = 404
_UNAUTHORIZED = 401
_TOO_MANY = 429
_PLAIN_WORDS = frozenset(
    {
        b"Too many requests, please try again later.",
        b"The apiserver is shutting down, please try again later.",
        b"This request caused apiserver to panic. Look in the logs for details.",
    }
)
"""What an API server says without a ``Status``, also in the place of a service behind its proxy.

Source: k8s.io/apiserver, pkg/server/filters (priority-and-fairness, with_retry_after, wrap).
"""
_EXPIRED = 410
_ERRORS = 400
PAGE = 500
"""Objects a page of a list has."""
_OWN_HEADERS = ("authorization", "impersonate-")
"""Headers that speak to the API server itself: a check must not bring them."""


class KubernetesCluster:
    """The Cluster port against a real API server.

    Args:
        server: The pooled session.
        discovery: The server's kinds, shared between identities.
        impersonate: User to act as; empty for the connection's own identity.
        pace: How patient watches are.
        page: Objects a page of a list has.
    """

    def __init__(
        self,
        server: ApiServer,
        discovery: Discovery,
        impersonate: str = "",
        *,
        pace: WatchPace | None = None,
        page: int = PAGE,
    ) -> None:
        self._server = server
        self._discovery = discovery
        self._pace = pace or WatchPace()
        self._page = page
        self._identity = {"Impersonate-User": impersonate} if impersonate else {}

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """See `gitopsd.ports.Cluster.fetch_kind`."""
        return await self._discovery.fetch_kind(ref)

    def forget_kinds(self) -> None:
        """See `gitopsd.ports.Cluster.forget_kinds`."""
        self._discovery.forget()

    async def get(self, ref: ObjectRef) -> JsonObject | ApiRefusal | None:
        """See `gitopsd.ports.Cluster.get`."""
        path = await self._path(ref)
        if path is None:
            return None
        answer = await self._request("GET", path)
        if isinstance(answer, ApiRefusal):
            return None if answer.code == _NOT_FOUND else answer
        return answer.body

    async def fetch_list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = ""
    ) -> tuple[JsonObject, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_list`."""
        path = await self._collection(api_version, kind, namespace)
        if path is None:
            return ()
        query = {"limit": str(self._page), "labelSelector": label_selector}
        found = await self._pages(path, api_version, kind, query)
        if isinstance(found, ApiRefusal) and found.code == _EXPIRED:
            # The list grew old between two pages; in one piece it cannot.
            query["limit"] = "0"
            found = await self._pages(path, api_version, kind, query)
        return found

    async def _pages(
        self, path: str, api_version: str, kind: str, query: Mapping[str, str]
    ) -> tuple[JsonObject, ...] | ApiRefusal:
        asked = {key: value for key, value in query.items() if value}
        items: list[JsonObject] = []
        while True:
            answer = await self._request("GET", path, query=asked)
            if isinstance(answer, ApiRefusal):
                return answer
            items += [_named(item, api_version, kind) for item in _items(answer.body)]
            more = string_at(answer.body, "metadata", "continue")
            if not more:
                return tuple(items)
            asked["continue"] = more

    async def apply(
        self, obj: JsonObject, *, manager: str, force: bool, dry_run: bool = False
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.apply`. Safe to repeat: the same bytes change nothing."""
        path = await self._path(parse_ref(obj))
        if path is None:
            return _unknown_kind(parse_ref(obj))
        query = {
            "fieldManager": manager,
            "force": "true" if force else "false",
            "fieldValidation": "Strict",
        }
        if dry_run:
            query["dryRun"] = "All"
        return _applied(
            await self._request("PATCH", path, query=query, body=obj, content_type=APPLY_TYPE)
        )

    async def create(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.create`. Safe to repeat: a second one is refused."""
        ref = parse_ref(obj)
        path = await self._collection(ref.api_version, ref.key.kind, ref.key.namespace)
        if path is None:
            return _unknown_kind(ref)
        query = {"fieldManager": "gitopsd", "fieldValidation": "Strict"}
        return _applied(await self._request("POST", path, query=query, body=obj))

    async def replace(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.replace`. Safe to repeat: a stale version is refused."""
        ref = parse_ref(obj)
        path = await self._path(ref)
        if path is None:
            return _unknown_kind(ref)
        query = {"fieldManager": "gitopsd", "fieldValidation": "Strict"}
        return _applied(await self._request("PUT", path, query=query, body=obj))

    async def patch(
        self, ref: ObjectRef, operations: Sequence[JsonObject]
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.patch`. Safe to repeat: callers test the version first."""
        path = await self._path(ref)
        if path is None:
            return _unknown_kind(ref)
        return _applied(
            await self._request("PATCH", path, body=list(operations), content_type=JSON_PATCH_TYPE)
        )

    async def delete(
        self, ref: ObjectRef, *, uid: str = "", propagation: str = "Background"
    ) -> ApiRefusal | None:
        """See `gitopsd.ports.Cluster.delete`. Safe to repeat: gone is done."""
        path = await self._path(ref)
        if path is None:
            return None
        options: dict[str, Json] = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
        }
        if uid:
            options["preconditions"] = {"uid": uid}
        answer = await self._request("DELETE", path, body=options)
        if isinstance(answer, ApiRefusal) and answer.code != _NOT_FOUND:
            return answer
        return None

    async def fetch_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int
    ) -> tuple[str, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_log`."""
        path = f"/api/v1/namespaces/{quote(namespace)}/pods/{quote(pod)}/log"
        query = {"tailLines": str(tail_lines), "container": container, "limitBytes": "65536"}
        if previous:
            query["previous"] = "true"
        status, headers, content = await self._server.fetch(
            "GET", path, query=query, headers=self._identity
        )
        if status >= _ERRORS:
            return self._server.refusal("GET", path, status, parse_json(content), headers)
        return tuple(content.decode(errors="replace").splitlines()[-tail_lines:])

    async def send(self, request: ProxiedRequest) -> HttpAnswer | ApiRefusal:
        """See `gitopsd.ports.Cluster.send`. Safe to repeat as far as the service's method is.

        Raises:
            TemporaryError: The API server, not the service, refuses the credential, or cannot say.
        """
        path, _, query = request.path.partition("?")
        service = f"{request.scheme}:{request.service}:{request.port}"
        full = (
            f"/api/v1/namespaces/{quote(request.namespace)}/services/{quote(service, safe=':')}"
            f"/proxy{quote(path, safe='/%:@!$&()*+,;=~-._')}"
        )
        if query:
            full = f"{full}?{query}"
        status, headers, content = await self._server.fetch(
            request.method,
            full,
            headers={**_of_the_service(request.headers), **self._identity},
            timeout=request.timeout,
            largest=request.max_body_bytes,
        )
        body = parse_json(content) if status >= _ERRORS else None
        own = isinstance(body, Mapping) and body.get("kind") == "Status"
        if own and status == _UNAUTHORIZED:
            # The service may be an API server itself: is it ours that refuses, it does so again.
            await self.get(_service_of(request))
            own = False
        if (own and status == _TOO_MANY) or content.strip() in _PLAIN_WORDS:
            return self._server.refusal(request.method, full, status, body, headers)
        return HttpAnswer(
            status=status,
            headers=headers,
            body=content[: request.max_body_bytes],
            truncated=len(content) > request.max_body_bytes,
            from_proxy=own,
        )

    async def run_command(self, command: PodCommand) -> CommandOutput | ApiRefusal:
        """See `gitopsd.ports.Cluster.run_command`. Safe to repeat as far as the command is."""
        return await run_in_container(self._server, self._identity, command)

    async def watch(
        self, api_version: str, kind: str, namespace: str
    ) -> AsyncIterator[WatchSignal]:
        """See `gitopsd.ports.Cluster.watch`."""
        path = await self._collection(api_version, kind, namespace)
        if path is None:
            raise TemporaryError(f"{self._server.spec.name} serves no {api_version} {kind}")
        watching = watch_collection(self._server, path, self._identity, self._pace)
        async with aclosing(watching) as signals:
            async for signal in signals:
                yield signal

    async def fetch_schema(self, ref: ObjectRef) -> JsonObject | None:
        """See `gitopsd.ports.Cluster.fetch_schema`."""
        group = f"apis/{ref.key.group}" if ref.key.group else "api"
        try:
            answer = await self._request("GET", f"/openapi/v3/{group}/{ref.version}")
        except TemporaryError as error:
            if error.reason == NOT_SERVED:
                return None
            raise
        if isinstance(answer, ApiRefusal):
            return None
        return await asyncio.to_thread(_find_schema, answer.body, ref)

    async def close(self) -> None:
        """See `gitopsd.ports.Cluster.close`."""
        await self._server.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Json = None,
        content_type: str = "application/json",
    ) -> Answer | ApiRefusal:
        try:
            return await self._server.request(
                method,
                path,
                query=query,
                body=body,
                content_type=content_type,
                headers=self._identity,
            )
        except TemporaryError as error:
            if error.reason == NOT_SERVED:  # its definition went: do not go by memory any more
                self._discovery.forget()
            raise

    async def _path(self, ref: ObjectRef) -> str | None:
        collection = await self._collection(ref.api_version, ref.key.kind, ref.key.namespace)
        return f"{collection}/{quote(ref.key.name, safe='')}" if collection is not None else None

    async def _collection(self, api_version: str, kind: str, namespace: str) -> str | None:
        group, _, version = api_version.rpartition("/")
        info = await self.fetch_kind(ObjectRef(ObjectKey(group, kind, namespace, ""), version))
        if info is None:
            return None
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        if info.namespaced and namespace:
            return f"{root}/namespaces/{quote(namespace, safe='')}/{info.plural}"
        return f"{root}/{info.plural}"


def _applied(answer: Answer | ApiRefusal) -> AppliedObject | ApiRefusal:
    if isinstance(answer, ApiRefusal):
        return answer
    return AppliedObject(answer.body, created=answer.status == _CREATED)


def _service_of(request: ProxiedRequest) -> ObjectRef:
    return ObjectRef(ObjectKey("", "Service", request.namespace, request.service), "v1")


def _of_the_service(headers: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in headers.items() if not name.lower().startswith(_OWN_HEADERS)
    }


def _items(body: JsonObject) -> Sequence[dict[str, Any]]:
    items = body.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else ()


def _named(item: dict[str, Any], api_version: str, kind: str) -> JsonObject:
    """Give a list item the identity that lists leave out, and drop what nobody reads."""
    metadata = item.get("metadata")
    if isinstance(metadata, dict):
        metadata.pop("managedFields", None)
    return {"apiVersion": api_version, "kind": kind, **item}


def _unknown_kind(ref: ObjectRef) -> ApiRefusal:
    message = f"the server serves no {ref.api_version} {ref.key.kind}"
    return ApiRefusal(_NOT_FOUND, "NotFound", message)


def _find_schema(document: Mapping[str, Any], ref: ObjectRef) -> JsonObject | None:
    schemas: Mapping[str, Any] = (document.get("components") or {}).get("schemas") or {}
    wanted = {"group": ref.key.group, "version": ref.version, "kind": ref.key.kind}
    for schema in schemas.values():
        if wanted in schema.get("x-kubernetes-group-version-kind", ()):
            return dict(schema)
    return None
