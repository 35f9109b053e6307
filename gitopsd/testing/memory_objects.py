"""The objects of a cluster in memory: versions, generations, watchers, what controllers report."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from gitopsd.cluster_ports import (
    KindInfo,
    WatchSignal,
)
from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.kube.images import find_images
from gitopsd.kube.objects import string_at
from gitopsd.ports import (
    Clock,
)
from gitopsd.testing.ownership import Owners, to_managed_fields
from gitopsd.testing.workloads import (
    Family,
    Workload,
    deployment_status,
    job_event,
    job_pod,
    job_status,
    make_family,
    metadata_of,
    stamp,
)

_SERVER_FIELDS = frozenset(
    {"uid", "resourceVersion", "generation", "creationTimestamp", "managedFields"}
)


@dataclass(slots=True)
class Stored:
    """One object.

    Attributes:
        body: As written, with the server's own fields but for managed fields and status.
        owners: Who owns which field.
        changed_at: When its spec last changed.
    """

    body: dict[str, Json]
    owners: Owners = field(default_factory=dict)
    changed_at: datetime | None = None

    @property
    def version(self) -> Json:
        """Its resourceVersion."""
        return metadata_of(self.body)["resourceVersion"]


class MemoryObjects:
    """Every object of one cluster.

    Args:
        clock: Time of its controllers.

    Attributes:
        workloads: Image -> how its pods behave; others are ready at once.
    """

    def __init__(self, clock: Clock) -> None:
        self.workloads: dict[str, Workload] = {}
        self._clock = clock
        self._rows: dict[ObjectKey, Stored] = {}
        self._watchers: list[tuple[str, str, asyncio.Queue[WatchSignal]]] = []
        self._version = 1  # as in etcd, where no object has it
        self._uids = 0

    def __iter__(self) -> Iterator[tuple[ObjectKey, Stored]]:
        return iter(tuple(self._rows.items()))

    def find(self, key: ObjectKey) -> Stored | None:
        """Find one."""
        return self._rows.get(key)

    def defined(self, group: str, kind: str) -> KindInfo | None:
        """Find the definition of a custom kind."""
        for key, stored in self._rows.items():
            names = (
                string_at(stored.body, "spec", "group"),
                string_at(stored.body, "spec", "names", "kind"),
            )
            if key.kind == "CustomResourceDefinition" and names == (group, kind):
                namespaced = string_at(stored.body, "spec", "scope") == "Namespaced"
                return KindInfo(string_at(stored.body, "spec", "names", "plural"), namespaced)
        return None

    def store(self, ref: ObjectRef, body: dict[str, Json], owners: Owners) -> JsonObject:
        """Write an object, as the server would; returns it as it is then.

        What changes nothing leaves the version as it is; an object that is being deleted goes
        with its last finalizer.
        """
        stored = self._rows.get(ref.key)
        if stored is not None and _content(stored.body) == _content(body):
            if stored.owners != owners:
                stored.owners = owners
                stored.body = {**stored.body, "metadata": self._next(metadata_of(stored.body))}
            return self.reported(stored)
        old = metadata_of(stored.body) if stored is not None else {}
        changed = stored is None or stored.body.get("spec") != body.get("spec")
        generation = old.get("generation", 0)
        if not old:
            self._uids += 1
        metadata = self._next(metadata_of(body)) | {
            "uid": old.get("uid") or f"uid-{self._uids}",
            "generation": (generation if isinstance(generation, int) else 0) + changed,
            "creationTimestamp": old.get("creationTimestamp") or stamp(self._clock.now()),
        }
        fresh = Stored({**body, "metadata": metadata}, owners)
        fresh.changed_at = self._clock.now() if changed or stored is None else stored.changed_at
        self._rows[ref.key] = fresh
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):
            self.remove(ref)
        else:
            self._tell("Added" if stored is None else "Modified", ref, fresh)
        return self.reported(fresh)

    def _next(self, metadata: dict[str, Json]) -> dict[str, Json]:
        self._version += 1
        kept = {key: value for key, value in metadata.items() if key != "managedFields"}
        return {**kept, "resourceVersion": str(self._version)}

    def remove(self, ref: ObjectRef) -> None:
        """Take an object away; one with finalizers stays, terminating."""
        stored = self._rows[ref.key]
        metadata = metadata_of(stored.body)
        if metadata.get("finalizers"):
            metadata.setdefault("deletionTimestamp", stamp(self._clock.now()))
            self.store(ref, {**stored.body, "metadata": metadata}, stored.owners)
            return
        del self._rows[ref.key]
        self._tell("Deleted", ref, stored)

    def watch(self, kind: str, namespace: str) -> asyncio.Queue[WatchSignal]:
        """Put every later change of a collection into a queue, until `unwatch`."""
        queue: asyncio.Queue[WatchSignal] = asyncio.Queue()
        self._watchers.append((kind, namespace, queue))
        return queue

    def unwatch(self, queue: asyncio.Queue[WatchSignal]) -> None:
        """Stop."""
        self._watchers = [watcher for watcher in self._watchers if watcher[2] is not queue]

    def _tell(self, action: str, ref: ObjectRef, stored: Stored) -> None:
        for kind, namespace, watcher in self._watchers:
            if kind == ref.key.kind and namespace in ("", ref.key.namespace):
                obj = without_managed_fields(self.reported(stored))
                watcher.put_nowait(WatchSignal(action, obj))

    def reported(self, stored: Stored) -> JsonObject:
        """Copy an object with what the server and controllers would have written by now."""
        body = copy.deepcopy(stored.body)
        fields = to_managed_fields(stored.owners, string_at(body, "apiVersion"))
        body["metadata"] = {**metadata_of(body), "managedFields": fields}
        if body.get("kind") == "Namespace":
            body["status"] = {"phase": "Active"}
        if body.get("kind") == "CustomResourceDefinition":
            established: list[Json] = [{"type": "Established", "status": "True"}]
            body["status"] = {"conditions": established}
        if body.get("kind") == "Deployment":
            body["status"] = deployment_status(body, ready=self._is_ready(stored))
        if body.get("kind") == "Job":
            body["status"] = job_status(self.behaviour(stored), ended=self._is_ready(stored))
        return body

    def behaviour(self, stored: Stored) -> Workload:
        """Find how the pods of a workload behave."""
        for image in find_images([stored.body]):
            if image in self.workloads:
                return self.workloads[image]
        return Workload()

    def families(self, namespace: str) -> Iterator[Family]:
        """Make what stands behind each Deployment of a namespace; empty means all."""
        for key, stored in self:
            if key.kind == "Deployment" and namespace in ("", key.namespace):
                behaviour, ready = self.behaviour(stored), self._is_ready(stored)
                yield make_family(stored.body, stored.changed_at, behaviour, ready=ready)

    def job_pods(self, namespace: str) -> Iterator[JsonObject]:
        """Make the pod of each Job of a namespace; empty means all."""
        for key, stored in self:
            if key.kind == "Job" and namespace in ("", key.namespace):
                behaviour, ended = self.behaviour(stored), self._is_ready(stored)
                if not behaviour.pods_refused:
                    yield job_pod(stored.body, stored.changed_at, behaviour, ended=ended)

    def job_events(self, namespace: str) -> Iterator[JsonObject]:
        """Make the event of each Job of a namespace whose pods may not be created."""
        for key, stored in self:
            behaviour = self.behaviour(stored)
            if key.kind == "Job" and namespace in ("", key.namespace) and behaviour.pods_refused:
                yield job_event(stored.body, self._clock.now(), behaviour)

    def _is_ready(self, stored: Stored) -> bool:
        after, since = self.behaviour(stored).ready_after, stored.changed_at
        return after is not None and since is not None and self._clock.now() >= since + after


def without_managed_fields(obj: JsonObject) -> JsonObject:
    """Copy an object as lists give it."""
    metadata = {key: value for key, value in metadata_of(obj).items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def _content(obj: Mapping[str, Json]) -> dict[str, Json]:
    kept = {key: value for key, value in obj.items() if key != "status"}
    kept["metadata"] = {
        key: value for key, value in metadata_of(obj).items() if key not in _SERVER_FIELDS
    }
    return kept
