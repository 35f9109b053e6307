"""Which objects are sent at once, and which wait for others."""

from __future__ import annotations

from collections.abc import Collection

from gitopsd.domain.manifests import JsonObject, ObjectKey
from gitopsd.kube.objects import kind_of
from gitopsd.kube.ordering import split_tiers


def obj(kind: str, api_version: str = "v1", wave: str = "") -> JsonObject:
    """Make an object of a kind."""
    annotations = {"gitopsd.io/sync-wave": wave} if wave else {}
    metadata: JsonObject = {"name": kind.lower(), "annotations": annotations}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}


def kinds(*objects: JsonObject, standing: Collection[ObjectKey] = ()) -> list[list[str]]:
    """Say which kinds are in which tier."""
    return [[kind_of(found) for found in tier] for tier in split_tiers(objects, standing)]


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


ACCOUNT = ObjectKey("", "ServiceAccount", "", "serviceaccount")


def test_what_runs_nothing_does_not_wait_for_accounts_that_stand() -> None:
    """What runs pods still waits for both: they are made as account and configuration say then."""
    objects = obj("ServiceAccount"), obj("ConfigMap"), obj("Service"), obj("Deployment", "apps/v1")
    assert kinds(*objects, standing={ACCOUNT}) == [
        ["ServiceAccount", "ConfigMap", "Service"],
        ["Deployment"],
    ]


def test_accounts_that_may_not_be_there_come_first() -> None:
    """One that nobody saw holds up what follows, whatever else stands."""
    other: JsonObject = {**obj("ServiceAccount"), "metadata": {"name": "other"}}
    assert kinds(obj("ServiceAccount"), other, obj("ConfigMap"), standing={ACCOUNT}) == [
        ["ServiceAccount", "ServiceAccount"],
        ["ConfigMap"],
    ]


def test_a_custom_resource_waits_for_accounts_that_stand() -> None:
    """Its controller may run pods at once, which take from their account what that says then."""
    objects = obj("ServiceAccount"), obj("ConfigMap"), obj("Widget", "example.com/v1")
    assert kinds(*objects, standing={ACCOUNT}) == [["ServiceAccount"], ["ConfigMap", "Widget"]]


def test_pods_wait_for_an_account_that_stands() -> None:
    """Where nothing comes between an account and what runs, nothing is joined."""
    objects = obj("ServiceAccount"), obj("Deployment", "apps/v1")
    assert kinds(*objects, standing={ACCOUNT}) == [["ServiceAccount"], ["Deployment"]]


def test_what_limits_comes_first_though_it_stands() -> None:
    """A restored policy or quota holds before what it is for."""
    policy = obj("NetworkPolicy", "networking.k8s.io/v1")
    stand = {ACCOUNT, ObjectKey("networking.k8s.io", "NetworkPolicy", "", "networkpolicy")}
    assert kinds(policy, obj("ServiceAccount"), obj("Service"), standing=stand) == [
        ["ServiceAccount", "NetworkPolicy"],
        ["Service"],
    ]


def test_configuration_comes_before_what_reads_it_though_it_stands() -> None:
    """A pod that started in between would read what failed."""
    stand = {ObjectKey("", "ConfigMap", "", "configmap")}
    assert kinds(obj("ConfigMap"), obj("Deployment", "apps/v1"), standing=stand) == [
        ["ConfigMap"],
        ["Deployment"],
    ]


def test_standing_accounts_join_no_other_wave() -> None:
    """What people put into a later wave waits, whatever stands."""
    objects = obj("ServiceAccount"), obj("ConfigMap", wave="1")
    assert kinds(*objects, standing={ACCOUNT}) == [["ServiceAccount"], ["ConfigMap"]]
