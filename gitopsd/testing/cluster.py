"""A cluster in memory: objects, server-side apply, definitions, workloads that obey.

For engine tests in virtual time. It knows what decides a run: ownership of fields, conflicts,
dry-run, uids, generations, resourceVersions, preconditions, finalizers, and what a controller
would report. It is no API server: see `gitopsd.sandbox` for one.
"""

from __future__ import annotations

import copy
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

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
from gitopsd.errors import GitopsdError, PermanentError
from gitopsd.kube.objects import labels_of, parse_ref
from gitopsd.ports import Clock
from gitopsd.testing.json_patch import PatchError, run_json_patch
from gitopsd.testing.memory_objects import MemoryObjects, Stored, without_managed_fields
from gitopsd.testing.ownership import (
    FieldConflict,
    Owners,
    apply_fields,
    from_managed_fields,
    write_fields,
)
from gitopsd.testing.refusals import (
    already_exists,
    field_conflict,
    modified,
    no_such_kind,
    no_such_namespace,
    not_found,
    unknown_fields,
    wrong_uid,
)
from gitopsd.testing.workloads import Workload, metadata_of

CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "ClusterRole",
        "ClusterRoleBinding",
        "CustomResourceDefinition",
        "IngressClass",
        "Namespace",
        "PersistentVolume",
        "PriorityClass",
        "StorageClass",
    }
)
WITH_STATUS = frozenset({"Deployment", "Service", "Namespace", "Pod", "Job", "ReplicaSet"})

Fault = Callable[[str, ObjectRef | None], GitopsdError | None]
"""(method, object) -> what the request fails with; None lets it pass."""

Before = Callable[[str, ObjectRef | None], Awaitable[None]]
"""(method, object) -> what is waited for before the request reaches the server."""

Refuse = Callable[[str, ObjectRef, JsonObject], ApiRefusal | None]
"""(method, object, body or nothing) -> the server's refusal; None lets it pass."""


