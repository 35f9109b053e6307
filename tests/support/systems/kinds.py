"""The kinds that an API server knows, by its own discovery, and many readings by one connection."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self

from tests.support.processes import wait_until

if TYPE_CHECKING:
    from types import TracebackType

    from tests.support.cluster_client import ClusterClient
    from tests.support.systems.object_sets import Object

_SECONDS = 20
_PATIENCE = timedelta(seconds=10)
_PAUSE = timedelta(milliseconds=200)
_LISTS = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
_DISCOVERY = ",".join((_LISTS.format("v2"), _LISTS.format("v2beta1")))
_NEVER_APPLIED = frozenset({"endpoints", "events", "pods", "endpointslices", "controllerrevisions"})


class ReadError(Exception):
    """The API server gave no answer that can be judged; the message says what it said."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One kind as an API server serves it.

    Attributes:
        group: Its API group; empty for the core.
        version: The version that the server prefers.
        name: Plural, as in paths and in audit events.
        kind: As in manifests.
        namespaced: Whether its objects are in namespaces.
        applied: Whether anybody could apply one, and have it listed.
    """

    group: str
    version: str
    name: str
    kind: str
    namespaced: bool
    applied: bool

    def path(self, namespace: str = "") -> str:
        """The collection, of one namespace or of all."""
        root = f"/apis/{self.group}" if self.group else "/api"
        place = f"namespaces/{namespace}/" if namespace and self.namespaced else ""
        return f"{root}/{self.version}/{place}{self.name}"


class Reader:
    """Reads by one connection, as a context: a hundred answers cost one handshake."""

    def __init__(self, client: ClusterClient) -> None:
        """Ask as ``client`` does."""
        self._credentials = client.credentials
        self._connection = client.connect(_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()

    def read(self, path: str, accept: str = "application/json") -> dict[str, Any] | None:
        """What is at a path; None when there is nothing.

        Raises:
            ReadError: The API server refuses.
            WaitTimeoutError: It asks for patience again and again.
            OSError: It does not answer.
        """
        found: list[tuple[int, bytes]] = []

        def answered() -> bool:
            # A custom kind whose definition has just changed asks for a moment.
            found.append(self._ask(path, accept))
            return found[-1][0] != HTTPStatus.TOO_MANY_REQUESTS

        wait_until(answered, what=f"GET {path}", within=_PATIENCE, pause=_PAUSE)
        status, body = found[-1]
        if status == HTTPStatus.NOT_FOUND:
            return None
        if status != HTTPStatus.OK:
            message = f"GET {path} answered {status}: {body[:300].decode(errors='replace')}"
            raise ReadError(message)
        decoded: dict[str, Any] = json.loads(body)
        return decoded

    def _ask(self, path: str, accept: str) -> tuple[int, bytes]:
        headers = {"Accept": accept, "User-Agent": "gitopsd-test-judge", **self._credentials}
        self._connection.request("GET", path, headers=headers)
        response = self._connection.getresponse()
        return response.status, response.read()


@dataclass(frozen=True, slots=True)
class Kinds:
    """All kinds of one API server.

    Attributes:
        resources: By group and plural.
    """

    resources: dict[tuple[str, str], Resource]

    @classmethod
    def discover(cls, client: ClusterClient) -> Kinds:
        """Ask an API server.

        Raises:
            ReadError: It refuses.
        """
        found: dict[tuple[str, str], Resource] = {}
        with Reader(client) as reader:
            for root in ("/api", "/apis"):
                answer = reader.read(root, _DISCOVERY) or {}
                for group in answer.get("items", []):
                    for resource in _resources(group):
                        found.setdefault((resource.group, resource.name), resource)
        return cls(found)

    def applied(self) -> list[Resource]:
        """Kinds whose objects somebody may have applied."""
        return [one for one in self.resources.values() if one.applied]

    def kind(self, reference: dict[str, Any]) -> str:
        """The kind that an audit event's ``objectRef`` is about; its plural when unknown."""
        name = str(reference.get("resource", ""))
        found = self.resources.get((reference.get("apiGroup", ""), name))
        return found.kind if found else name

    def path(self, one: Object) -> str:
        """Where an object is, or would be.

        Raises:
            ReadError: The API server does not know its kind.
        """
        group = one["apiVersion"].rpartition("/")[0]
        for found in self.resources.values():
            if (found.group, found.kind) == (group, one["kind"]):
                metadata = one["metadata"]
                return f"{found.path(metadata.get('namespace', ''))}/{metadata['name']}"
        message = f"the API server knows no {one['kind']} of {one['apiVersion']}"
        raise ReadError(message)


def _resources(group: dict[str, Any]) -> list[Resource]:
    name = group.get("metadata", {}).get("name", "")
    return [
        Resource(
            name,
            version["version"],
            one["resource"],
            one["responseKind"]["kind"],
            one["scope"] == "Namespaced",
            {"list", "patch"} <= set(one["verbs"]) and one["resource"] not in _NEVER_APPLIED,
        )
        for version in group["versions"]
        for one in version.get("resources", [])
    ]
