"""The same steps on a real control plane and on the sandbox's controllers, to be compared.

Neither side runs pods: their statuses are reported by the test, so that both see the same. Names by
chance, ids and times are taken out of what is compared (:func:`plain`).
"""

from __future__ import annotations

import copy
import http.client
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gitopsd.sandbox.api.assembly import Listen, SandboxApi
from gitopsd.sandbox.api.bootstrap_objects import create_bootstrap_objects
from gitopsd.sandbox.api.deletion import DeleteOptions
from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.api.storage import generate_name
from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.controllers.assembly import ClusterControllers
from gitopsd.sandbox.controllers.facts import NAMESPACE, NODE, POD, Kind
from gitopsd.sandbox.fields import object_at, objects_at
from gitopsd.sandbox.objects.patches import merge_patch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gitopsd.domain.manifests import Json, JsonObject
    from tests.support.cluster_client import ClusterClient

MANAGER = "gitopsd-test-harness"
_TIMES = {
    "completionTime",
    "creationTimestamp",
    "deletionTimestamp",
    "eventTime",
    "firstTimestamp",
    "lastObservedTime",
    "lastProbeTime",
    "lastTimestamp",
    "lastTransitionTime",
    "lastUpdateTime",
    "startTime",
    "time",
}
# The last is for measuring only; a real controller forgets it when it does not know better.
_CHANGED_AT = "endpoints.kubernetes.io/last-change-trigger-time"
_DROPPED = {"resourceVersion", "uid", _CHANGED_AT, f"f:{_CHANGED_AT}"}
_MARK = "[bcdfghjklmnpqrstvwxz2456789]"


class Side(Protocol):
    """One of the two."""

    @property
    def namespace(self) -> str:
        """The namespace."""
        ...

    def create(self, kind: Kind, body: JsonObject) -> None:
        """Make an object in the namespace."""
        ...

    def change(self, kind: Kind, name: str, patch: JsonObject) -> None:
        """Merge a patch into an object."""
        ...

    def report(self, pod: str, status: JsonObject) -> None:
        """Set a pod's status, as its node would."""
        ...

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; a pod goes at once."""
        ...

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """The objects of a kind in the namespace."""
        ...

    def history(self, kind: Kind) -> list[dict[str, Any]]:
        """Every state that objects of a kind have been in; of objects that are there."""
        ...


@dataclass(frozen=True, slots=True)
class RealSide:
    """A namespace of a real control plane.

    Attributes:
        client: Its API.
        namespace: The namespace.
    """

    client: ClusterClient
    namespace: str

    def create(self, kind: Kind, body: JsonObject) -> None:
        """Make an object in the namespace."""
        self.client.create(self._path(kind), body)

    def change(self, kind: Kind, name: str, patch: JsonObject) -> None:
        """Merge a patch into an object."""
        path = f"{self._path(kind)}/{name}"
        self.client.request("PATCH", path, patch, content_type="application/merge-patch+json")

    def report(self, pod: str, status: JsonObject) -> None:
        """Set a pod's status, as its node would."""
        path = f"{self._path(POD)}/{pod}/status"
        patch: JsonObject = {"status": status}
        kind = "application/strategic-merge-patch+json"
        self.client.request("PATCH", path, patch, content_type=kind)

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; a pod goes at once."""
        query = "?gracePeriodSeconds=0" if kind == POD else ""
        self.client.delete(f"{self._path(kind)}/{name}{query}")

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """The objects of a kind in the namespace."""
        items: list[dict[str, Any]] = self.client.get(self._path(kind))["items"]
        return items

    def history(self, kind: Kind) -> list[dict[str, Any]]:
        """Every state that objects of a kind which are there have been in.

        However slowly it comes, it is read until it has come to the objects as they are now.
        """
        made = self.client.get(f"/api/v1/namespaces/{self.namespace}")["metadata"]
        awaited = {item["metadata"]["resourceVersion"] for item in self.all(kind)}
        query = f"watch=1&resourceVersion={made['resourceVersion']}&timeoutSeconds=60"
        connection = http.client.HTTPSConnection(
            str(self.client.address), self.client.port, timeout=60, context=self.client.tls
        )
        found: list[dict[str, Any]] = []
        try:
            connection.request("GET", f"{self._path(kind)}?{query}")
            response = connection.getresponse()
            while awaited:
                event = json.loads(response.readline())
                awaited.discard(event["object"]["metadata"]["resourceVersion"])
                if event["type"] != "DELETED":
                    found.append(event["object"])
        finally:
            connection.close()
        return found

    def _path(self, kind: Kind) -> str:
        group = kind.resource.group
        base = f"/apis/{group}" if group else "/api"
        return f"{base}/{kind.version}/namespaces/{self.namespace}/{kind.resource.resource}"


class SandboxSide:
    """A namespace of a sandbox in this process, without HTTP.

    Attributes:
        namespace: The namespace.
        api: The sandbox; nothing listens.
        controllers: Its controllers.
    """

    def __init__(self, namespace: str) -> None:
        """Start with what a cluster has, and the namespace."""
        self.namespace = namespace
        clock = Clock()
        self.api = SandboxApi(Listen(), clock)
        create_bootstrap_objects(self.api.store)
        self.controllers = ClusterControllers(self.api.store, clock, certificate="PEM")
        self.api.admission.also = self.controllers.admission
        self._feed = self.api.store.subscribe(since=0)
        self._seen: list[tuple[Key, dict[str, Any]]] = []
        self._make(NAMESPACE, "", {"metadata": {"name": self.namespace}})

    def make_node(self, name: str, spec: JsonObject, room: JsonObject) -> None:
        """A ready node."""
        labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}
        self._make(NODE, "", {"metadata": {"name": name, "labels": labels}, "spec": spec})
        conditions = [{"type": "Ready", "status": "True", "reason": "Paper"}]
        status: JsonObject = {"capacity": room, "allocatable": room, "conditions": conditions}
        key = Key(*NODE.resource, "", name)
        self.api.store.modify(key, lambda node: {**node, "status": status}, subresource="status")
        self.controllers.settle()

    def create(self, kind: Kind, body: JsonObject) -> None:
        """Make an object in the namespace."""
        self._make(kind, self.namespace, body)

    def change(self, kind: Kind, name: str, patch: JsonObject) -> None:
        """Merge a patch into an object."""
        key = Key(*kind.resource, self.namespace, name)
        self.api.store.modify(key, lambda item: _object(merge_patch(item, patch)), manager=MANAGER)
        self.controllers.settle()

    def report(self, pod: str, status: JsonObject) -> None:
        """Set a pod's status, as its node would."""
        key = Key(*POD.resource, self.namespace, pod)
        self.api.store.modify(
            key,
            lambda item: {**item, "status": _reported(item, status)},
            manager=MANAGER,
            subresource="status",
        )
        self.controllers.settle()

    def delete(self, kind: Kind, name: str) -> None:
        """Delete an object; a pod goes at once."""
        self.api.store.delete(
            Key(*kind.resource, self.namespace, name), DeleteOptions(grace_seconds=0)
        )
        self.controllers.settle()

    def all(self, kind: Kind) -> list[dict[str, Any]]:
        """The objects of a kind in the namespace."""
        found = self.api.store.list(kind.resource, self.namespace).items
        return [copy.deepcopy(dict(item)) for item in found]

    def history(self, kind: Kind) -> list[dict[str, Any]]:
        """Every state that objects of a kind have been in."""
        for change in self._feed.take():
            if change.action is not Action.DELETED:
                self._seen.append((change.key, dict(change.object)))
        wanted = (kind.resource, self.namespace)
        return [item for key, item in self._seen if (key.kind, key.namespace) == wanted]

    def _make(self, kind: Kind, namespace: str, body: JsonObject) -> None:
        metadata: Any = body["metadata"]
        name = metadata.get("name") or generate_name(metadata["generateName"])
        item: JsonObject = {"apiVersion": kind.api_version, "kind": kind.kind, **body}
        key = Key(*kind.resource, namespace, name)
        self.controllers.admission(key, item)
        self.api.store.create(key, item, manager=MANAGER)
        self.controllers.settle()


