"""A cluster in memory: objects, server-side apply by one manager at a time, workloads that obey.

For engine tests in virtual time. It knows what decides a run: ownership of fields (what leaves a
manager's apply leaves the object), dry-run, uids, generations, resourceVersions, preconditions,
and what a controller would report. It is no API server: see `gitopsd.sandbox` for one.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from gitopsd.domain.manifests import Json, JsonObject, ObjectKey, ObjectRef
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.images import find_images
from gitopsd.kube.objects import parse_ref
from gitopsd.ports import (
    ApiRefusal,
    AppliedObject,
    Clock,
    HttpAnswer,
    KindInfo,
    ProxiedRequest,
    WatchSignal,
)
from gitopsd.testing.workloads import (
    Workload,
    deployment_status,
    make_family,
    metadata_of,
    stamp,
)

CLUSTER_SCOPED = frozenset(
    {"Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "StorageClass"}
)
WITH_STATUS = frozenset({"Deployment", "Service", "Namespace", "Pod", "Job", "ReplicaSet"})

Fault = Callable[[str, ObjectRef | None], GitopsdError | None]
"""(method, object) -> what the request fails with; None lets it pass."""


@dataclass(slots=True)
class _Stored:
    body: dict[str, Json]
    managers: dict[str, JsonObject] = field(default_factory=dict)
    changed_at: datetime | None = None


class MemoryCluster:
    """One cluster; implements the Cluster port.

    Args:
        clock: Time of its controllers.

    Attributes:
        requests: (method, object, dry run) of every request, in order.
        workloads: Image -> how its pods behave; others are ready at once.
        fault: Decides which requests fail; None for none.
        proxied: Answers of services, by (service, path).
    """

    def __init__(self, clock: Clock) -> None:
        self.requests: list[tuple[str, str, bool]] = []
        self.workloads: dict[str, Workload] = {}
        self.fault: Fault | None = None
        self.proxied: dict[tuple[str, str], HttpAnswer] = {}
        self._clock = clock
        self._objects: dict[ObjectKey, _Stored] = {}
        self._version = 0
        self._uids = 0

    # -- what tests look at

    def live(self) -> dict[str, JsonObject]:
        """Read every object but gitopsd's own inventories, by ``Kind namespace/name``."""
        return {
            str(key): stored.body
            for key, stored in self._objects.items()
            if not key.name.startswith("gitopsd-")
        }

    def writes(self) -> list[tuple[str, str]]:
        """List the requests that could change something, in order."""
        quiet = ("get", "list", "log", "send")
        return [
            (method, what) for method, what, dry in self.requests if not dry and method not in quiet
        ]

    # -- the port

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """See `gitopsd.ports.Cluster.fetch_kind`."""
        kind = ref.key.kind
        return KindInfo(
            plural=f"{kind.lower()}s",
            namespaced=kind not in CLUSTER_SCOPED,
            has_status=kind in WITH_STATUS,
        )

    def forget_kinds(self) -> None:
        """See `gitopsd.ports.Cluster.forget_kinds`."""

    async def get(self, ref: ObjectRef) -> JsonObject | ApiRefusal | None:
        """See `gitopsd.ports.Cluster.get`."""
        self._note("get", ref)
        stored = self._objects.get(ref.key)
        return self._reported(stored) if stored is not None else None

    async def fetch_list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = ""
    ) -> tuple[JsonObject, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_list`; selectors are not needed by the engine."""
        group, _, version = api_version.rpartition("/")
        self._note("list", ObjectRef(ObjectKey(group, kind, namespace, label_selector), version))
        if kind in ("ReplicaSet", "Pod"):
            return tuple(self._children(kind, namespace))
        return tuple(
            self._reported(stored)
            for key, stored in self._objects.items()
            if key.kind == kind and (not namespace or key.namespace == namespace)
        )

    async def apply(
        self, obj: JsonObject, *, manager: str, force: bool, dry_run: bool = False
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.apply`; there are no conflicts to force here."""
        ref = parse_ref(obj)
        self._note("apply" if force or dry_run else "apply unforced", ref, dry=dry_run)
        stored = self._objects.get(ref.key)
        previous = stored.managers.get(manager, {}) if stored is not None else {}
        base = copy.deepcopy(stored.body) if stored is not None else {}
        merged = _merge(_without(base, previous, obj), obj)
        if dry_run:
            return AppliedObject(self._preview(merged, stored, ref), created=stored is None)
        return AppliedObject(self._store(ref, merged, manager, obj), created=stored is None)

    async def create(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.create`."""
        ref = parse_ref(obj)
        self._note("create", ref)
        if ref.key in self._objects:
            return ApiRefusal(409, "AlreadyExists", f'"{ref.key.name}" already exists')
        return AppliedObject(self._store(ref, dict(obj), "create", obj), created=True)

    async def replace(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.replace`."""
        ref = parse_ref(obj)
        self._note("replace", ref)
        stored = self._objects.get(ref.key)
        if stored is None:
            return ApiRefusal(404, "NotFound", f'"{ref.key.name}" not found')
        if metadata_of(obj).get("resourceVersion") != metadata_of(stored.body)["resourceVersion"]:
            return ApiRefusal(409, "Conflict", "the object has been modified")
        return AppliedObject(self._store(ref, dict(obj), "replace", obj), created=False)

    async def patch(
        self, ref: ObjectRef, operations: Sequence[JsonObject]
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.patch`; nothing here needs migrating."""
        self._note("patch", ref)
        return ApiRefusal(422, "Invalid", f"{len(operations)} operations are not supported here")

    async def delete(
        self, ref: ObjectRef, *, uid: str = "", propagation: str = "Background"
    ) -> ApiRefusal | None:
        """See `gitopsd.ports.Cluster.delete`."""
        self._note("delete", ref)
        stored = self._objects.get(ref.key)
        if stored is None:
            return None
        if uid and metadata_of(stored.body)["uid"] != uid:
            message = f"the uid in the precondition is not that of the object ({propagation})"
            return ApiRefusal(409, "Conflict", message)
        del self._objects[ref.key]
        return None

    async def fetch_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int
    ) -> tuple[str, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_log`."""
        self._note("log", ObjectRef(ObjectKey("", "Pod", namespace, pod), "v1"))
        lines = [
            line
            for stored in self._objects.values()
            if stored.body.get("kind") == "Deployment"
            and pod.startswith(str(metadata_of(stored.body)["name"]))
            for line in self._behaviour(stored).log
        ]
        return tuple(lines[-tail_lines:]) if (container or previous) else ()

    async def send(self, request: ProxiedRequest) -> HttpAnswer | ApiRefusal:
        """See `gitopsd.ports.Cluster.send`."""
        self._note("send", None)
        unavailable = HttpAnswer(503, {}, b'{"kind":"Status"}', from_proxy=True)
        return self.proxied.get((request.service, request.path), unavailable)

    async def watch(
        self, api_version: str, kind: str, namespace: str
    ) -> AsyncIterator[WatchSignal]:
        """See `gitopsd.ports.Cluster.watch`; the engine looks again by itself."""
        self._note("watch", ObjectRef(ObjectKey("", kind, namespace, ""), api_version))
        yield WatchSignal("Relisted")

    async def fetch_schema(self, ref: ObjectRef) -> JsonObject | None:
        """See `gitopsd.ports.Cluster.fetch_schema`."""
        self._note("schema", ref)
        return None

    async def close(self) -> None:
        """See `gitopsd.ports.Cluster.close`."""

    # -- inside

    def _note(self, method: str, ref: ObjectRef | None, *, dry: bool = False) -> None:
        self.requests.append((method, str(ref.key) if ref is not None else "", dry))
        error = self.fault(method, ref) if self.fault is not None else None
        if error is not None:
            raise error

    def _preview(
        self, merged: dict[str, Json], stored: _Stored | None, ref: ObjectRef
    ) -> JsonObject:
        if stored is None:
            return {**merged, "metadata": {**metadata_of(merged), "uid": "", "name": ref.key.name}}
        return merged

    def _store(
        self, ref: ObjectRef, body: dict[str, Json], manager: str, sent: JsonObject
    ) -> JsonObject:
        stored = self._objects.get(ref.key)
        if stored is not None and _content(stored.body) == _content(body):
            stored.managers[manager] = sent
            return self._reported(stored)
        self._version += 1
        old = metadata_of(stored.body) if stored is not None else {}
        metadata = dict(metadata_of(body))
        generation = old.get("generation", 0)
        changed = stored is None or stored.body.get("spec") != body.get("spec")
        if not old:
            self._uids += 1
        metadata |= {
            "uid": old.get("uid") or f"uid-{self._uids}",
            "resourceVersion": str(self._version),
            "generation": (generation if isinstance(generation, int) else 0) + changed,
            "creationTimestamp": old.get("creationTimestamp") or stamp(self._clock.now()),
        }
        managers = stored.managers if stored is not None else {}
        fresh = _Stored({**body, "metadata": metadata}, {**managers, manager: sent})
        fresh.changed_at = self._clock.now() if changed or stored is None else stored.changed_at
        self._objects[ref.key] = fresh
        return self._reported(fresh)

    def _behaviour(self, stored: _Stored) -> Workload:
        for image in find_images([stored.body]):
            if image in self.workloads:
                return self.workloads[image]
        return Workload()

    def _is_ready(self, stored: _Stored) -> bool:
        behaviour = self._behaviour(stored)
        since = stored.changed_at
        if behaviour.ready_after is None or since is None:
            return False
        return self._clock.now() >= since + behaviour.ready_after

    def _reported(self, stored: _Stored) -> JsonObject:
        """Add what a controller would have written into the status by now."""
        body = copy.deepcopy(stored.body)
        if body.get("kind") == "Namespace":
            body["status"] = {"phase": "Active"}
        if body.get("kind") != "Deployment":
            return body
        ready = self._is_ready(stored)
        body["status"] = deployment_status(body, ready=ready)
        return body

    def _children(self, kind: str, namespace: str) -> list[JsonObject]:
        found = []
        for key, stored in self._objects.items():
            if key.kind != "Deployment" or (namespace and key.namespace != namespace):
                continue
            behaviour, ready = self._behaviour(stored), self._is_ready(stored)
            family = make_family(stored.body, stored.changed_at, behaviour, ready=ready)
            found.append(family.replica_set if kind == "ReplicaSet" else family.pod)
        return found


class MemoryClusters:
    """The Clusters port over clusters in memory.

    Args:
        clusters: Clusters by name.
    """

    def __init__(self, clusters: Mapping[str, MemoryCluster]) -> None:
        self._clusters = clusters

    def get(self, name: str, *, service_account: str = "", namespace: str = "") -> MemoryCluster:
        """See `gitopsd.ports.Clusters.get`; every identity may do everything."""
        found = self._clusters.get(name)
        if found is None:
            message = f"cluster {name} is not configured ({service_account or 'no'} {namespace})"
            raise PermanentError(message)
        return found


def _content(obj: Mapping[str, Json]) -> dict[str, Json]:
    kept = {key: value for key, value in obj.items() if key != "status"}
    server = ("uid", "resourceVersion", "generation", "creationTimestamp")
    kept["metadata"] = {key: value for key, value in metadata_of(obj).items() if key not in server}
    return kept


def _merge(base: Mapping[str, Json], over: Mapping[str, Json]) -> dict[str, Json]:
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        if isinstance(held, Mapping) and isinstance(value, Mapping):
            merged[key] = _merge(held, value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


def _without(
    base: Mapping[str, Json], previous: Mapping[str, Json], wanted: Mapping[str, Json]
) -> dict[str, Json]:
    """Drop what a manager applied before and no longer lists."""
    kept = dict(base)
    for key, value in previous.items():
        held, new = kept.get(key), wanted.get(key)
        if key not in wanted:
            kept.pop(key, None)
        elif isinstance(held, Mapping) and isinstance(value, Mapping) and isinstance(new, Mapping):
            kept[key] = _without(held, value, new)
    return kept
