"""The operators and the volumes that tests lend a cluster do what people's clusters do."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from tests.support.operators import Operators
from tests.support.volumes import CLASSES, VOLUMES, VolumeProvisioner
from tests.support.waiting import wait_for_objects

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.cluster_client import ClusterClient
    from tests.support.control_plane import ControlPlane
    from tests.support.volumes import Binding

pytestmark = pytest.mark.timeout(30)

EXTERNAL = "/apis/external-secrets.io/v1/namespaces/{}/externalsecrets"
CERTIFICATES = "/apis/cert-manager.io/v1/namespaces/{}/certificates"
ISSUERS = "/apis/cert-manager.io/v1/clusterissuers"
SECRET_CLASS: dict[str, Any] = {
    "apiVersion": "secrets-store.csi.x-k8s.io/v1",
    "kind": "SecretProviderClass",
    "metadata": {"name": "vault"},
}
CLASSES_OF_SECRETS = "/apis/secrets-store.csi.x-k8s.io/v1/namespaces/{}/secretproviderclasses"


def ready(client: ClusterClient, collection: str, name: str, status: str) -> dict[str, Any]:
    """Wait for an object's condition Ready to be so for its newest generation; the condition."""

    def found(items: list[dict[str, Any]]) -> dict[str, Any]:
        for item in items:
            for condition in item.get("status", {}).get("conditions", []):
                seen = condition.get("observedGeneration", item["metadata"]["generation"])
                if (item["metadata"]["name"], condition["status"]) == (name, status):
                    return condition if seen == item["metadata"]["generation"] else {}
        return {}

    items = wait_for_objects(client, collection, found, what=f"{name} to be Ready={status}")
    return found(items)


def secret(client: ClusterClient, namespace: str, name: str) -> dict[str, str]:
    """The values of a Secret."""
    item = client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    return {key: base64.b64decode(value).decode() for key, value in item["data"].items()}


def external(name: str, **spec: object) -> dict[str, Any]:
    """An ExternalSecret."""
    return {
        "apiVersion": "external-secrets.io/v1",
        "kind": "ExternalSecret",
        "metadata": {"name": name},
        "spec": {"secretStoreRef": {"name": "vault"}, **spec},
    }


def certificate(*names: str) -> dict[str, Any]:
    """A Certificate."""
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": {"name": "web"},
        "spec": {"secretName": "web-tls", "dnsNames": [*names], "issuerRef": {"name": "any"}},
    }


def test_external_secrets_are_synced(
    system_kinds: ControlPlane, operators: Operators, namespace: str
) -> None:
    """An ExternalSecret gets its Secret and then says so; one the vault knows nothing of waits."""
    client, path = system_kinds.client, EXTERNAL.format(namespace)
    operators.vault.put("shop/all", {"USER": "shop", "PASSWORD": "made up"})
    template = {"data": {"url": "redis://:{{ .password | urlquery }}@redis:6379/0"}}
    entry = {"secretKey": "password", "remoteRef": {"key": "shop/some", "property": "redis"}}

    client.create(path, external("all", dataFrom=[{"extract": {"key": "shop/all"}}]))
    client.create(
        path, external("some", target={"name": "redis", "template": template}, data=[entry])
    )
    client.create(path, external("none", dataFrom=[{"extract": {"key": "shop/none"}}]))

    assert ready(client, path, "all", "True")["reason"] == "SecretSynced"
    assert secret(client, namespace, "all") == {"USER": "shop", "PASSWORD": "made up"}
    ready(client, path, "some", "True")
    password = operators.vault.read("shop/some", "redis")
    assert secret(client, namespace, "redis") == {"url": f"redis://:{password}@redis:6379/0"}
    missing = ready(client, path, "none", "False")
    assert (missing["reason"], "shop/none does not exist" in missing["message"]) == (
        "SecretSyncedError",
        True,
    )

    operators.vault.put("shop/none", {"A": "1"})
    operators.let_ready("ExternalSecret", "none", namespace=namespace)

    ready(client, path, "none", "True")
    made = client.get(f"/api/v1/namespaces/{namespace}/secrets/all")
    owner = client.get(f"{path}/all")
    assert made["metadata"]["ownerReferences"][0]["uid"] == owner["metadata"]["uid"]


