"""Registries in memory: tags that tests move, and hosts that do not answer."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from gitopsd.domain.manifests import Digest
from gitopsd.errors import GitopsdError, TemporaryError
from gitopsd.kube.images import parse_image
from gitopsd.ports import Clock
from gitopsd.registry_ports import ImageDetails


class MemoryRegistry:
    """Every registry there is, in memory. A host that nothing was pushed to does not answer.

    Args:
        clock: Waited on for `latency`; without one every answer is immediate.

    Attributes:
        latency: How long each answer takes.
        asked: What was asked, in order: ``HEAD ghcr.io/acme/api:1``.
        down: Hosts that do not answer.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self.latency = timedelta(0)
        self.asked: list[str] = []
        self.down: set[str] = set()
        self._clock = clock
        self._tags: dict[str, dict[str, Digest]] = {}
        self._details: dict[tuple[str, Digest], ImageDetails] = {}
        self._failures: list[GitopsdError] = []

    def push(
        self,
        image: str,
        *tags: str,
        content: str = "",
        revision: str = "",
        created: datetime | None = None,
    ) -> Digest:
        """Push an image under tags, or under its digest alone; returns its digest.

        Args:
            image: Name of the image, without tag.
            tags: Tags that point to it from now on.
            content: What makes it another image; its tags and revision when left out.
            revision: Its revision label.
            created: When it was built.
        """
        name = parse_image(image).name
        made = content or f"{tags} {revision} {created}"
        digest = Digest(f"sha256:{hashlib.sha256(f'{name} {made}'.encode()).hexdigest()}")
        self._details[name, digest] = ImageDetails(revision, created)
        known = self._tags.setdefault(name, {})
        known.update(dict.fromkeys(tags, digest))
        return digest

    def delete(self, image: str, reference: str) -> None:
        """Delete a tag, or an image with every tag that points to it."""
        name = parse_image(image).name
        tags = self._tags.get(name, {})
        self._details.pop((name, Digest(reference)), None)
        for tag in [tag for tag, digest in tags.items() if reference in (tag, digest)]:
            del tags[tag]

    def fail(self, error: GitopsdError, *, times: int = 1) -> None:
        """Answer the next questions with an error."""
        self._failures.extend([error] * times)

    async def fetch_digest(self, image: str, reference: str) -> Digest | None:
        """Ask what a tag points to, or whether a digest is there."""
        separator = "@" if ":" in reference else ":"
        name = await self._ask("HEAD", image, f"{separator}{reference}")
        if (name, Digest(reference)) in self._details:
            return Digest(reference)
        return self._tags.get(name, {}).get(reference)

    async def fetch_tags(self, image: str) -> tuple[str, ...]:
        """List all tags of an image."""
        name = await self._ask("TAGS", image, "")
        return tuple(self._tags.get(name, {}))

    async def fetch_details(self, image: str, digest: Digest) -> ImageDetails | None:
        """Read what an image says about itself."""
        name = await self._ask("GET", image, f"@{digest}")
        return self._details.get((name, digest))

    async def close(self) -> None:
        """Close nothing."""

    async def _ask(self, what: str, image: str, reference: str) -> str:
        parsed = parse_image(image)
        self.asked.append(f"{what} {parsed.name}{reference}")
        if self._clock is not None and self.latency:
            await self._clock.sleep(self.latency)
        if self._failures:
            raise self._failures.pop(0)
        hosts = {parse_image(name).registry for name in self._tags}
        if parsed.registry in self.down or parsed.registry not in hosts:
            raise TemporaryError(f"registry {parsed.registry} does not answer")
        return parsed.name
