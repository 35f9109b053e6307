"""Which controllers there are, and what each follows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.controllers import (
    daemon_set,
    deployment,
    endpoint_slices,
    endpoints,
    garbage,
    job,
    namespaces,
    replica_set,
    scheduling,
    stateful_set,
)
from gitopsd.sandbox.controllers.deployment_numbers import is_rolling
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    CONFIG_MAP,
    CONTROLLER_REVISION,
    DAEMON_SET,
    DEPLOYMENT,
    ENDPOINT_SLICE,
    ENDPOINTS,
    EVENT,
    JOB,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    Facts,
    Key,
    Kind,
)
from gitopsd.sandbox.controllers.job_tally import is_tracked
from gitopsd.sandbox.controllers.ownership import controller_of, owner_keys, suitor_keys
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.reading import is_deleted, key_of, name_of, namespace_of
from gitopsd.sandbox.controllers.runner import Controller
from gitopsd.sandbox.fields import field_at, text_at

if TYPE_CHECKING:
    from gitopsd.sandbox.api.history import Change
    from gitopsd.sandbox.controllers.runner import Interest

SCHEDULER_MANAGER = "kube-scheduler"


def itself(change: Change, facts: Facts) -> set[Key]:
    """The object that changed."""
    del facts
    return {key_of(change.object)}


def owner(kind: Kind) -> Interest:
    """Who manages the object that changed, did before, or would like to."""

    def interested(change: Change, facts: Facts) -> set[Key]:
        return (
            owner_keys(change.object, kind)
            | owner_keys(change.before, kind)
            | suitor_keys(facts, change.object, kind)
        )

    return interested


def recreated(change: Change, facts: Facts) -> set[Key]:
    """The Deployment of a pod that ended, if it waits for old pods to be gone."""
    pod = change.object
    if change.action is not Action.DELETED and not is_finished(pod):
        return set()
    return {
        key
        for place in owner_keys(pod, REPLICA_SET)
        for key in owner_keys(facts.find(REPLICA_SET.resource, *place), DEPLOYMENT)
        if not is_rolling(facts.find(DEPLOYMENT.resource, *key) or {})
    }


def all_of(kind: Kind) -> Interest:
    """Every object of a kind, when a node changes in more than its heartbeat."""

    def interested(change: Change, facts: Facts) -> set[Key]:
        if not _node_moved(change):
            return set()
        return {key_of(item) for item in facts.among(kind.resource)}

    return interested


def schedulable(change: Change, facts: Facts) -> set[Key]:
    """The pod that changed; every pod that waits, when one made room."""
    pod = change.object
    keys = {key_of(pod)} if scheduling.is_waiting(pod) else set[Key]()
    before = change.before
    made_room = change.action is Action.DELETED or (
        is_finished(pod) and before is not None and not is_finished(before)
    )
    if made_room and text_at(pod, "spec", "nodeName"):
        keys.update(scheduling.waiting(facts))
    return keys


def all_waiting(change: Change, facts: Facts) -> set[Key]:
    """Every pod that waits for a node."""
    if change.key.kind == NODE.resource and not _node_moved(change):
        return set()
    return set(scheduling.waiting(facts))


def served(change: Change, facts: Facts) -> set[Key]:
    """The Services that a pod's change concerns."""
    return endpoints.concerned(change.object, change.before, facts)


def same_name(change: Change, facts: Facts) -> set[Key]:
    """What is kept under the name of the object that changed."""
    return itself(change, facts)


def namespace_itself(change: Change, facts: Facts) -> set[Key]:
    """The namespace that changed."""
    del facts
    return {Key("", name_of(change.object))}


def namespace_of_named(name: str) -> Interest:
    """The namespace of an object that every namespace has, when that one changed."""

    def interested(change: Change, facts: Facts) -> set[Key]:
        del facts
        return {Key("", change.key.namespace)} if change.key.name == name else set()

    return interested


def ending_namespace(change: Change, facts: Facts) -> set[Key]:
    """The namespace of an object that went or was made, if that namespace is being deleted."""
    namespace = facts.find(NAMESPACE.resource, "", change.key.namespace)
    if namespace is None or not is_deleted(namespace):
        return set()
    return {Key("", change.key.namespace)}


def relatives(change: Change, facts: Facts) -> set[Key]:
    """The objects whose garbage a change may be, or make."""
    gone = change.action is Action.DELETED
    return garbage.concerned(change.object, change.before, facts, gone=gone)


def nothing(change: Change, facts: Facts) -> set[Key]:
    """Changes that concern nobody."""
    del change, facts
    return set()


