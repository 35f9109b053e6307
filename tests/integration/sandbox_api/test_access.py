"""Who may do what in the sandbox: tokens, roles, borrowed identities, and questions about them."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.raw_requests import send

if TYPE_CHECKING:
    from tests.support.cluster_client import ClusterClient
    from tests.support.sandbox_server import SandboxServer

RBAC = "rbac.authorization.k8s.io"


class Rights:
    """A service account and its roles in one namespace."""

    def __init__(self, server: SandboxServer, namespace: str) -> None:
        """Make the account."""
        self.server = server
        self.namespace = namespace
        self.core = f"/api/v1/namespaces/{namespace}"
        server.client.create(f"{self.core}/serviceaccounts", {"metadata": {"name": "worker"}})

    def client(self) -> ClusterClient:
        """Requests as the account."""
        path = f"{self.core}/serviceaccounts/worker/token"
        token = self.server.client.create(path, {})["status"]["token"]
        return replace(self.server.client, token=token)

    def allow(self, *rules: dict[str, Any]) -> None:
        """Let it do something here."""
        path = f"/apis/{RBAC}/v1/namespaces/{self.namespace}"
        account = {"kind": "ServiceAccount", "name": "worker", "namespace": self.namespace}
        reference = {"apiGroup": RBAC, "kind": "Role", "name": "work"}
        client = self.server.client
        client.create(f"{path}/roles", {"metadata": {"name": "work"}, "rules": list(rules)})
        client.create(
            f"{path}/rolebindings",
            {"metadata": {"name": "work"}, "roleRef": reference, "subjects": [account]},
        )


@pytest.fixture
def rights(sandbox_server: SandboxServer, sandbox_namespace: str) -> Rights:
    """An account that may do nothing yet."""
    return Rights(sandbox_server, sandbox_namespace)


def test_nobody_gets_in_without_a_token(sandbox_server: SandboxServer) -> None:
    """Health and version are for everybody; a wrong token is refused even there."""
    nobody = replace(sandbox_server.client, token="")
    wrong = replace(sandbox_server.client, token="made-up")

    refused = send(nobody, "GET", "/api/v1/namespaces")
    assert (refused.status, refused.body["reason"]) == (401, "Unauthorized")
    assert send(wrong, "GET", "/api/v1/namespaces").status == 401
    assert send(nobody, "GET", "/version").body["major"] == "1"
    assert send(nobody, "GET", "/readyz").body == "ok"
    assert send(wrong, "GET", "/version").status == 401


def test_the_certificate_is_verified_by_the_kubeconfigs_authority_alone(
    sandbox_server: SandboxServer,
) -> None:
    """A client that does not know the cluster's authority does not trust it."""
    stranger = replace(sandbox_server.client, tls=ssl.create_default_context())

    with pytest.raises(ssl.SSLCertVerificationError):
        send(stranger, "GET", "/version")


