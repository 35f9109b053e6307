"""Which kinds a server serves: aggregated discovery in two requests, one group at a time else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from gitopsd.adapters.cluster.requests import ApiServer
from gitopsd.cluster_ports import (
    ApiRefusal,
    KindInfo,
)
from gitopsd.domain.manifests import ObjectRef
from gitopsd.errors import TemporaryError

_ACCEPT = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
_REFRESH_SECONDS = 10.0

BodyT = TypeVar("BodyT")
Kinds = dict[tuple[str, str, str], KindInfo]


@dataclass(frozen=True, slots=True)
class _Served:
    """What one reading found.

    Attributes:
        kinds: (group, version, kind) -> how it is addressed.
        silent: (group, version) of aggregated APIs that did not answer: what they serve is not
            known, which is not the same as nothing.
    """

    kinds: Kinds = field(default_factory=dict)
    silent: frozenset[tuple[str, str]] = frozenset()


class Discovery:
    """The kinds of one server, remembered.

    Args:
        server: The server.
    """

    def __init__(self, server: ApiServer) -> None:
        self._server = server
        self._served = _Served()
        self._read_at: float | None = None
        self._forgotten = 0
        self._reading = asyncio.Lock()

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """Find how a kind is addressed, reading again on a miss at most once in 10 s.

        Raises:
            TemporaryError: The server does not answer, or what serves the kind's group does not.
        """
        wanted = (ref.key.group, ref.version, ref.key.kind)
        found = self._served.kinds.get(wanted)
        if found is not None:
            return found
        async with self._reading:
            await self._refresh()
        found = self._served.kinds.get(wanted)
        if found is None and wanted[:2] in self._served.silent:
            raise TemporaryError(
                f"{self._server.spec.name}: the API service behind {ref.api_version} does not "
                "answer; see: kubectl get apiservices",
                reason="Discovery",
            )
        return found

    async def _refresh(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._read_at is not None and now - self._read_at < _REFRESH_SECONDS:
            return
        forgotten = self._forgotten
        self._served = await self._read()
        # What was forgotten while it was being read is read again.
        self._read_at = now if forgotten == self._forgotten else None

    def forget(self) -> None:
        """Read everything again at the next question."""
        self._served, self._read_at = _Served(), None
        self._forgotten += 1

    async def _read(self) -> _Served:
        core, groups = await _gather(self._get("/api"), self._get("/apis"))
        if _is_aggregated(core) and _is_aggregated(groups):
            return _Served(
                {**_aggregated(core), **_aggregated(groups)}, _silent(core) | _silent(groups)
            )
        return await self._read_each(groups)

    async def _get(self, path: str) -> Mapping[str, Any]:
        answer = await self._server.request("GET", path, headers={"Accept": _ACCEPT})
        if isinstance(answer, ApiRefusal):
            message = f"{self._server.spec.name}: discovery is refused: {answer.message}"
            raise TemporaryError(message, reason="Discovery")
        return answer.body

    async def _read_each(self, groups: Mapping[str, Any]) -> _Served:
        """Read the way of servers before 1.27: one request a group and version."""
        versions = {("", "v1"): "/api/v1"}
        for group in groups.get("groups") or []:
            for item in group.get("versions") or []:
                key = (str(group["name"]), str(item["version"]))
                versions[key] = f"/apis/{item['groupVersion']}"
        answers = await _gather(*(self._get_plain(path) for path in versions.values()))
        kinds: Kinds = {}
        for body in answers:
            kinds.update(_plain(body) if body is not None else {})
        silent = [key for key, body in zip(versions, answers, strict=True) if body is None]
        return _Served(kinds, frozenset(silent))

    async def _get_plain(self, path: str) -> Mapping[str, Any] | None:
        try:
            return await self._get(path)
        except TemporaryError:
            if path == "/api/v1":
                raise
            return None


async def _gather(*requests: Awaitable[BodyT]) -> list[BodyT]:
    """Wait for all of them, also when one fails, and raise the first failure then."""
    found = await asyncio.gather(*requests, return_exceptions=True)
    for item in found:
        if isinstance(item, BaseException):
            raise item
    return [item for item in found if not isinstance(item, BaseException)]


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


def _silent(body: Mapping[str, Any]) -> frozenset[tuple[str, str]]:
    return frozenset(
        ((group.get("metadata") or {}).get("name", ""), version.get("version", ""))
        for group in body.get("items") or []
        for version in group.get("versions") or []
        if version.get("freshness") == "Stale"
    )


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
