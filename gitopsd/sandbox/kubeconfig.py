"""Reads a kubeconfig file into what a client needs: address, TLS and credentials.

Only what the harness and the sandbox write is read: no exec plug-ins, no auth providers, no proxy.
"""

from __future__ import annotations

import base64
import io
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ryaml

from gitopsd.errors import ConfigError
from gitopsd.sandbox.fields import flag_at, named, object_at, objects_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach an API server.

    Attributes:
        server: Base URL without a slash at its end.
        tls: TLS context; None for plain HTTP.
        token: Bearer token; empty when the client certificate says who asks.
    """

    server: str
    tls: ssl.SSLContext | None
    token: str


def load_kubeconfig(path: Path, *, context: str | None = None) -> Connection:
    """Read the file.

    Args:
        path: The kubeconfig file.
        context: A context of it; None takes its current one.

    Raises:
        ConfigError: The file is missing, is no kubeconfig, or names what is not in it.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise _problem(path, "", f"cannot be read: {error}", "Give a readable file") from error
    document = _parse(path, text)
    wanted = context or text_at(document, "current-context")
    chosen = _entry(path, document, "contexts", wanted, "context")
    cluster = _entry(path, document, "clusters", text_at(chosen, "cluster"), "cluster")
    user = _entry(path, document, "users", text_at(chosen, "user"), "user")
    server = text_at(cluster, "server").rstrip("/")
    if not server:
        raise _problem(path, "clusters[].cluster.server", "is empty", "Write the API server's URL")
    token = text_at(user, "token")
    token_file = text_at(user, "tokenFile")
    if token_file:
        token = (path.parent / token_file).read_text().strip()
    tls = _tls(path.parent, cluster, user) if server.startswith("https:") else None
    return Connection(server, tls, token)


def _parse(path: Path, text: str) -> JsonObject:
    try:
        document: Json = ryaml.load(io.StringIO(text))
    except ValueError as error:
        raise _problem(path, "", f"is no YAML: {error}", "Write a kubeconfig") from error
    if not isinstance(document, Mapping):
        raise _problem(path, "", "holds no object", "Write a kubeconfig")
    return document


def _entry(path: Path, document: JsonObject, group: str, name: str, key: str) -> JsonObject:
    entry = named(objects_at(document, group), name)
    if entry is None:
        raise _problem(path, group, f"has no entry named {name!r}", "Add it or name another")
    return object_at(entry, key)


def _tls(directory: Path, cluster: JsonObject, user: JsonObject) -> ssl.SSLContext:
    authority = _material(directory, cluster, "certificate-authority")
    context = ssl.create_default_context(cadata=authority.decode() if authority else None)
    if flag_at(cluster, "insecure-skip-tls-verify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    certificate = _material(directory, user, "client-certificate")
    key = _material(directory, user, "client-key")
    if certificate and key:
        # The ssl module reads certificates from files only; this one lives for a moment, 0600.
        with tempfile.NamedTemporaryFile(suffix=".pem") as pair:
            pair.write(certificate + b"\n" + key)
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def _material(directory: Path, entry: JsonObject, name: str) -> bytes:
    inline = text_at(entry, f"{name}-data")
    if inline:
        return base64.b64decode(inline)
    file = text_at(entry, name)
    return (directory / file).read_bytes() if file else b""


def _problem(path: Path, where: str, problem: str, remedy: str) -> ConfigError:
    return ConfigError(file=str(path), path=where, problem=problem, remedy=remedy)
