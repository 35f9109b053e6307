"""Which objects are sent at once, and which wait for others."""

from __future__ import annotations

from gitopsd.domain.manifests import JsonObject
from gitopsd.kube.objects import kind_of
from gitopsd.kube.ordering import split_tiers


def obj(kind: str, api_version: str = "v1", wave: str = "") -> JsonObject:
    """Make an object of a kind."""
    annotations = {"gitopsd.io/sync-wave": wave} if wave else {}
    metadata: JsonObject = {"name": kind.lower(), "annotations": annotations}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def kinds(*objects: JsonObject) -> list[list[str]]:
    """Say which kinds are in which tier."""
    return [[kind_of(found) for found in tier] for tier in split_tiers(objects)]


def test_what_pods_need_comes_before_what_runs_them() -> None:
    """Accounts and policies, then configuration and services, then workloads."""
    assert kinds(
        obj("Deployment", "apps/v1"),
        obj("Service"),
        obj("ConfigMap"),
        obj("NetworkPolicy", "networking.k8s.io/v1"),
        obj("ServiceAccount"),
        obj("Ingress", "networking.k8s.io/v1"),
    ) == [
        ["ServiceAccount", "NetworkPolicy"],
        ["ConfigMap", "Service"],
        ["Deployment", "Ingress"],
    ]


def test_a_role_is_there_before_what_binds_it() -> None:
    """A server looks the role up, to see that its binder may do all of it, whatever its wave."""
    group = "rbac.authorization.k8s.io/v1"
    assert kinds(obj("RoleBinding", group), obj("Role", group, "5"), obj("ConfigMap")) == [
        ["Role"],
        ["RoleBinding", "ConfigMap"],
    ]


def test_custom_resources_go_with_configuration() -> None:
    """A kind that nobody knows is there before what runs."""
    assert kinds(obj("Deployment", "apps/v1"), obj("Widget", "example.com/v1")) == [
        ["Widget"],
        ["Deployment"],
    ]


def test_what_guards_the_server_comes_last_and_kind_by_kind() -> None:
    """A webhook must not judge the objects it is sent with, nor its own API service."""
    assert kinds(
        obj("ValidatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
        obj("MutatingWebhookConfiguration", "admissionregistration.k8s.io/v1"),
        obj("APIService", "apiregistration.k8s.io/v1"),
        obj("Deployment", "apps/v1"),
    ) == [
        ["Deployment"],
        ["APIService"],
        ["MutatingWebhookConfiguration"],
        ["ValidatingWebhookConfiguration"],
    ]


def test_definitions_are_one_tier() -> None:
    """Definitions, namespaces and roles of the cluster need nothing of each other."""
    assert kinds(
        obj("Namespace"),
        obj("CustomResourceDefinition", "apiextensions.k8s.io/v1"),
        obj("ClusterRole", "rbac.authorization.k8s.io/v1"),
    ) == [["CustomResourceDefinition", "Namespace", "ClusterRole"]]


def test_waves_are_never_joined() -> None:
    """An object of a later wave waits, whatever its kind."""
    assert kinds(obj("ConfigMap", wave="1"), obj("Service")) == [["Service"], ["ConfigMap"]]


def test_nothing_has_no_tier() -> None:
    """An empty batch splits into nothing."""
    assert kinds() == []
