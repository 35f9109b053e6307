"""The protocol of registries of images, and what they answer with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gitopsd.domain.manifests import Digest


@dataclass(frozen=True, slots=True)
class ImageDetails:
    """What an image says about itself; no registry vouches for it.

    Attributes:
        revision: Commit it was built from (``org.opencontainers.image.revision``); empty when it
            does not say.
        created: When it was built; None when it does not say, or says a time before containers
            were built, as reproducible builds do.
    """

    revision: str = ""
    created: datetime | None = None


class Registry(Protocol):
    """Registries of images, each asked at its own address and with its own credential.

    Images are named in full, with their host and without tag: ``ghcr.io/acme/api``. Every method
    raises TemporaryError when the registry does not answer, asks for patience (with its
    Retry-After) or refuses the credential (``reason`` ``Credential``; a private image that one may
    not see cannot be told from one that is not there), and PermanentError when the name or the
    registry's configuration cannot be used.
    """

    async def fetch_digest(self, image: str, reference: str) -> Digest | None:
        """Ask what a tag points to, or whether a digest is there; None when it is not."""

    async def fetch_tags(self, image: str) -> tuple[str, ...]:
        """List all tags of an image, in no useful order; none when there is no such image."""

    async def fetch_details(self, image: str, digest: Digest) -> ImageDetails | None:
        """Read what an image says about itself; None when it is not there.

        Of an index, the image for Linux on amd64 speaks, else the first for any platform.
        """

    async def close(self) -> None:
        """Close connections."""