def _reported(pod: JsonObject, new: JsonObject) -> dict[str, Any]:
    """As a strategic merge does it: conditions by their type."""
    old = object_at(pod, "status")
    before, said = objects_at(old, "conditions"), objects_at(new, "conditions")
    conditions = {item["type"]: item for item in (*before, *said)}
    kinds = list(dict.fromkeys(item["type"] for item in (*said, *before)))
    return {**old, **new, "conditions": [conditions[kind] for kind in kinds]}


def _object(found: Json) -> JsonObject:
    return found if isinstance(found, Mapping) else {}


def plain(item: Any, names: Sequence[tuple[str, str]]) -> Any:  # noqa: ANN401 - any JSON
    """JSON without what differs from one cluster to the next.

    Args:
        item: Any part of an object.
        names: Texts to replace, from :func:`chance_names`.
    """
    if isinstance(item, dict):
        shown = {
            plain(key, names): "<time>" if key in _TIMES else plain(value, names)
            for key, value in item.items()
            if key not in _DROPPED
        }
        for name in ("annotations", "f:annotations"):
            # Nothing else was annotated: then when it last changed is all that was dropped.
            if shown.get(name) in ({}, {".": {}}):
                del shown[name]
        return shown
    if isinstance(item, list | tuple):
        return [plain(value, names) for value in item]
    if isinstance(item, str):
        for old, new in names:
            item = item.replace(old, new)
        return item
    return item


def chance_names(items: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    """What chance and hashes have put into names, and what to read instead; longest first."""
    found: dict[str, str] = {}
    for item in items:
        metadata = item["metadata"]
        labels = metadata.get("labels", {})
        found[metadata["uid"]] = f"<uid of {item.get('kind', '')}>"
        for key in (
            "pod-template-hash",
            "controller-revision-hash",
            "controller.kubernetes.io/hash",
        ):
            if mark := re.fullmatch(rf"(.*-)?({_MARK}{{6,10}})", labels.get(key, "")):
                found[mark[2]] = "<hash>"
        base = metadata.get("generateName", "")
        if base and metadata["name"].startswith(base) and len(metadata["name"]) == len(base) + 5:
            found[metadata["name"]] = f"{base}<name>"
    pairs = sorted(found.items(), key=lambda pair: -len(pair[0]))
    return pairs + [(mark, text) for mark, text in pairs if text == "<hash>"]
