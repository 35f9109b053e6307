"""Which kinds a server serves: aggregated discovery in two requests, one group at a time else."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from gitopsd.adapters.cluster.requests import Answer, ApiServer
from gitopsd.domain.manifests import ObjectRef
from gitopsd.errors import TemporaryError
from gitopsd.ports import ApiRefusal, KindInfo

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_REFRESH_SECONDS = 10.0

Kinds = dict[tuple[str, str, str], KindInfo]


class Discovery:
    """The kinds of one server, remembered.

    Args:
        server: The server.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._kinds: Kinds = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """Find how a kind is addressed, reading again on a miss at most once in 10 s.

        Raises:
            TemporaryError: The server does not answer.
        """
        wanted = (ref.key.group, ref.version, ref.key.kind)
        found = self._kinds.get(wanted)
        if found is not None:
            return found
        async with self._reading:
            now = asyncio.get_running_loop().time()
            if self._read_at is None or now - self._read_at >= _REFRESH_SECONDS:
                self._kinds = await self._read()
                self._read_at = now
        return self._kinds.get(wanted)

    def forget(self) -> None:
        """Read everything again at the next question."""
        self._kinds, self._read_at = {}, None

    async def _read(self) -> Kinds:
        core, groups = await asyncio.gather(self._get("/api"), self._get("/apis"))
        if _is_aggregated(core) and _is_aggregated(groups):
            return {**_aggregated(core), **_aggregated(groups)}
        return await self._read_each(groups)

    async def _get(self, path: str) -> Mapping[str, Any]:
        answer = await self._server.request("GET", path, headers={"Accept": _ACCEPT})
        if isinstance(answer, ApiRefusal):
            message = f"{self._server.spec.name}: discovery is refused: {answer.message}"
            raise TemporaryError(message, reason="Discovery")
        return answer.body if isinstance(answer.body, Mapping) else {}

    async def _read_each(self, groups: Mapping[str, Any]) -> Kinds:
        """Read the way of servers before 1.27: one request a group and version."""
        versions = ["/api/v1"]
        for group in groups.get("groups") or []:
            versions += [f"/apis/{item['groupVersion']}" for item in group.get("versions") or []]
        answers = await asyncio.gather(*(self._server.request("GET", path) for path in versions))
        kinds: Kinds = {}
        for answer in answers:
            if isinstance(answer, Answer) and isinstance(answer.body, Mapping):
                kinds.update(_plain(answer.body))
        return kinds


def _is_aggregated(body: Mapping[str, Any]) -> bool:
    return body.get("kind") == "APIGroupDiscoveryList"


def _aggregated(body: Mapping[str, Any]) -> Kinds:
    kinds: Kinds = {}
    for group in body.get("items") or []:
        name = (group.get("metadata") or {}).get("name", "")
        for version in group.get("versions") or []:
            if version.get("freshness") == "Stale":
                continue
            for kind, info in _resources(version):
                kinds[name, version.get("version", ""), kind] = info
    return kinds


def _resources(version: Mapping[str, Any]) -> Iterator[tuple[str, KindInfo]]:
    for resource in version.get("resources") or []:
        kind = (resource.get("responseKind") or {}).get("kind", "")
        subresources = [item.get("subresource") for item in resource.get("subresources") or []]
        yield (
            kind,
            KindInfo(
                plural=resource.get("resource", ""),
                namespaced=resource.get("scope") == "Namespaced",
                verbs=tuple(resource.get("verbs") or ()),
                has_status="status" in subresources,
            ),
        )


def _plain(body: Mapping[str, Any]) -> Kinds:
    group, _, version = str(body.get("groupVersion", "")).rpartition("/")
    resources = body.get("resources") or []
    with_status = {
        item["name"].removesuffix("/status") for item in resources if "/status" in item["name"]
    }
    return {
        (group, version, item["kind"]): KindInfo(
            plural=item["name"],
            namespaced=bool(item.get("namespaced")),
            verbs=tuple(item.get("verbs") or ()),
            has_status=item["name"] in with_status,
        )
        for item in resources
        if "/" not in item["name"]
    }
