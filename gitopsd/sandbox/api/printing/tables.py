"""Puts rows together to the Table that ``kubectl get`` asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Kind
from gitopsd.sandbox.api.printing import cluster, custom, network, pods, workloads

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.printing.cells import Printer

_RIGHTS = "rbac.authorization.k8s.io"
PODS = Kind("", "pods")
PRINTERS: Mapping[Kind, Printer] = {
    PODS: pods.PODS,
    Kind("", "configmaps"): cluster.CONFIG_MAPS,
    Kind("", "endpoints"): network.ENDPOINTS,
    Kind("", "events"): cluster.EVENTS,
    Kind("", "limitranges"): cluster.MADE,
    Kind("", "namespaces"): cluster.NAMESPACES,
    Kind("", "nodes"): cluster.NODES,
    Kind("", "persistentvolumeclaims"): cluster.CLAIMS,
    Kind("", "persistentvolumes"): cluster.VOLUMES,
    Kind("", "podtemplates"): workloads.POD_TEMPLATES,
    Kind("", "resourcequotas"): cluster.QUOTAS,
    Kind("", "secrets"): cluster.SECRETS,
    Kind("", "serviceaccounts"): cluster.NAMED,
    Kind("", "services"): network.SERVICES,
    Kind("apiextensions.k8s.io", "customresourcedefinitions"): custom.DEFINITIONS,
    Kind("apps", "controllerrevisions"): workloads.CONTROLLER_REVISIONS,
    Kind("apps", "daemonsets"): workloads.DAEMON_SETS,
    Kind("apps", "deployments"): workloads.DEPLOYMENTS,
    Kind("apps", "replicasets"): workloads.REPLICA_SETS,
    Kind("apps", "statefulsets"): workloads.STATEFUL_SETS,
    Kind("autoscaling", "horizontalpodautoscalers"): workloads.AUTOSCALERS,
    Kind("batch", "cronjobs"): workloads.CRON_JOBS,
    Kind("batch", "jobs"): workloads.JOBS,
    Kind("coordination.k8s.io", "leases"): cluster.LEASES,
    Kind("discovery.k8s.io", "endpointslices"): network.ENDPOINT_SLICES,
    Kind("networking.k8s.io", "ingressclasses"): network.INGRESS_CLASSES,
    Kind("networking.k8s.io", "ingresses"): network.INGRESSES,
    Kind("networking.k8s.io", "networkpolicies"): network.NETWORK_POLICIES,
    Kind("node.k8s.io", "runtimeclasses"): cluster.RUNTIME_CLASSES,
    Kind("policy", "poddisruptionbudgets"): workloads.DISRUPTION_BUDGETS,
    Kind(_RIGHTS, "clusterrolebindings"): cluster.BINDINGS,
    Kind(_RIGHTS, "clusterroles"): cluster.MADE,
    Kind(_RIGHTS, "rolebindings"): cluster.BINDINGS,
    Kind(_RIGHTS, "roles"): cluster.MADE,
    Kind("scheduling.k8s.io", "priorityclasses"): cluster.PRIORITY_CLASSES,
    Kind("storage.k8s.io", "storageclasses"): cluster.STORAGE_CLASSES,
}


def make_table(
    kind: Kind,
    printer: Printer,
    items: Sequence[JsonObject],
    meta: JsonObject,
    *,
    now: datetime,
    include: str = "Metadata",
    headers: bool = True,
) -> JsonObject:
    """A Table of objects.

    Args:
        kind: Their collection.
        printer: How they are shown.
        items: The objects.
        meta: The list's own metadata: version, token of the next page.
        now: The time of day, for ages.
        include: What each row carries of its object: ``None``, ``Metadata`` or ``Object``.
        headers: Whether the columns are described; a watch does so in its first event only.
    """
    rows: list[Json] = [_row(kind, printer, item, now, include) for item in items]
    described: list[Json] = [
        {
            "name": item.name,
            "type": item.type,
            "format": item.format,
            "description": "",
            "priority": item.priority,
        }
        for item in printer.columns
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": meta,
        "columnDefinitions": described if headers else None,
        "rows": rows,
    }


def make_partial(obj: JsonObject) -> JsonObject:
    """The metadata of an object alone, as an object."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": obj.get("metadata", {}),
    }


def _row(kind: Kind, printer: Printer, obj: JsonObject, now: datetime, include: str) -> JsonObject:
    row: dict[str, Json] = {"cells": printer.row(obj, now)}
    conditions = pods.conditions_of_row(obj) if kind == PODS else []
    if conditions:
        row["conditions"] = conditions
    row["object"] = obj if include == "Object" else make_partial(obj)
    if include == "None":
        row["object"] = None
    return row
