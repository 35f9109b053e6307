"""Releases, offers, seen commits and renderings in SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import (
    ApplicationName,
    Line,
    Offer,
    OfferKind,
    Release,
    ReleaseId,
    SeenCommit,
    StageKey,
)
from gitopsd.domain.sources import CommitSha, RefName
from gitopsd.domain.stages import StageRendering
from gitopsd.domain.work import Page
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Row, Session, insert_new, upsert
from gitopsd.store.tables import offers, release_images, releases, renderings, seen_commits

_RELEASE = codec_of(Release)

_ADD = insert_new(releases, "id")
_ADD_IMAGE = insert_new(release_images, "digest", "release")
_GET = sa.select(releases.c.doc).where(releases.c.id == sa.bindparam("of"))
_GET_MANY = sa.select(releases.c.doc).where(
    releases.c.id.in_(sa.bindparam("several", expanding=True))
)
_OFFERED = (
    sa.update(releases)
    .where(releases.c.id == sa.bindparam("of"))
    .values(last_offer=sa.bindparam("number"))
)
_OF_LINE = (
    offers.c.application == sa.bindparam("of_application"),
    offers.c.ref == sa.bindparam("of_ref"),
)
_HEAD = sa.select(offers).where(*_OF_LINE).order_by(offers.c.number.desc()).limit(1)
_LAST = _HEAD.where(offers.c.release == sa.bindparam("of_release"))
_LAST_OF_EACH = (
    sa.select(sa.func.max(offers.c.number).label("number"))
    .where(*_OF_LINE)
    .group_by(offers.c.release)
    .order_by(sa.desc("number"))
    .limit(sa.bindparam("at_most"))
    .subquery()
)
_OFFERS = (
    sa.select(offers)
    .join(_LAST_OF_EACH, _LAST_OF_EACH.c.number == offers.c.number)
    .order_by(offers.c.number.desc())
)
_SEE = upsert(seen_commits, "sha", "application", "ref", keep=("at",))
_SEEN = (
    sa.select(seen_commits)
    .where(seen_commits.c.sha == sa.bindparam("of"))
    .order_by(seen_commits.c.application, seen_commits.c.ref)
)
_PUT_RENDERING = upsert(renderings, "application", "stage", "release")
_RENDERINGS = sa.select(renderings).where(
    renderings.c.application == sa.bindparam("of_application"),
    renderings.c.stage == sa.bindparam("of_stage"),
)


class SqlReleases:
    """Releases, offers, seen commits, renderings; implements ``store_ports.Releases``."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[ReleaseId, Release] = {}

    def add(self, release: Release) -> bool:
        """Store a release; False when its id is there already."""
        added = self._session.run(
            _ADD,
            id=release.id,
            application=release.application,
            commit_sha=release.commit.sha,
            last_offer=0,
            doc=_RELEASE.encode(release),
        )
        images = [{"digest": one, "release": release.id} for one in set(release.images.values())]
        self._session.run_many(_ADD_IMAGE, images if added else ())
        return bool(added)

    def get(self, release: ReleaseId) -> Release | None:
        """Read one; it never changes, so a transaction reads it once."""
        if release not in self._known:
            row = self._session.first(_GET, of=release)
            if row is None:
                return None
            self._known[release] = _RELEASE.decode(row.doc)
        return self._known[release]

    def get_many(self, releases: Iterable[ReleaseId]) -> Mapping[ReleaseId, Release]:
        """Read several at once; those that are not there are left out."""
        wanted = list(dict.fromkeys(releases))
        rows = self._session.rows(_GET_MANY, several=wanted) if wanted else ()
        return {release.id: release for release in (_RELEASE.decode(row.doc) for row in rows)}

    def page(self, application: ApplicationName, page: Page) -> Sequence[Release]:
        """List an application's releases, last offered first, then those never offered.

        The cursor is a release's id. One that is offered again between two pages moves to the top.
        """
        place = sa.tuple_(releases.c.last_offer, releases.c.seq)
        listed = (
            sa.select(releases.c.doc)
            .where(releases.c.application == application)
            .order_by(releases.c.last_offer.desc(), releases.c.seq.desc())
            .limit(page.limit)
        )
        if page.before:
            last = sa.select(releases.c.last_offer, releases.c.seq)
            last = last.where(releases.c.id == page.before)
            listed = listed.where(place < last.scalar_subquery())
        return [_RELEASE.decode(row.doc) for row in self._session.rows(listed)]

    def offer(self, line: Line, release: ReleaseId, at: datetime, kind: OfferKind) -> Offer:
        """Make a release the head of its line under the next number."""
        offer = Offer(self._session.next_number("offers"), line, release, at, kind)
        self._session.run(
            sa.insert(offers),
            number=offer.number,
            application=line.application,
            ref=line.ref,
            release=release,
            at=at,
            kind=kind.value,
        )
        self._session.run(_OFFERED, of=release, number=offer.number)
        return offer

    def head(self, line: Line) -> Offer | None:
        """Read the line's newest offer."""
        row = self._session.first(_HEAD, of_application=line.application, of_ref=line.ref)
        return None if row is None else _offer(row)

    def offers(self, line: Line, limit: int = 200) -> Sequence[Offer]:
        """Read the last offer of each release of a line, newest first."""
        values = {"of_application": line.application, "of_ref": line.ref, "at_most": limit}
        return [_offer(row) for row in self._session.rows(_OFFERS, **values)]

    def last_offer(self, line: Line, release: ReleaseId) -> Offer | None:
        """Read the last offer of one release."""
        values = {"of_application": line.application, "of_ref": line.ref, "of_release": release}
        row = self._session.first(_LAST, **values)
        return None if row is None else _offer(row)

    def see(self, commit: SeenCommit) -> None:
        """Record a commit that was a line's head; again, it keeps its first time."""
        self._session.run(
            _SEE,
            sha=commit.sha,
            application=commit.line.application,
            ref=commit.line.ref,
            release=commit.release,
            at=commit.at,
            concerned=commit.concerned,
        )

    def seen(self, sha: CommitSha) -> Sequence[SeenCommit]:
        """Find where a commit was seen, by line."""
        return [_seen(row) for row in self._session.rows(_SEEN, of=sha)]

    def find(self, application: ApplicationName | None, image_digest: Digest) -> Sequence[Release]:
        """Find releases that carry an image digest, newest first."""
        found = (
            sa.select(releases.c.doc)
            .join(release_images, release_images.c.release == releases.c.id)
            .where(release_images.c.digest == image_digest)
            .order_by(releases.c.seq.desc())
        )
        if application is not None:
            found = found.where(releases.c.application == application)
        return [_RELEASE.decode(row.doc) for row in self._session.rows(found)]

    def put_rendering(self, rendering: StageRendering) -> None:
        """Record what a release rendered to; replaces."""
        self._session.run(
            _PUT_RENDERING,
            application=rendering.stage.application,
            stage=rendering.stage.stage,
            release=rendering.release,
            rendered=rendering.rendered,
            input_key=rendering.input_key,
            images=rendering.images,
        )

    def renderings(self, stage: StageKey) -> Mapping[ReleaseId, StageRendering]:
        """Read what releases rendered to in a stage."""
        values = {"of_application": stage.application, "of_stage": stage.stage}
        rows = self._session.rows(_RENDERINGS, **values)
        return {row.release: _rendering(stage, row) for row in rows}


def _offer(row: Row) -> Offer:
    line = Line(ApplicationName(row.application), RefName(row.ref))
    return Offer(row.number, line, ReleaseId(row.release), row.at, OfferKind(row.kind))


def _seen(row: Row) -> SeenCommit:
    line = Line(ApplicationName(row.application), RefName(row.ref))
    return SeenCommit(line, CommitSha(row.sha), ReleaseId(row.release), row.at, row.concerned)


def _rendering(stage: StageKey, row: Row) -> StageRendering:
    images = tuple(map(Digest, row.images))
    return StageRendering(stage, row.release, Digest(row.rendered), row.input_key, images)
