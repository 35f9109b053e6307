"""In-memory images: followed, resolved, pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gitopsd.domain.images import ImageState, ResolvedImage
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId
from gitopsd.testing.memory_tables import Journal, Table


class MemoryImages:
    """Images; implements ``record_ports.Images``."""

    def __init__(self, journal: Journal) -> None:
        self._states: Table[str, ImageState] = Table(journal)
        self._resolved: Table[str, ResolvedImage] = Table(journal)
        self._pins: Table[tuple[ReleaseId, str], Digest] = Table(journal)
        self._marks: Table[tuple[ApplicationName, str, ReleaseId], ReleaseId] = Table(journal)

    def get(self, name: str) -> ImageState | None:
        """Read what is known of a followed image."""
        return self._states.get(name)

    def save(self, state: ImageState) -> None:
        """Insert or replace it."""
        self._states.put(state.name, state)

    def page(self) -> Sequence[ImageState]:
        """Read all, by name."""
        return sorted(self._states, key=lambda state: state.name)

    def resolved(self, reference: str) -> ResolvedImage | None:
        """Read what a reference was resolved to last."""
        return self._resolved.get(reference)

    def put_resolved(self, resolved: ResolvedImage) -> None:
        """Insert or replace it."""
        self._resolved.put(resolved.reference, resolved)

    def pins(self, release: ReleaseId) -> Mapping[str, Digest]:
        """Read what a release's image references are pinned to."""
        return {
            reference: digest
            for (pinned, reference), digest in self._pins.items()
            if pinned == release
        }

    def put_pins(self, release: ReleaseId, pins: Mapping[str, Digest]) -> Mapping[str, Digest]:
        """Pin references of a release that are not pinned yet; returns all its pins."""
        for reference, digest in pins.items():
            if (release, reference) not in self._pins:
                self._pins.insert((release, reference), digest)
        return self.pins(release)

    def mark(self, application: ApplicationName, release: ReleaseId, marks: Iterable[str]) -> None:
        """Let a release be found by further marks."""
        for mark in marks:
            self._marks.put((application, mark, release), release)

    def marked(self, application: ApplicationName, mark: str) -> Sequence[ReleaseId]:
        """Find the releases that carry a mark, by id."""
        return sorted(
            release
            for (owner, given, release), _ in self._marks.items()
            if (owner, given) == (application, mark)
        )
