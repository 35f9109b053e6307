"""Image names, tags and digests in deliveries: checked once, for every provider."""

from __future__ import annotations

import re

from gitopsd.domain.sources import ImagePush
from gitopsd.errors import DeliveryError
from gitopsd.webhooks.payload import select_words

# The image names, tags and digests of the OCI distribution specification 1.1, "Pulling manifests";
# the host is a name or address with an optional port.
_REPOSITORY = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]{1,5})?/)?"
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")
_MAX_REPOSITORY_CHARACTERS = 255


def make_image_push(registry: str, repository: str, tag: str, digest: str) -> ImagePush:
    """Make the event of an image that was pushed.

    Args:
        registry: Registry host as the sender calls it; empty when it does not say.
        repository: Image name, without host when the host is given apart.
        tag: Tag that moved; empty when none did.
        digest: What it points to, as the sender says; empty when it does not.

    Raises:
        DeliveryError: ``BadImage``, when a part is malformed, or neither tag nor digest is given.
    """
    name = "/".join(part for part in (registry, repository) if part)
    if len(name) > _MAX_REPOSITORY_CHARACTERS or not _REPOSITORY.fullmatch(name):
        raise DeliveryError(
            f"the image is {select_words(name)!r}, expected host/path without tag",
            reason="BadImage",
        )
    if (tag and not _TAG.fullmatch(tag)) or (digest and not _DIGEST.fullmatch(digest)):
        raise DeliveryError("tag or digest is malformed", reason="BadImage")
    if not tag and not digest:
        raise DeliveryError("the image push names neither tag nor digest", reason="BadImage")
    return ImagePush(repository=name, tag=tag, digest=digest)
