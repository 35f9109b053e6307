"""Image references: where manifests hold them, how they are read, how they are pinned."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gitopsd.domain.manifests import Digest
from gitopsd.errors import PermanentError
from gitopsd.kube.objects import (
    kind_of,
    mapping_at,
    mappings_at,
    name_of,
    namespace_of,
    string_at,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitopsd.domain.manifests import Json, JsonObject

DOCKER_HUB = "docker.io"

_CONTAINER_FIELDS = ("initContainers", "containers", "ephemeralContainers")
_MAX_DEPTH = 64
_MAX_NAME = 255
_SHOWN_USERS = 3

_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?")
_COMPONENT = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


@dataclass(frozen=True, slots=True)
class ImageReference:
    """A parsed image reference.

    Attributes:
        registry: Registry host, with its port when it has one; ``docker.io`` when none is written.
        repository: Repository in that registry, ``library/`` added for Docker Hub's own images.
        tag: Tag; empty when none is written.
        digest: Digest; None when none is written.
        written: The name as written, without tag and digest.
    """

    registry: str
    repository: str
    tag: str
    digest: Digest | None
    written: str

    @property
    def name(self) -> str:
        """Name in full: ``docker.io/library/nginx``."""
        return f"{self.registry}/{self.repository}"

    @property
    def manifest(self) -> str:
        """What a registry is asked for: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or "latest"

    def __str__(self) -> str:
        """The reference in full, as `parse_image` reads it again."""
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


@dataclass(frozen=True, slots=True)
class ImageUse:
    """One place of a manifest that names an image.

    Attributes:
        container: Container (or image volume) that uses it.
        image: The reference as written.
    """

    container: str
    image: str


def parse_image(reference: str) -> ImageReference:
    """Parse an image reference by the grammar of the Distribution project.

    The first component is a registry when it has a dot or a colon or is ``localhost``; otherwise
    the image is Docker Hub's.

    Args:
        reference: E.g. ``nginx``, ``ghcr.io/acme/api:1.4``, ``host:5000/api@sha256:...``.

    Raises:
        PermanentError: ``InvalidImage``, when it is no image reference.
    """
    rest, at, digest = reference.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise _invalid(reference, "after @ stands no sha256 digest")
    written, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        written, tag = rest, ""
    elif not _TAG.fullmatch(tag):
        raise _invalid(reference, "after the last colon stands no tag")
    registry, repository = _split_name(written)
    if not _HOST.fullmatch(registry):
        raise _invalid(reference, "it begins with no registry host")
    if len(written) > _MAX_NAME or not _is_repository(repository):
        raise _invalid(reference, "its name is not lower-case words joined by slashes")
    return ImageReference(registry, repository, tag, Digest(digest) if digest else None, written)


def _split_name(written: str) -> tuple[str, str]:
    host, slash, path = written.partition("/")
    if not slash or not ("." in host or ":" in host or host == "localhost"):
        host, path = DOCKER_HUB, written
    if host == "index.docker.io":
        host = DOCKER_HUB
    if host == DOCKER_HUB and "/" not in path:
        path = f"library/{path}"
    return host, path


def _is_repository(repository: str) -> bool:
    return all(_COMPONENT.fullmatch(part) for part in repository.split("/"))


def _invalid(reference: str, problem: str) -> PermanentError:
    shown = reference if len(reference) <= _MAX_NAME else f"{reference[:_MAX_NAME]}..."
    return PermanentError(f"image {shown!r}: {problem}", reason="InvalidImage")


def pin(reference: str, digest: Digest, tag: str = "") -> str:
    """Write a reference with its digest; a tag stands beside it for people to read.

    Args:
        reference: The reference as written; a digest in it is replaced.
        digest: Digest it was resolved to.
        tag: Tag that the digest was found under; the one that is written stays when it is empty.

    Raises:
        PermanentError: ``InvalidImage``, when the reference or the digest is none.
    """
    if not _DIGEST.fullmatch(digest):
        raise _invalid(digest, "it is no digest to pin to")
    parsed = parse_image(reference)
    shown = tag or parsed.tag
    return f"{parsed.written}{f':{shown}' if shown else ''}@{digest}"


def find_uses(obj: JsonObject) -> tuple[ImageUse, ...]:
    """Find every image that an object's pod specs name, in any kind of workload.

    A pod spec is recognised by its lists of containers, wherever it stands, so that Pods,
    workloads, CronJobs, PodTemplates and custom workloads need no rule each. Image volumes count.
    """
    found: list[ImageUse] = []
    _walk(obj, 0, found)
    return tuple(found)


def find_images(objects: Iterable[JsonObject]) -> tuple[str, ...]:
    """List every image reference of a set once, as written, sorted."""
    return tuple(sorted({use.image for obj in objects for use in find_uses(obj)}))


def say_missing(objects: Iterable[JsonObject], missing: Iterable[str], namespace: str) -> str:
    """Say which objects want images that no registry has; those with the same users together.

    Args:
        objects: The set.
        missing: References, as written.
        namespace: Where objects are that name none.
    """
    users: dict[str, list[str]] = {reference: [] for reference in missing}
    for obj in objects:
        for image in {use.image for use in find_uses(obj)} & users.keys():
            users[image].append(f"{kind_of(obj)} {namespace_of(obj) or namespace}/{name_of(obj)}")
    wanted: dict[str, list[str]] = {}
    for image, names in users.items():
        wanted.setdefault(_join_users(names), []).append(image)
    return "; ".join(
        f"{who}: the registry has no image {', '.join(images)}" for who, images in wanted.items()
    )


def _join_users(users: list[str]) -> str:
    shown, more = sorted(users)[:_SHOWN_USERS], len(users) - _SHOWN_USERS
    return ", ".join([*shown, f"{more} more"] if more > 0 else shown)


def find_digests(objects: Iterable[JsonObject]) -> dict[str, Digest | None]:
    """Find the digest of every image reference of a set; None for one that names none."""
    return {reference: _digest_of(reference) for reference in find_images(objects)}


def _digest_of(reference: str) -> Digest | None:
    try:
        return parse_image(reference).digest
    except PermanentError:
        return None


def _walk(value: Json, depth: int, found: list[ImageUse]) -> None:
    if depth > _MAX_DEPTH:
        return
    inside: Iterable[Json] = ()
    if isinstance(value, Mapping):
        _note_uses(value, found)
        inside = value.values()
    elif isinstance(value, list | tuple):
        inside = value
    for inner in inside:
        # Nearly all that an object holds is text, which holds nothing.
        if not isinstance(inner, str):
            _walk(inner, depth + 1, found)


def _note_uses(spec: JsonObject, found: list[ImageUse]) -> None:
    for field in _CONTAINER_FIELDS:
        if field in spec:
            for container in mappings_at(spec, field):
                image = string_at(container, "image")
                if image:
                    found.append(ImageUse(string_at(container, "name"), image))
    if "volumes" in spec:
        for volume in mappings_at(spec, "volumes"):
            image = string_at(mapping_at(volume, "image"), "reference")
            if image:
                found.append(ImageUse(string_at(volume, "name"), image))
