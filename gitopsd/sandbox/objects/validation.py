"""Whether an object may be stored: everything that is wrong with it, in the server's words."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.fields import object_at
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.rules import configuration, network, workloads
from gitopsd.sandbox.objects.rules.changes import check_changes
from gitopsd.sandbox.objects.rules.complaints import Complaints
from gitopsd.sandbox.objects.rules.custom import check_custom, check_custom_status
from gitopsd.sandbox.objects.rules.definitions import check_definition
from gitopsd.sandbox.objects.rules.metadata import check_changed_metadata, check_new_metadata
from gitopsd.sandbox.objects.rules.pods import check_pod_spec
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.status_errors import Cause

Check: TypeAlias = Callable[[JsonObject, Complaints], None]


def _check_pod(obj: JsonObject, told: Complaints) -> None:
    check_pod_spec(object_at(obj, "spec"), "spec", told)


_CHECKS: Mapping[tuple[str, str], Check] = {
    ("", "configmaps"): configuration.check_config_map,
    ("", "limitranges"): configuration.check_limit_range,
    ("", "persistentvolumeclaims"): configuration.check_claim,
    ("", "pods"): _check_pod,
    ("", "resourcequotas"): configuration.check_quota,
    ("", "secrets"): configuration.check_secret,
    ("", "services"): network.check_service,
    ("apiextensions.k8s.io", "customresourcedefinitions"): check_definition,
    ("apps", "daemonsets"): workloads.check_daemon_set,
    ("apps", "deployments"): workloads.check_deployment,
    ("apps", "replicasets"): workloads.check_replica_set,
    ("apps", "statefulsets"): workloads.check_stateful_set,
    ("autoscaling", "horizontalpodautoscalers"): configuration.check_autoscaler,
    ("batch", "cronjobs"): workloads.check_cron_job,
    ("batch", "jobs"): workloads.check_job,
    ("coordination.k8s.io", "leases"): configuration.check_lease,
    ("networking.k8s.io", "ingresses"): network.check_ingress,
    ("networking.k8s.io", "networkpolicies"): network.check_network_policy,
    ("policy", "poddisruptionbudgets"): configuration.check_disruption_budget,
    ("rbac.authorization.k8s.io", "clusterrolebindings"): configuration.check_binding,
    ("rbac.authorization.k8s.io", "clusterroles"): configuration.check_role,
    ("rbac.authorization.k8s.io", "rolebindings"): configuration.check_binding,
    ("rbac.authorization.k8s.io", "roles"): configuration.check_role,
    ("scheduling.k8s.io", "priorityclasses"): configuration.check_priority_class,
    ("storage.k8s.io", "storageclasses"): configuration.check_storage_class,
}


def validate_create(resource: Resource, schema: Schema, obj: JsonObject) -> list[Cause]:
    """What is wrong with a new object."""
    told = Complaints()
    check_new_metadata(resource, obj, told)
    if (resource.group, resource.plural) == ("batch", "jobs"):
        workloads.check_new_job(obj, told)
    _check_content(resource, schema, obj, told)
    return told.causes


def validate_update(
    resource: Resource, schema: Schema, obj: JsonObject, live: JsonObject, subresource: str
) -> list[Cause]:
    """What is wrong with an object that is there, or with what changes of it."""
    told = Complaints()
    check_changed_metadata(resource, obj, live, told)
    if not subresource:
        check_changes(resource, obj, live, told, after=False)
        if obj.get("spec") != live.get("spec") or resource.custom or "spec" not in live:
            _check_content(resource, schema, obj, told)
        check_changes(resource, obj, live, told, after=True)
    elif resource.custom:
        check_custom_status(obj, schema, told)
    elif (resource.group, resource.plural) == ("", "services"):
        network.check_service_status(obj, told)
    return told.causes


def _check_content(resource: Resource, schema: Schema, obj: JsonObject, told: Complaints) -> None:
    if resource.custom:
        check_custom(obj, schema, told)
        return
    check = _CHECKS.get((resource.group, resource.plural))
    if check:
        check(obj, told)