def test_certificates_issuers_and_classes(
    system_kinds: ControlPlane, operators: Operators, namespace: str
) -> None:
    """Certificates get key pairs for their names, issuers are registered, classes get Secrets."""
    client, path = system_kinds.client, CERTIFICATES.format(namespace)
    operators.keep_unready("ClusterIssuer", namespace, reason="ErrInitIssuer", message="no key")
    acme: dict[str, Any] = {
        "server": "https://acme.test/directory",
        "privateKeySecretRef": {"name": "acme"},
    }
    issuer: dict[str, Any] = {
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "spec": {"acme": acme},
    }
    provider = CLASSES_OF_SECRETS.format(namespace)
    data: list[Any] = [{"objectName": "jwt", "key": "JWT"}]

    client.create(ISSUERS, {**issuer, "metadata": {"name": namespace}})
    try:
        client.apply(f"{path}/web", certificate("shop.test"))
        kept: dict[str, Any] = {
            "secretObjects": [{"secretName": "kept", "type": "Opaque", "data": data}]
        }
        client.create(provider, {**SECRET_CLASS, "spec": kept})

        first = ready(client, path, "web", "True")
        assert _names(secret(client, namespace, "web-tls")) == ["shop.test"]
        client.apply(f"{path}/web", certificate("shop.test", "www.shop.test"))
        second = ready(client, path, "web", "True")
        assert _names(secret(client, namespace, "web-tls")) == ["shop.test", "www.shop.test"]
        assert first["lastTransitionTime"] == second["lastTransitionTime"]
        assert (first["observedGeneration"], second["observedGeneration"]) == (1, 2)
        wait_for_objects(
            client,
            f"/api/v1/namespaces/{namespace}/secrets",
            lambda items: "kept" in [item["metadata"]["name"] for item in items],
            what="the Secret of the class",
        )
        assert [*secret(client, namespace, "kept")] == ["JWT"]

        held = ready(client, ISSUERS, namespace, "False")
        assert (held["reason"], held["message"]) == ("ErrInitIssuer", "no key")
        operators.let_ready("ClusterIssuer", namespace)
        assert ready(client, ISSUERS, namespace, "True")["reason"] == "ACMEAccountRegistered"
        operators.keep_unready("Certificate", "web", namespace=namespace)
        assert ready(client, path, "web", "False")["reason"] == "DoesNotExist"
    finally:
        client.delete(f"{ISSUERS}/{namespace}")


def _names(pair: dict[str, str]) -> list[str]:
    """The host names of a key pair whose parts belong together."""
    found = x509.load_pem_x509_certificate(pair["tls.crt"].encode())
    key = serialization.load_pem_private_key(pair["tls.key"].encode(), None)
    assert key.public_key() == found.public_key()
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


@pytest.mark.parametrize("binding", ["Immediate", "WaitForFirstConsumer"])
def test_claims_are_bound_and_nothing_stays(
    control_plane: ControlPlane, node: object, namespace: str, tmp_path: Path, binding: Binding
) -> None:
    """Claims of any size and mode are bound; class and volumes go, bound or released."""
    assert node
    client = control_plane.client
    path = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims"
    modes = {"one": ("ReadWriteOnce", "5Ti"), "many": ("ReadWriteMany", "1Gi")}

    with VolumeProvisioner.start(client, tmp_path, binding=binding) as volumes:
        for name, (mode, size) in modes.items():
            spec: dict[str, Any] = {
                "accessModes": [mode],
                "resources": {"requests": {"storage": size}},
            }
            client.create(path, {"metadata": {"name": name}, "spec": spec})
        mounts: list[dict[str, Any]] = [
            {"name": name, "persistentVolumeClaim": {"claimName": name}} for name in modes
        ]
        container = {"name": "web", "image": "none.test/none"}
        client.create(
            f"/api/v1/namespaces/{namespace}/pods",
            {
                "metadata": {"name": "web"},
                "spec": {"volumes": mounts, "containers": [container]},
            },
        )
        claims = wait_for_objects(
            client,
            path,
            lambda items: all(item["status"]["phase"] == "Bound" for item in items),
            what="every claim to be bound",
        )
        assert {
            item["metadata"]["name"]: (
                item["status"]["accessModes"][0],
                item["status"]["capacity"]["storage"],
            )
            for item in claims
        } == modes
        wait_for_objects(
            client,
            f"/api/v1/namespaces/{namespace}/pods",
            lambda items: any(item["spec"].get("nodeName") for item in items),
            what="the pod to be scheduled",
        )

        client.delete(f"/api/v1/namespaces/{namespace}/pods/web?gracePeriodSeconds=0")
        client.delete(f"{path}/many")
        name = volumes.storage_class
        wait_for_objects(
            client,
            VOLUMES,
            lambda items: [i["spec"].get("storageClassName") for i in items].count(name) == 1,
            what="the released volume to go",
        )

    assert volumes.volumes() == []
    assert name not in [item["metadata"]["name"] for item in client.get(CLASSES)["items"]]