class MemoryCluster:
    """One cluster; implements the Cluster port.

    Args:
        clock: Time of its controllers.
        objects: Its objects; those of another client to be a second client of the same cluster.

    Attributes:
        requests: (method, object, dry run) of every request, in order.
        fault: Decides which requests fail; None for none.
        before: Holds requests up before they reach the server; None for not at all.
        after: Holds up the answers to writes that were done; None for not at all.
        refuse: Decides which requests the server refuses, like RBAC or admission; None for none.
        namespaces: Namespaces that exist beside those that were applied; None for all.
        proxied: Answers of services, by (service, path).
        commands: What comes of commands in pods, by their words; others end well and say nothing.
    """

    def __init__(self, clock: Clock, objects: MemoryObjects | None = None) -> None:
        self.requests: list[tuple[str, str, bool]] = []
        self.fault: Fault | None = None
        self.before: Before | None = None
        self.after: Before | None = None
        self.refuse: Refuse | None = None
        self.namespaces: frozenset[str] | None = None
        self.proxied: dict[tuple[str, str], HttpAnswer] = {}
        self.commands: dict[tuple[str, ...], CommandOutput] = {}
        self._objects = objects or MemoryObjects(clock)

    @property
    def objects(self) -> MemoryObjects:
        """The objects, for a second client of the same cluster."""
        return self._objects

    @property
    def workloads(self) -> dict[str, Workload]:
        """Image -> how its pods behave; others are ready at once."""
        return self._objects.workloads

    # -- what tests look at

    def live(self) -> dict[str, JsonObject]:
        """Read every object but gitopsd's own inventories, by ``Kind namespace/name``."""
        return {
            str(key): stored.body
            for key, stored in self._objects
            if not key.name.startswith("gitopsd-")
        }

    def writes(self) -> list[tuple[str, str]]:
        """List the requests that could change something, in order."""
        quiet = ("get", "list", "log", "send", "schema", "watch")
        return [
            (method, what) for method, what, dry in self.requests if not dry and method not in quiet
        ]

    # -- the port

    async def fetch_kind(self, ref: ObjectRef) -> KindInfo | None:
        """See `gitopsd.ports.Cluster.fetch_kind`; custom kinds are served once defined."""
        kind = ref.key.kind
        if _is_custom(ref):
            return self._objects.defined(ref.key.group, kind)
        return KindInfo(
            plural=f"{kind.lower()}s",
            namespaced=kind not in CLUSTER_SCOPED,
            has_status=kind in WITH_STATUS,
        )

    def forget_kinds(self) -> None:
        """See `gitopsd.ports.Cluster.forget_kinds`; nothing is remembered here."""

    async def get(self, ref: ObjectRef) -> JsonObject | ApiRefusal | None:
        """See `gitopsd.ports.Cluster.get`."""
        await self._note("get", ref)
        refused = self._refused("get", ref, {})
        if refused is not None:
            return refused
        stored = self._objects.find(ref.key)
        return self._objects.reported(stored) if stored is not None else None

    async def fetch_list(
        self, api_version: str, kind: str, namespace: str, *, label_selector: str = ""
    ) -> tuple[JsonObject, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_list`; selectors compare for equality."""
        group, _, version = api_version.rpartition("/")
        ref = ObjectRef(ObjectKey(group, kind, namespace, label_selector), version)
        await self._note("list", ref)
        refused = self._refused("list", ref, {})
        if refused is not None:
            return refused
        wanted = dict(part.split("=", 1) for part in label_selector.split(",") if part)
        if kind in ("ReplicaSet", "Pod"):
            families = [*self._objects.families(namespace)]
            pods = [*(one.pod for one in families), *self._objects.job_pods(namespace)]
            made = [one.replica_set for one in families] if kind == "ReplicaSet" else pods
            return tuple(obj for obj in made if wanted.items() <= labels_of(obj).items())
        if kind == "Event":
            return tuple(self._objects.job_events(namespace))
        found = (
            self._objects.reported(stored)
            for key, stored in self._objects
            if (key.group, key.kind) == (group, kind) and namespace in ("", key.namespace)
        )
        return tuple(
            without_managed_fields(obj) for obj in found if wanted.items() <= labels_of(obj).items()
        )

    async def apply(
        self, obj: JsonObject, *, manager: str, force: bool, dry_run: bool = False
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.apply`."""
        ref = parse_ref(obj)
        await self._note("apply" if force or dry_run else "apply unforced", ref, dry=dry_run)
        refused = self._refused("apply", ref, obj) or await self._impossible("apply", ref, obj)
        if refused is not None:
            return refused
        stored = self._objects.find(ref.key)
        if stored is not None and _is_stale(obj, stored):
            return modified(ref)
        body, owners = (stored.body, stored.owners) if stored is not None else ({}, {})
        applied = apply_fields(body, owners, manager, obj, force=force)
        if isinstance(applied, tuple):
            return _conflict(applied)
        if dry_run:
            return AppliedObject(_preview(applied.body, ref, stored), stored is None)
        new = stored is None
        return await self._write("apply", ref, applied.body, applied.owners, created=new)

    async def create(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.create`."""
        ref = parse_ref(obj)
        await self._note("create", ref)
        refused = self._refused("create", ref, obj) or await self._impossible("create", ref, obj)
        if refused is not None:
            return refused
        if self._objects.find(ref.key) is not None:
            return already_exists(ref)
        owners = write_fields({}, {}, "gitopsd", obj)
        return await self._write("create", ref, dict(obj), owners, created=True)

    async def replace(self, obj: JsonObject) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.replace`."""
        ref = parse_ref(obj)
        await self._note("replace", ref)
        refused = self._refused("replace", ref, obj) or await self._impossible("replace", ref, obj)
        if refused is not None:
            return refused
        stored = self._objects.find(ref.key)
        if stored is None:
            return not_found(ref)
        if _is_stale(obj, stored):
            return modified(ref)
        owners = write_fields(stored.body, stored.owners, "gitopsd", obj)
        return await self._write("replace", ref, dict(obj), owners, created=False)

    async def patch(
        self, ref: ObjectRef, operations: Sequence[JsonObject]
    ) -> AppliedObject | ApiRefusal:
        """See `gitopsd.ports.Cluster.patch`."""
        await self._note("patch", ref)
        refused = self._refused("patch", ref, {"operations": list(operations)})
        if refused is not None:
            return refused
        stored = self._objects.find(ref.key)
        if stored is None:
            return not_found(ref)
        before = self._objects.reported(stored)
        try:
            after = run_json_patch(before, operations)
        except PatchError as error:
            return ApiRefusal(422, "Invalid", str(error))
        owners = from_managed_fields(metadata_of(after).get("managedFields"))
        owners = write_fields(before, owners, "gitopsd", after)
        after.pop("status", None)
        return await self._write("patch", ref, after, owners, created=False)

    async def delete(
        self, ref: ObjectRef, *, uid: str = "", propagation: str = "Background"
    ) -> ApiRefusal | None:
        """See `gitopsd.ports.Cluster.delete`; an object with finalizers stays, terminating."""
        await self._note("delete", ref)
        refused = self._refused("delete", ref, {"propagationPolicy": propagation})
        stored = self._objects.find(ref.key)
        if refused is not None or stored is None:
            return refused
        found = str(metadata_of(stored.body)["uid"])
        if uid and found != uid:
            return wrong_uid(ref, uid, found)
        self._objects.remove(ref)
        return None

    async def fetch_log(
        self, namespace: str, pod: str, container: str, *, previous: bool, tail_lines: int
    ) -> tuple[str, ...] | ApiRefusal:
        """See `gitopsd.ports.Cluster.fetch_log`."""
        await self._note("log", ObjectRef(ObjectKey("", "Pod", namespace, pod), "v1"))
        lines = [
            line
            for _, stored in self._objects
            if stored.body.get("kind") in ("Deployment", "Job")
            and pod.startswith(str(metadata_of(stored.body)["name"]))
            for line in self._objects.behaviour(stored).log
        ]
        return tuple(lines[-tail_lines:]) if (container or previous) else ()

    async def send(self, request: ProxiedRequest) -> HttpAnswer | ApiRefusal:
        """See `gitopsd.ports.Cluster.send`."""
        await self._note("send", None)
        unavailable = HttpAnswer(503, {}, b'{"kind":"Status"}', from_proxy=True)
        return self.proxied.get((request.service, request.path), unavailable)

    async def run_command(self, command: PodCommand) -> CommandOutput | ApiRefusal:
        """See `gitopsd.ports.Cluster.run_command`."""
        ref = ObjectRef(ObjectKey("", "Pod", command.namespace, command.pod), "v1")
        await self._note("exec", ref)
        refused = self._refused("exec", ref, {})
        return refused or self.commands.get(command.command, CommandOutput(0))

    async def watch(
        self, api_version: str, kind: str, namespace: str
    ) -> AsyncIterator[WatchSignal]:
        """See `gitopsd.ports.Cluster.watch`; what controllers report is no change here."""
        group, _, version = api_version.rpartition("/")
        await self._note("watch", ObjectRef(ObjectKey(group, kind, namespace, ""), version))
        queue = self._objects.watch(kind, namespace)
        try:
            yield WatchSignal("Relisted")
            while True:
                yield await queue.get()
        finally:
            self._objects.unwatch(queue)

    async def fetch_schema(self, ref: ObjectRef) -> JsonObject | None:
        """See `gitopsd.ports.Cluster.fetch_schema`."""
        await self._note("schema", ref)
        return None

    async def close(self) -> None:
        """See `gitopsd.ports.Cluster.close`."""

    # -- inside

    async def _note(self, method: str, ref: ObjectRef | None, *, dry: bool = False) -> None:
        if self.before is not None:
            await self.before(method, ref)
        self.requests.append((method, str(ref.key) if ref is not None else "", dry))
        error = self.fault(method, ref) if self.fault is not None else None
        if error is not None:
            raise error

    async def _write(
        self,
        method: str,
        ref: ObjectRef,
        body: dict[str, Json],
        owners: Owners,
        *,
        created: bool,
    ) -> AppliedObject:
        live = self._objects.store(ref, copy.deepcopy(body), owners)
        if self.after is not None:
            await self.after(method, ref)
        return AppliedObject(live, created=created)

    def _refused(self, method: str, ref: ObjectRef, body: JsonObject) -> ApiRefusal | None:
        return self.refuse(method, ref, body) if self.refuse is not None else None

    async def _impossible(self, method: str, ref: ObjectRef, obj: JsonObject) -> ApiRefusal | None:
        """Refuse what no server takes: an unknown kind, namespace or field."""
        if await self.fetch_kind(ref) is None:
            return no_such_kind(ref)
        namespace = ref.key.namespace
        known = self.namespaces is None or not namespace or namespace in self.namespaces
        made = self._objects.find(ObjectKey("", "Namespace", "", namespace))
        if not known and made is None:
            return no_such_namespace(namespace)
        return unknown_fields(method, ref, obj)


class MemoryClusters:
    """The Clusters port over clusters in memory.

    Args:
        clusters: Clusters by name.

    Attributes:
        renewed: Names of those whose credential a person has just replaced.
    """

    def __init__(self, clusters: Mapping[str, MemoryCluster]) -> None:
        self.renewed: set[str] = set()
        self._clusters = clusters

    def get(self, name: str, *, service_account: str = "", namespace: str = "") -> MemoryCluster:
        """See `gitopsd.ports.Clusters.get`; every identity may do everything."""
        found = self._clusters.get(name)
        if found is None:
            message = f"cluster {name} is not configured ({service_account or 'no'} {namespace})"
            raise PermanentError(message)
        return found

    def find_renewed(self) -> tuple[str, ...]:
        """See `gitopsd.ports.Clusters.find_renewed`."""
        found = tuple(sorted(self.renewed))
        self.renewed.clear()
        return found


def _is_custom(ref: ObjectRef) -> bool:
    return "." in ref.key.group and not ref.key.group.endswith(".k8s.io")


def _is_stale(obj: JsonObject, stored: Stored) -> bool:
    asked = metadata_of(obj).get("resourceVersion")
    return asked is not None and asked != stored.version


def _preview(body: JsonObject, ref: ObjectRef, stored: Stored | None) -> JsonObject:
    if stored is None:
        return {**body, "metadata": {**metadata_of(body), "uid": "", "name": ref.key.name}}
    return body


def _conflict(conflicts: tuple[FieldConflict, ...]) -> ApiRefusal:
    return field_conflict(
        [(".".join(("", *conflict.path)), conflict.manager) for conflict in conflicts]
    )
