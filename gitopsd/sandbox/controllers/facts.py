"""What controllers read and write, as values: kinds, keys, facts, writes and plans. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.api.keys import Kind as Collection

if TYPE_CHECKING:
    from gitopsd.sandbox.controllers.node_loads import NodeLoad

Resource: TypeAlias = Collection
"""A collection of the API: group and plural name."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind that a controller makes or names: its collection and how objects say it."""

    resource: Resource
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``apiVersion`` as objects write it."""
        group = self.resource.group
        return f"{group}/{self.version}" if group else self.version


def _kind(group: str, version: str, plural: str, kind: str) -> Kind:
    return Kind(Resource(group, plural), version, kind)


CLAIM = _kind("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
CONFIG_MAP = _kind("", "v1", "configmaps", "ConfigMap")
CONTROLLER_REVISION = _kind("apps", "v1", "controllerrevisions", "ControllerRevision")
CRON_JOB = _kind("batch", "v1", "cronjobs", "CronJob")
DAEMON_SET = _kind("apps", "v1", "daemonsets", "DaemonSet")
DEFINITION = _kind(
    "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition"
)
DEPLOYMENT = _kind("apps", "v1", "deployments", "Deployment")
DISRUPTION_BUDGET = _kind("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget")
ENDPOINTS = _kind("", "v1", "endpoints", "Endpoints")
ENDPOINT_SLICE = _kind("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
EVENT = _kind("", "v1", "events", "Event")
JOB = _kind("batch", "v1", "jobs", "Job")
LEASE = _kind("coordination.k8s.io", "v1", "leases", "Lease")
NAMESPACE = _kind("", "v1", "namespaces", "Namespace")
NODE = _kind("", "v1", "nodes", "Node")
POD = _kind("", "v1", "pods", "Pod")
POD_AUTOSCALER = _kind("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
REPLICA_SET = _kind("apps", "v1", "replicasets", "ReplicaSet")
RESOURCE_QUOTA = _kind("", "v1", "resourcequotas", "ResourceQuota")
SERVICE = _kind("", "v1", "services", "Service")
SERVICE_ACCOUNT = _kind("", "v1", "serviceaccounts", "ServiceAccount")
STATEFUL_SET = _kind("apps", "v1", "statefulsets", "StatefulSet")
STORAGE_CLASS = _kind("storage.k8s.io", "v1", "storageclasses", "StorageClass")
VOLUME = _kind("", "v1", "persistentvolumes", "PersistentVolume")


class Key(NamedTuple):
    """What one reconcile is about: an object, by name. `namespace` is empty for cluster scope."""

    namespace: str
    name: str


class Facts(Protocol):
    """Everything the API holds now, to look things up in."""

    def find(self, resource: Resource, namespace: str, name: str) -> JsonObject | None:
        """The object of that name; None when there is none."""
        ...

    def among(self, resource: Resource, namespace: str = "") -> Sequence[JsonObject]:
        """The objects of a collection, oldest first; of all namespaces when none is given."""
        ...

    def orphans(self, resource: Resource, namespace: str) -> Sequence[JsonObject]:
        """The objects of a collection that no controller manages, oldest first."""
        ...

    def dependents(self, uid: str) -> Sequence[tuple[Resource, JsonObject]]:
        """The objects whose ownerReferences name `uid`, with their collections."""
        ...

    def by_uid(self, uid: str) -> tuple[Resource, JsonObject] | None:
        """The object with that uid; None when there is none."""
        ...

    def load(self, node: str) -> NodeLoad:
        """What runs on a node."""
        ...

    def resources(self) -> Sequence[Resource]:
        """The collections that hold anything now."""
        ...


@dataclass(frozen=True, slots=True)
class Announcement:
    """An Event to be: what it is about and what it says.

    Attributes:
        about: The object.
        reason: One word.
        message: A sentence; in the announcements of a `Create` or `Delete` ``{name}`` stands for
            the object's name and ``{problem}`` for the refusal.
        warning: Whether a person may have to look at it.
        action: What was being done, of Events in the newer form (the scheduler's).
    """

    about: JsonObject
    reason: str
    message: str
    warning: bool = False
    action: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object.

    Attributes:
        kind: Its kind.
        manifest: The object without ``apiVersion`` and ``kind``; a ``generateName`` is allowed.
        done: Announced when it was made.
        refused: Announced when it was refused for another reason than a namespace that ends.
    """

    kind: Kind
    manifest: JsonObject
    done: Announcement | None = None
    refused: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Replace:
    """Write an object anew, as it was read but for what changes.

    Attributes:
        resource: Its collection.
        manifest: The whole object; its resourceVersion guards the write.
        subresource: ``status``, ``finalize`` or empty.
        done: Announced when it was written.
    """

    resource: Resource
    manifest: JsonObject
    subresource: str = ""
    done: Announcement | None = None


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete an object, if it is still the same one.

    Attributes:
        resource: Its collection.
        target: The object as it was read.
        propagation: ``Background``, ``Foreground``, ``Orphan`` or empty for the kind's default.
        done: Announced when it was deleted.
        refused: Announced when it was refused.
        at_once: Whether a pod gets no time to end: its node is gone.
    """

    resource: Resource
    target: JsonObject
    propagation: str = ""
    done: Announcement | None = None
    refused: Announcement | None = None
    at_once: bool = False


@dataclass(frozen=True, slots=True)
class Bind:
    """Give a pod to a node.

    Attributes:
        pod: The pod as it was read.
        node: The node's name.
        done: Announced when it was bound.
    """

    pod: JsonObject
    node: str
    done: Announcement | None = None


Write: TypeAlias = Create | Replace | Delete | Bind | Announcement


@dataclass(frozen=True, slots=True)
class Refusal:
    """A write that the API refused.

    Attributes:
        write: The write.
        reason: Reason of the API's Status, e.g. ``Forbidden``.
        message: What the API said.
        namespace_ends: Whether the reason is that the namespace is being deleted.
    """

    write: Write
    reason: str
    message: str
    namespace_ends: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a reconcile wants done.

    Attributes:
        writes: In this order; after one that is refused the rest is left out.
        again: Look again after this time even if nothing changes; None: no need to.
        failed: Look again with back-off: something stands in the way.
    """

    writes: tuple[Write, ...] = ()
    again: timedelta | None = None
    failed: bool = False


NOTHING = Plan()
"""There is nothing to do."""
