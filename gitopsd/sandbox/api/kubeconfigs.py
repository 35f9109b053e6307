"""Kubeconfig files for the simulated cluster. JSON is YAML, and every client reads it."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from pathlib import Path

    from gitopsd.domain.manifests import JsonObject


def make_kubeconfig(*, server: str, authority: bytes, user: str, token: str) -> JsonObject:
    """A kubeconfig for one user of one cluster.

    Args:
        server: The API server's URL.
        authority: Certificate that the server's is signed by (PEM).
        user: What the user is called in the file.
        token: The user's bearer token.
    """
    name = "sandbox"
    cluster: JsonObject = {
        "server": server,
        "certificate-authority-data": base64.b64encode(authority).decode(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": user}}],
        "current-context": name,
    }


def save_private(path: Path, document: JsonObject) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.touch(mode=0o600)
    partial.write_bytes(orjson.dumps(document, option=orjson.OPT_INDENT_2) + b"\n")
    partial.replace(path)
