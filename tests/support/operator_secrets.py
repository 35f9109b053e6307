"""Secrets that operators make of what they are asked for; every value is made up here."""

from __future__ import annotations

import base64
import re
import secrets
from typing import TYPE_CHECKING, Any
from urllib.parse import quote_plus

from tests.support.cluster_certificates import CertificateAuthority

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLACE = re.compile(r"\{\{ *\.(\w+) *(?:\| *(\w+) *)?\}\}")
_OTHER_OWNERS = frozenset({"Orphan", "Merge"})
_WHOLE = ""


class VaultError(Exception):
    """The vault has not what was asked for; the message names the key."""


class Vault:
    """Remote keys and their properties.

    A property that is asked for by name is made up when it is new; a key that is read whole must
    have been put here, as nobody says what is in it.
    """

    def __init__(self, content: Mapping[str, Mapping[str, str]]) -> None:
        """Begin with ``content``: remote key to its properties."""
        self._content = {key: dict(properties) for key, properties in content.items()}

    def put(self, key: str, properties: Mapping[str, str]) -> None:
        """Replace what is stored under a remote key."""
        self._content[key] = dict(properties)

    def read(self, key: str, name: str = _WHOLE) -> str:
        """One property of a remote key, made up when there is none; always the same."""
        return self._content.setdefault(key, {}).setdefault(name, secrets.token_hex(16))

    def read_all(self, key: str) -> dict[str, str]:
        """All properties of a remote key.

        Raises:
            VaultError: Nothing was stored under it.
        """
        if key not in self._content:
            message = f"could not get secret data from provider: {key} does not exist"
            raise VaultError(message)
        return dict(self._content[key])

    def secrets_of(self, external: dict[str, Any]) -> list[dict[str, Any]]:
        """The Secret that an ExternalSecret asks for; none when it is to be none.

        Raises:
            VaultError: A key is missing, or its template asks for what is not there.
        """
        spec, metadata = external["spec"], external["metadata"]
        target = spec.get("target", {})
        policy = target.get("creationPolicy", "Owner")
        if policy == "None":
            return []
        values: dict[str, str] = {}
        for source in spec.get("dataFrom", []):
            values.update(self.read_all(source["extract"]["key"]))
        for entry in spec.get("data", []):
            remote = entry["remoteRef"]
            values[entry["secretKey"]] = self.read(remote["key"], remote.get("property", _WHOLE))
        template = target.get("template", {})
        if "data" in template:
            values = {name: _filled(text, values) for name, text in template["data"].items()}
        owner = None if policy in _OTHER_OWNERS else external
        name = target.get("name") or metadata["name"]
        return [_secret(name, template.get("type", "Opaque"), values, owner)]


def secrets_of_class(item: dict[str, Any], vault: Vault) -> list[dict[str, Any]]:
    """The Secrets that a SecretProviderClass has its driver keep beside the mounted files."""
    key = f"{item['metadata']['namespace']}/{item['metadata']['name']}"
    return [
        _secret(
            one["secretName"],
            one.get("type", "Opaque"),
            {entry["key"]: vault.read(key, entry["objectName"]) for entry in one.get("data", [])},
            None,
        )
        for one in item["spec"].get("secretObjects", [])
    ]


def make_key_pair(certificate: dict[str, Any]) -> dict[str, Any]:
    """The TLS Secret of a Certificate, signed by an authority that signs nothing else."""
    spec = certificate["spec"]
    names = tuple(spec.get("dnsNames") or [spec.get("commonName") or "localhost"])
    authority = CertificateAuthority.create("tests")
    pair = authority.issue_server(names)
    values = {
        "ca.crt": authority.pair.certificate.decode("ascii"),
        "tls.crt": pair.certificate.decode("ascii"),
        "tls.key": pair.key.decode("ascii"),
    }
    return _secret(spec["secretName"], "kubernetes.io/tls", values, None)


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value_of(place: re.Match[str]) -> str:
        if place[1] not in values:
            message = f'could not apply template: map has no entry for key "{place[1]}"'
            raise VaultError(message)
        value = values[place[1]]
        return quote_plus(value) if place[2] == "urlquery" else value

    return _PLACE.sub(value_of, text)


def _secret(
    name: str, kind: str, values: Mapping[str, str], owner: dict[str, Any] | None
) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": name}
    if owner is not None:
        metadata["ownerReferences"] = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ]
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": kind,
        "data": data,
    }
