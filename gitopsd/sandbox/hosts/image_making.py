"""Makes tiny OCI images in memory, so that no image tool is needed.

What an image does when it runs is written in its config (`gitopsd.sandbox.behaviour`).
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.sandbox.behaviour import SERVE_LABEL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip"
VERSION_LABEL = "org.opencontainers.image.version"
CREATED = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class Blob:
    """Content with the media type it is described by."""

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """``sha256:...`` of the content."""
        return f"sha256:{hashlib.sha256(self.content).hexdigest()}"

    @property
    def descriptor(self) -> dict[str, object]:
        """How a manifest names this blob."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.content)}


@dataclass(frozen=True, slots=True)
class Image:
    """A manifest with everything it needs."""

    manifest: Blob
    blobs: tuple[Blob, ...]

    @property
    def digest(self) -> str:
        """What the registry calls this image."""
        return self.manifest.digest


@dataclass(frozen=True, slots=True)
class Program:
    """A command of an image that runs as a child process.

    Attributes:
        entrypoint: Program and arguments.
        directory: Where it starts.
    """

    entrypoint: Sequence[str]
    directory: str


def make_image(
    *,
    version: str,
    behaviour: Mapping[str, object],
    program: Program | None = None,
    files: Mapping[str, bytes] | None = None,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    created: str = CREATED,
) -> Image:
    """Make an image. The same arguments give the same digest.

    Args:
        version: Goes into the version label and the environment variable ``IMAGE_VERSION``.
        behaviour: What it does when it runs; a node runs it in its own process, at no cost.
        program: Runs as a child instead.
        files: Files of its only layer, by absolute path.
        labels: More labels.
        env: Environment of the image.
        created: When it says that it was built.
    """
    all_labels = {VERSION_LABEL: version, **(labels or {})}
    config: dict[str, object] = {
        "Env": [
            f"{name}={value}" for name, value in {"IMAGE_VERSION": version, **(env or {})}.items()
        ],
        "Labels": all_labels,
    }
    ports = behaviour.get("ports")
    if isinstance(ports, list):
        config["ExposedPorts"] = {f"{port}/tcp": {} for port in ports}
    if program is None:
        all_labels[SERVE_LABEL] = json.dumps(behaviour, sort_keys=True)
    else:
        config["Entrypoint"] = list(program.entrypoint)
        config["WorkingDir"] = program.directory
    plain = _tar(files or {})
    layer = Blob(gzip.compress(plain, mtime=0), LAYER_TYPE)
    document = {
        "architecture": "amd64",
        "os": "linux",
        "created": created,
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [Blob(plain, LAYER_TYPE).digest]},
        "history": [{"created": CREATED, "created_by": "gitopsd"}],
    }
    config_blob = Blob(json.dumps(document, sort_keys=True).encode(), CONFIG_TYPE)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": config_blob.descriptor,
        "layers": [layer.descriptor],
        "annotations": {"org.opencontainers.image.created": created},
    }
    return Image(
        Blob(json.dumps(manifest, sort_keys=True).encode(), MANIFEST_TYPE), (config_blob, layer)
    )


def _tar(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(contents):
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size = len(contents[path])
            entry.mode = 0o644
            tar.addfile(entry, io.BytesIO(contents[path]))
    return buffer.getvalue()
