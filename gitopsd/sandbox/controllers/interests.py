"""What concerns a controller: from a change in the store to the keys to look at. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.controllers import (
    autoscaling,
    claims,
    disruption,
    endpoints,
    garbage,
    job,
    nodes,
    quota,
    scheduling,
)
from gitopsd.sandbox.controllers.deployment_numbers import is_rolling
from gitopsd.sandbox.controllers.facts import (
    CLAIM,
    DEPLOYMENT,
    DISRUPTION_BUDGET,
    JOB,
    LEASE,
    NAMESPACE,
    NODE,
    POD,
    REPLICA_SET,
    Facts,
    Key,
    Kind,
)
from gitopsd.sandbox.controllers.job_tally import is_tracked
from gitopsd.sandbox.controllers.ownership import controller_of, owner_keys, suitor_keys
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.reading import is_deleted, key_of, name_of, namespace_of
from gitopsd.sandbox.fields import field_at, object_at, text_at

if TYPE_CHECKING:
    from gitopsd.sandbox.api.history import Change
    from gitopsd.sandbox.controllers.runner import Interest


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


def pods_of_node(change: Change, facts: Facts) -> set[Key]:
    """The pods on a node that changed in more than its heartbeat."""
    if not _node_moved(change):
        return set()
    return {key_of(pod) for pod in nodes.pods_on(change.key.name, facts)}


def node_named(change: Change, facts: Facts) -> set[Key]:
    """The node of a lease, or of a pod that came to be on one."""
    del facts
    if change.key.kind == LEASE.resource:
        return {Key("", change.key.name)} if change.key.namespace == nodes.LEASES else set()
    return {Key("", change.key.name)}


def budgets(change: Change, facts: Facts) -> set[Key]:
    """The disruption budgets that cover a pod."""
    return disruption.concerned(change.object, change.before, facts)


def budgets_nearby(change: Change, facts: Facts) -> set[Key]:
    """The disruption budgets of a namespace whose workload was resized."""
    resized = field_at(change.before, "spec", "replicas") != field_at(
        change.object, "spec", "replicas"
    )
    if change.before is not None and not resized:
        return set()
    found = facts.among(DISRUPTION_BUDGET.resource, change.key.namespace)
    return {key_of(item) for item in found}


def scalers(change: Change, facts: Facts) -> set[Key]:
    """The autoscalers whose target changed."""
    return autoscaling.concerned(change.object, facts)


def quotas(change: Change, facts: Facts) -> set[Key]:
    """The quotas of a namespace in which something was made, ended or removed."""
    if change.action is Action.MODIFIED:
        ended = change.key.kind == POD.resource and is_finished(change.object)
        if not ended:
            return set()
    return quota.concerned(change.object, facts)


def mounted(change: Change, facts: Facts) -> set[Key]:
    """The claims that a pod mounts, when it comes, ends or goes."""
    del facts
    pod, before = change.object, change.before
    if before is not None and change.action is Action.MODIFIED:
        same = is_finished(pod) == is_finished(before)
        if same and text_at(pod, "spec", "nodeName") == text_at(before, "spec", "nodeName"):
            return set()
    return claims.mounted_by(pod)


def waiting_claims(change: Change, facts: Facts) -> set[Key]:
    """The claims without a volume: a class or a volume came."""
    del change
    return {
        key_of(item)
        for item in facts.among(CLAIM.resource)
        if text_at(item, "status", "phase") != "Bound"
    }


def claim_of_volume(change: Change, facts: Facts) -> set[Key]:
    """The claim that a volume belongs to, and all that wait for one."""
    reference = object_at(change.object, "spec", "claimRef")
    mine = Key(text_at(reference, "namespace"), text_at(reference, "name"))
    return {mine, *waiting_claims(change, facts)} if reference else waiting_claims(change, facts)


def volume_of_claim(change: Change, facts: Facts) -> set[Key]:
    """The volume of a claim."""
    del facts
    name = text_at(change.object, "spec", "volumeName")
    return {Key("", name)} if name else set()


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