def test_an_account_may_do_what_its_roles_say(rights: Rights) -> None:
    """Nothing at first; then what a rule names, by verb, resource, part and name."""
    client, core = rights.client(), rights.core
    before = send(client, "GET", f"{core}/configmaps")
    rights.allow(
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["s"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
    )

    assert (before.status, before.body["reason"]) == (403, "Forbidden")
    user = f"system:serviceaccount:{rights.namespace}:worker"
    assert before.body["message"] == (
        f'configmaps is forbidden: User "{user}" cannot list resource "configmaps" in API group '
        f'"" in the namespace "{rights.namespace}"'
    )
    assert send(client, "GET", f"{core}/configmaps").status == 200
    assert send(client, "POST", f"{core}/configmaps", {}).status == 403
    assert send(client, "GET", f"{core}/secrets/s").status == 404
    assert send(client, "GET", f"{core}/secrets/t").status == 403
    assert send(client, "GET", f"{core}/pods/p/log").status == 404
    assert send(client, "GET", f"{core}/pods/p").status == 403
    assert send(client, "GET", "/api/v1/configmaps").status == 403
    assert send(client, "GET", "/apis/apps/v1").status == 200
    assert send(client, "GET", "/metrics").status == 403


def test_a_token_is_worth_nothing_without_its_account(rights: Rights) -> None:
    """Deleted, or made again under its name, the account is another one."""
    client = rights.client()
    assert send(client, "GET", "/apis").status == 200
    accounts = f"{rights.core}/serviceaccounts"
    rights.server.client.delete(f"{accounts}/worker")
    rights.server.client.create(accounts, {"metadata": {"name": "worker"}})

    assert send(client, "GET", "/apis").status == 401


def test_an_identity_is_borrowed_by_right_alone(rights: Rights) -> None:
    """An administrator may act as anybody; an account only as whom a rule names."""
    core, admin = rights.core, rights.server.client
    worker = f"system:serviceaccount:{rights.namespace}:worker"
    as_worker = send(admin, "GET", f"{core}/configmaps", Impersonate_User=worker)
    as_master = send(
        admin,
        "GET",
        f"{core}/configmaps",
        Impersonate_User="joe",
        Impersonate_Group="system:masters",
    )
    client = rights.client()
    refused = send(client, "GET", f"{core}/configmaps", Impersonate_User="joe")
    nameless = send(client, "GET", f"{core}/configmaps", Impersonate_Group="g")

    assert (as_worker.status, as_master.status) == (403, 200)
    assert worker in as_worker.body["message"]
    assert refused.status == 403
    assert refused.body["message"] == (
        f'users "joe" is forbidden: User "{worker}" cannot impersonate resource "users" in API '
        'group "" at the cluster scope'
    )
    assert nameless.status == 500


def test_an_account_that_may_impersonate_another_does(rights: Rights) -> None:
    """The request counts as the other's, with the groups of service accounts."""
    rule = {"apiGroups": [""], "resources": ["serviceaccounts"], "verbs": ["impersonate"]}
    rights.allow(rule)
    default = f"system:serviceaccount:{rights.namespace}:default"

    review = send(
        rights.client(),
        "POST",
        "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        {},
        Impersonate_User=default,
    )

    info = review.body["status"]["userInfo"]
    assert info["username"] == default
    assert "system:serviceaccounts" in info["groups"]


def test_questions_about_rights_are_answered(rights: Rights) -> None:
    """May I, may somebody, whose token is this, and what may I do here."""
    rule = {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get"]}
    rights.allow(rule)
    client, admin = rights.client(), rights.server.client
    asked = {
        "verb": "get",
        "group": "apps",
        "resource": "deployments",
        "namespace": rights.namespace,
    }
    path = "/apis/authorization.k8s.io/v1"

    def may(verb: str) -> bool:
        spec = {"resourceAttributes": {**asked, "verb": verb}}
        reply = send(client, "POST", f"{path}/selfsubjectaccessreviews", {"spec": spec})
        return bool(reply.body["status"]["allowed"])

    user = f"system:serviceaccount:{rights.namespace}:worker"
    other = {"spec": {"user": user, "resourceAttributes": asked}}
    paths = {"spec": {"nonResourceAttributes": {"verb": "get", "path": "/metrics"}}}
    token = {"spec": {"token": client.token}}
    rules = {"spec": {"namespace": rights.namespace}}

    assert (may("get"), may("delete")) == (True, False)
    assert send(admin, "POST", f"{path}/subjectaccessreviews", other).body["status"]["allowed"]
    refused = send(client, "POST", f"{path}/selfsubjectaccessreviews", paths)
    assert refused.body["status"]["allowed"] is False
    whose = send(admin, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", token)
    assert whose.body["status"]["user"]["username"] == user
    nobody = send(
        admin, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "x"}}
    )
    assert not nobody.body["status"].get("authenticated")
    listed = send(client, "POST", f"{path}/selfsubjectrulesreviews", rules)
    assert rule in listed.body["status"]["resourceRules"]