def jobs_pods(change: Change, facts: Facts) -> set[Key]:
    """The pods of a Job that ended or is gone."""
    finished = job.is_finished(change.object)
    if change.action is not Action.DELETED and not finished:
        return set()
    uid = text_at(change.object, "metadata", "uid")
    return {
        Key(namespace_of(item), name_of(item))
        for resource, item in facts.dependents(uid)
        if resource == POD.resource
    }


def orphaned_pod(change: Change, facts: Facts) -> set[Key]:
    """A pod of a Job; most of them are left alone."""
    del facts
    reference = controller_of(change.object)
    is_jobs = reference is None or text_at(reference, "kind") == JOB.kind
    return {key_of(change.object)} if is_jobs and is_tracked(change.object) else set()


def _node_moved(change: Change) -> bool:
    """Whether more of a node changed than that it reported again."""
    if change.before is None or change.action is Action.DELETED:
        return True
    fields = (
        ("spec",),
        ("metadata", "labels"),
        ("status", "allocatable"),
        ("metadata", "deletionTimestamp"),
    )
    return any(field_at(change.before, *path) != field_at(change.object, *path) for path in fields)


WORKLOADS = (
    Controller(
        "deployment-controller",
        deployment.reconcile,
        {
            DEPLOYMENT.resource: itself,
            REPLICA_SET.resource: owner(DEPLOYMENT),
            POD.resource: recreated,
        },
    ),
    Controller(
        "replicaset-controller",
        replica_set.reconcile,
        {REPLICA_SET.resource: itself, POD.resource: owner(REPLICA_SET)},
    ),
    Controller(
        "statefulset-controller",
        stateful_set.reconcile,
        {
            STATEFUL_SET.resource: itself,
            POD.resource: owner(STATEFUL_SET),
            CONTROLLER_REVISION.resource: owner(STATEFUL_SET),
        },
    ),
    Controller(
        "daemonset-controller",
        daemon_set.reconcile,
        {
            DAEMON_SET.resource: itself,
            POD.resource: owner(DAEMON_SET),
            CONTROLLER_REVISION.resource: owner(DAEMON_SET),
            NODE.resource: all_of(DAEMON_SET),
        },
    ),
    Controller(
        "job-controller",
        job.reconcile,
        {JOB.resource: itself, POD.resource: owner(JOB)},
    ),
    Controller(
        "job-controller",
        job.release,
        {JOB.resource: jobs_pods, POD.resource: orphaned_pod},
    ),
    Controller("ttl-after-finished-controller", job.expire, {JOB.resource: itself}),
)

SCHEDULER = Controller(
    scheduling.NAME,
    scheduling.reconcile,
    {POD.resource: schedulable, NODE.resource: all_waiting, CLAIM.resource: all_waiting},
    manager=SCHEDULER_MANAGER,
)

NETWORK = (
    Controller(
        "endpoint-controller",
        endpoints.reconcile,
        {SERVICE.resource: itself, POD.resource: served, ENDPOINTS.resource: same_name},
    ),
    Controller(
        "endpoint-slice-controller",
        endpoint_slices.reconcile,
        {SERVICE.resource: itself, POD.resource: served, ENDPOINT_SLICE.resource: owner(SERVICE)},
    ),
)

GARBAGE = Controller(
    "garbage-collector", garbage.reconcile, {EVENT.resource: nothing}, rest=relatives
)


def keepers(certificate: str) -> tuple[Controller, ...]:
    """The controllers of namespaces.

    Args:
        certificate: The authority's certificate (PEM), which each namespace gets.
    """
    return (
        Controller(
            "namespace-controller",
            namespaces.end,
            {NAMESPACE.resource: namespace_itself},
            rest=ending_namespace,
        ),
        Controller(
            "service-account-controller",
            namespaces.give_account,
            {
                NAMESPACE.resource: namespace_itself,
                SERVICE_ACCOUNT.resource: namespace_of_named("default"),
            },
        ),
        Controller(
            "root-ca-certificate-publisher-controller",
            namespaces.publish_root_ca(certificate),
            {
                NAMESPACE.resource: namespace_itself,
                CONFIG_MAP.resource: namespace_of_named(namespaces.ROOT_CA),
            },
        ),
    )


def every_controller(certificate: str) -> tuple[Controller, ...]:
    """All that a cluster has.

    Args:
        certificate: The authority's certificate (PEM).
    """
    return (*WORKLOADS, SCHEDULER, *NETWORK, GARBAGE, *keepers(certificate))
