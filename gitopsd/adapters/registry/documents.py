"""Reads manifests, indexes and image configurations, whatever is in them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime

import orjson

from gitopsd.domain.manifests import Digest, Json, JsonObject
from gitopsd.registry_ports import ImageDetails

INDEX_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
ACCEPTED = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))
"""Without the index types, a registry answers with one platform's manifest."""

REVISION_LABEL = "org.opencontainers.image.revision"
CREATED_LABEL = "org.opencontainers.image.created"

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_FIRST_CONTAINERS = datetime(2013, 1, 1, tzinfo=UTC)
_PREFERRED = ("linux", "amd64")
_LONGEST_REVISION = 200


def parse_digest(text: str) -> Digest | None:
    """Read a digest; None for anything else."""
    return Digest(text) if _DIGEST.fullmatch(text) else None


def digest_of(content: bytes, like: str = "sha256:") -> Digest:
    """Compute the digest of bytes, by the algorithm that ``like`` names."""
    algorithm = "sha512" if like.startswith("sha512:") else "sha256"
    return Digest(f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}")


def parse_json_object(content: bytes) -> JsonObject | None:
    """Parse a JSON object; None for anything else."""
    try:
        document = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def media_type_of(content_type: str, document: JsonObject) -> str:
    """Tell what a manifest is: by its own field, else by the header without parameters."""
    own = document.get("mediaType")
    header = content_type.partition(";")[0].strip().lower()
    return own if isinstance(own, str) and own else header


def is_index(media_type: str, document: JsonObject) -> bool:
    """Tell whether a document lists images for several platforms."""
    return media_type in INDEX_TYPES or ("manifests" in document and "config" not in document)


def select_child(index: JsonObject) -> Digest | None:
    """Select the image that speaks for an index; attestations are none."""
    found: list[tuple[tuple[str, str], Digest]] = []
    for entry in _mappings(index.get("manifests")):
        platform = entry.get("platform")
        named = platform if isinstance(platform, Mapping) else {}
        system, machine = _text(named.get("os")), _text(named.get("architecture"))
        digest = parse_digest(_text(entry.get("digest")))
        if digest is not None and "unknown" not in (system, machine):
            found.append(((system, machine), digest))
    preferred = [digest for platform, digest in found if platform == _PREFERRED]
    return next(iter([*preferred, *(digest for _, digest in found)]), None)


def select_config(manifest: JsonObject) -> Digest | None:
    """Find the configuration blob of an image; None for what is no image."""
    config = manifest.get("config")
    if not isinstance(config, Mapping):
        return None
    return parse_digest(_text(config.get("digest")))


def find_labels(document: JsonObject) -> dict[str, str]:
    """Read the annotations of a manifest or index."""
    return _texts(document.get("annotations"))


def parse_details(config: JsonObject, annotations: Mapping[str, str]) -> ImageDetails:
    """Read what an image says about itself.

    Args:
        config: Its configuration; empty when it has none.
        annotations: Those of its manifest and index. Labels of the configuration come first: they
            are part of the image under any name.
    """
    inner = config.get("config")
    labels = {**annotations, **_texts(inner.get("Labels") if isinstance(inner, Mapping) else None)}
    created = _parse_time(_text(config.get("created")))
    return ImageDetails(
        revision=_printable(labels.get(REVISION_LABEL, "")),
        created=created or _parse_time(labels.get(CREATED_LABEL, "")),
    )


def _parse_time(text: str) -> datetime | None:
    """Read a time; None for one that no container can have been built at."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    try:
        at = at.astimezone(UTC)
    except OverflowError:
        return None
    return at if at >= _FIRST_CONTAINERS else None


def _printable(text: str) -> str:
    return text if text.isprintable() and len(text) <= _LONGEST_REVISION else ""


def _mappings(value: Json) -> list[JsonObject]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: Json) -> dict[str, str]:
    if not isinstance(value, Mapping):
        return {}
    return {key: inner for key, inner in value.items() if isinstance(inner, str)}
