"""Credentials of a registry, read from their file each time: rotation needs no restart."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from gitopsd.adapters.registry.endpoints import Endpoint
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.manifests import Json
from gitopsd.errors import PermanentError
from gitopsd.kube.images import DOCKER_HUB

_HUB_NAMES = ("index.docker.io", "registry-1.docker.io", "docker.io")


@dataclass(frozen=True, slots=True)
class Credential:
    """Who asks.

    Attributes:
        user: User name.
        password: Password or token; never shown.
    """

    user: str
    password: str = field(repr=False)

    @property
    def basic(self) -> str:
        """Value of ``Authorization`` (RFC 7617)."""
        pair = f"{self.user}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"

    @property
    def mark(self) -> str:
        """Tells credentials apart without being one."""
        return hashlib.sha256(self.basic.encode()).hexdigest()[:16]


def load_credential(endpoint: Endpoint) -> Credential | None:
    """Read the credential of a registry; None for one that is asked without.

    The file holds ``user:password``, or is a Docker ``config.json`` that knows the host, as it is
    mounted from a Secret of type ``kubernetes.io/dockerconfigjson``. Blocks for a moment.

    Raises:
        PermanentError: ``CredentialFile``, when it cannot be read or holds neither.
    """
    spec = endpoint.spec
    if spec is None or not spec.credential_file:
        return None
    try:
        text = load_secret(spec.credential_file).decode("utf-8").strip()
    except PermanentError as error:
        message = f"registry {spec.name}: {error.message}"
        raise PermanentError(message, reason="CredentialFile") from error
    except UnicodeDecodeError as error:
        raise _unusable(endpoint, "is no UTF-8") from error
    if text.startswith("{"):
        return _find_in_docker_config(endpoint, text)
    return _split(endpoint, text)


def _split(endpoint: Endpoint, text: str) -> Credential:
    user, colon, password = text.partition(":")
    if not user or not colon or not password or "\n" in text:
        raise _unusable(endpoint, "holds neither user:password nor a Docker config.json")
    return Credential(user, password)


def _find_in_docker_config(endpoint: Endpoint, text: str) -> Credential:
    try:
        document: Json = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise _unusable(endpoint, "begins like a Docker config.json and is no JSON") from error
    auths = document.get("auths") if isinstance(document, Mapping) else None
    entries = auths if isinstance(auths, Mapping) else {}
    for name, entry in entries.items():
        if _is_of(name, endpoint.host) and isinstance(entry, Mapping):
            return _read_entry(endpoint, entry)
    raise _unusable(endpoint, f"has no entry for {endpoint.host}")


def _is_of(name: str, host: str) -> bool:
    """Tell whether an entry of a Docker config is about a host: it may be written as a URL."""
    written = name.partition("://")[2] or name
    written = written.partition("/")[0].lower()
    return written == host or (host == DOCKER_HUB and written in _HUB_NAMES)


def _read_entry(endpoint: Endpoint, entry: Mapping[str, Json]) -> Credential:
    packed = entry.get("auth")
    if isinstance(packed, str) and packed:
        try:
            return _split(endpoint, base64.b64decode(packed, validate=True).decode())
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _unusable(endpoint, "holds an `auth` that is no base64") from error
    user, password = entry.get("username"), entry.get("password")
    if isinstance(user, str) and isinstance(password, str) and user and password:
        return Credential(user, password)
    raise _unusable(endpoint, f"has no user and password for {endpoint.host}")


def _unusable(endpoint: Endpoint, problem: str) -> PermanentError:
    spec = endpoint.spec
    name, file = (spec.name, spec.credential_file) if spec is not None else ("", "")
    return PermanentError(
        f"registry {name}: credentialFile {file} {problem}; write user:password into it",
        reason="CredentialFile",
    )
