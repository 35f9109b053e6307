"""What a test made in its namespaces is taken away when it ends; the namespace itself is left.

Deleting a namespace has the namespace controller list and delete every kind that the cluster knows,
kind by kind: 94 requests each time, a third of all that the control planes of a run answered. What
is to go is read from the audit log instead: the kinds that somebody made there.
"""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tests.support.cluster_client import ApiError
from tests.support.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.support.cluster_access import ClusterAccess

_MAKING = frozenset({"create", "patch", "update"})
_ANSWERS = frozenset({HTTPStatus.OK, HTTPStatus.CREATED})
_KEPT_BY_CONTROLLERS = frozenset({"controllerrevisions", "endpoints", "endpointslices", "events"})
_MADE_BY_THE_CLUSTER = {"configmaps": "kube-root-ca.crt", "serviceaccounts": "default"}
"""What each namespace has by itself, and gets again when it is deleted."""

_MAKERS = ("cronjobs", "deployments", "daemonsets", "statefulsets", "jobs", "replicasets")
"""Kinds that make others: they go first, so that nothing comes back."""

_PODS, _CLAIMS = "pods", "persistentvolumeclaims"
_PATIENCE = timedelta(seconds=20)
_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED)


def clear_namespaces(cluster: ClusterAccess, since: int, *names: str) -> None:
    """Delete what was made in namespaces, whatever made it; a handful of requests each.

    Safe to repeat: what is gone counts as deleted.

    Args:
        cluster: Where they are.
        since: Number of an audit event before anything was made there.
        names: The namespaces; one that is not there has nothing in it.
    """
    found: dict[str, set[tuple[str, str]]] = {name: set() for name in names}
    for event in cluster.audit_events(since):
        reference = event.get("objectRef", {})
        if reference.get("namespace") in found and _has_made(event, reference):
            found[reference["namespace"]].add((_folder(reference), reference["resource"]))
    for name, kinds in found.items():
        for folder, plural in _in_order(kinds):
            own = _MADE_BY_THE_CLUSTER.get(plural)
            query = f"?fieldSelector=metadata.name!={own}" if own else ""
            _delete(cluster, f"{folder}/namespaces/{name}/{plural}{query}")


def _has_made(event: dict[str, Any], reference: dict[str, Any]) -> bool:
    return (
        event["verb"] in _MAKING
        and "subresource" not in reference
        and event.get("responseStatus", {}).get("code") in _ANSWERS
        and reference["resource"] not in (*_KEPT_BY_CONTROLLERS, "namespaces")
        and _MADE_BY_THE_CLUSTER.get(reference["resource"], "") != reference.get("name")
        and "dryRun=" not in event["requestURI"]
    )


def _folder(reference: dict[str, Any]) -> str:
    group, version = reference.get("apiGroup", ""), reference["apiVersion"]
    return f"/apis/{group}/{version}" if group else f"/api/{version}"


def _in_order(kinds: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """What makes others first, pods after everything that makes them, then what pods hold."""
    made = dict(sorted((plural, folder) for folder, plural in kinds))
    # The last pods that a controller made may not be recorded yet.
    if made.keys() & set(_MAKERS):
        made[_PODS] = "/api/v1"
    last = [plural for plural in (_PODS, _CLAIMS) if plural in made]
    first = [plural for plural in _MAKERS if plural in made]
    between = [plural for plural in made if plural not in (*first, *last)]
    for plural in (*first, *between, *last):
        yield made[plural], plural


def _delete(cluster: ClusterAccess, collection: str) -> None:
    def answered() -> bool:
        try:
            cluster.client.request("DELETE", collection)
        except ApiError as error:
            # A custom kind whose definition has just changed asks for a moment.
            if error.status == HTTPStatus.TOO_MANY_REQUESTS:
                return False
            if error.status not in _GONE:
                raise
        return True

    wait_until(answered, what=f"DELETE {collection}", within=_PATIENCE)
