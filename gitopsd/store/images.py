"""Followed, resolved and pinned images in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa

from gitopsd.domain.images import ImageState, ResolvedImage
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName, ReleaseId
from gitopsd.store.codec import codec_of
from gitopsd.store.image_tables import (
    followed_images,
    release_marks,
    release_pins,
    resolved_images,
)
from gitopsd.store.session import Session, insert_new, upsert

_STATE = codec_of(ImageState)

_SAVE = upsert(followed_images, "name")
_GET = sa.select(followed_images.c.doc).where(followed_images.c.name == sa.bindparam("of"))
_ALL = sa.select(followed_images.c.doc).order_by(followed_images.c.name)
_PUT_RESOLVED = upsert(resolved_images, "reference")
_RESOLVED = sa.select(resolved_images).where(resolved_images.c.reference == sa.bindparam("of"))
_PIN = insert_new(release_pins, "release", "reference")
_PINS = sa.select(release_pins).where(release_pins.c.release == sa.bindparam("of"))
_MARK = insert_new(release_marks, "application", "mark", "release")
_MARKED = (
    sa.select(release_marks.c.release)
    .where(
        release_marks.c.application == sa.bindparam("of_application"),
        release_marks.c.mark == sa.bindparam("of_mark"),
    )
    .order_by(release_marks.c.release)
)


class SqlImages:
    """Images; implements ``record_ports.Images``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, name: str) -> ImageState | None:
        """Read what is known of a followed image."""
        row = self._session.first(_GET, of=name)
        return None if row is None else _STATE.decode(row.doc)

    def save(self, state: ImageState) -> None:
        """Insert or replace it."""
        self._session.run(_SAVE, name=state.name, doc=_STATE.encode(state))

    def page(self) -> Sequence[ImageState]:
        """Read all, by name."""
        return [_STATE.decode(row.doc) for row in self._session.rows(_ALL)]

    def resolved(self, reference: str) -> ResolvedImage | None:
        """Read what a reference was resolved to last."""
        row = self._session.first(_RESOLVED, of=reference)
        return None if row is None else ResolvedImage(row.reference, Digest(row.digest), row.at)

    def put_resolved(self, resolved: ResolvedImage) -> None:
        """Insert or replace it."""
        self._session.run(
            _PUT_RESOLVED, reference=resolved.reference, digest=resolved.digest, at=resolved.at
        )

    def pins(self, release: ReleaseId) -> Mapping[str, Digest]:
        """Read what a release's image references are pinned to."""
        rows = self._session.rows(_PINS, of=release)
        return {row.reference: Digest(row.digest) for row in rows}

    def put_pins(self, release: ReleaseId, pins: Mapping[str, Digest]) -> Mapping[str, Digest]:
        """Pin references of a release that are not pinned yet; returns all its pins."""
        rows = [
            {"release": release, "reference": reference, "digest": digest}
            for reference, digest in sorted(pins.items())
        ]
        self._session.run_many(_PIN, rows)
        return self.pins(release)

    def mark(self, application: ApplicationName, release: ReleaseId, marks: Iterable[str]) -> None:
        """Let a release be found by further marks."""
        rows = [
            {"application": application, "mark": mark, "release": release}
            for mark in sorted(set(marks))
        ]
        self._session.run_many(_MARK, rows)

    def marked(self, application: ApplicationName, mark: str) -> Sequence[ReleaseId]:
        """Find the releases that carry a mark, by id."""
        rows = self._session.rows(_MARKED, of_application=application, of_mark=mark)
        return [ReleaseId(row.release) for row in rows]
