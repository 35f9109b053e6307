"""Which controllers there are, and what each follows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.controllers import deployment, replica_set
from gitopsd.sandbox.controllers.deployment_numbers import is_rolling
from gitopsd.sandbox.controllers.facts import (
    DEPLOYMENT,
    POD,
    REPLICA_SET,
    Facts,
    Key,
    Kind,
)
from gitopsd.sandbox.controllers.ownership import owner_keys, suitor_keys
from gitopsd.sandbox.controllers.pods import is_finished
from gitopsd.sandbox.controllers.reading import key_of
from gitopsd.sandbox.controllers.runner import Controller

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
)
