"""Image references as people write them in pod specs, taken apart. Pure.

Grammar and words of refusal are those of the distribution project's reference package, which every
kubelet uses.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from gitopsd.errors import PermanentError

DEFAULT_HOST = "docker.io"
DEFAULT_TAG = "latest"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?\.?)+(?::[0-9]+)?|\[[0-9a-fA-F:]+\](?::[0-9]+)?"
)


@dataclass(frozen=True, slots=True)
class ImageReference:
    """Where an image is: host, path, and a tag or a digest (a digest wins).

    Attributes:
        text: The reference as it was written.
        host: Registry, ``docker.io`` when none was written.
        path: Repository inside the registry.
        tag: Tag; empty with a digest alone.
        digest: ``sha256:...`` or empty.
    """

    text: str
    host: str
    path: str
    tag: str
    digest: str

    @property
    def repository(self) -> str:
        """Host and path."""
        return f"{self.host}/{self.path}"

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag."""
        return self.digest or self.tag


def parse_reference(text: str) -> ImageReference:
    """Take a reference apart.

    Raises:
        PermanentError: It is none; the message is the kubelet's, reason ``InvalidImageName``.
    """
    rest, _, digest = text.partition("@")
    if "@" in text and not _DIGEST.fullmatch(digest):
        raise _refusal(text, "invalid reference format")
    slash, colon = rest.rfind("/"), rest.rfind(":")
    name, tag = (rest[:colon], rest[colon + 1 :]) if colon > slash else (rest, "")
    first, _, path = name.partition("/")
    if path and ("." in first or ":" in first or first == "localhost"):
        host = first
    else:
        host, path = DEFAULT_HOST, name if "/" in name else f"library/{name}"
    if not name or not _HOST.fullmatch(host) or (colon > slash and not _TAG.fullmatch(tag)):
        raise _refusal(text, "invalid reference format")
    if not _PATH.fullmatch(path):
        if _PATH.fullmatch(path.lower()):
            raise _refusal(
                text, f"invalid reference format: repository name ({path}) must be lowercase"
            )
        raise _refusal(text, "invalid reference format")
    return ImageReference(text, host, path, tag if tag or digest else DEFAULT_TAG, digest)


def _refusal(text: str, why: str) -> PermanentError:
    message = (
        f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {why}'
    )
    return PermanentError(message, reason="InvalidImageName")
