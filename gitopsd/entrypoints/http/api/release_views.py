"""What a release looks like."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.releases import Line, Release
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text
from gitopsd.store_ports import Transaction


class CommitView(Model):
    """One Git commit."""

    sha: str
    subject: str
    author: str
    author_email: str
    committed_at: datetime | None


class ReleaseView(Model):
    """What travels as a unit."""

    id: str
    alias: str = Field(description="Two words people can say.")
    application: str
    commit: CommitView
    images: dict[str, str] = Field(description="Image name to digest.")
    tags: dict[str, str] = Field(description="Image name to the tag its digest was found under.")
    revisions: dict[str, str] = Field(
        description="Image name to the commit it was built from, as its label says."
    )
    created_at: datetime | None


class OfferView(Model):
    """How a release was offered last on one line."""

    ref: str = Field(description="The branch or tag pattern that the line follows.")
    number: int = Field(description="Grows with each offer; the only order there is.")
    kind: str = Field(
        description="Advanced along history, Rewound by a force-push to an older commit, or "
        "Requested by a person."
    )
    at: datetime


class OfferedReleaseView(ReleaseView):
    """A release, and how it was offered."""

    offers: list[OfferView] = Field(description="Its last offer on each line it was offered on.")


class ReleaseList(Model):
    """Releases, last offered first."""

    items: list[OfferedReleaseView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


def view_offered(tx: Transaction, release: Release) -> OfferedReleaseView:
    """Describe a release and how it was offered on the lines of its application."""
    spec = tx.specs.current(release.application)
    refs = sorted({spec.ref_of(stage) for stage in spec.stages}) if spec is not None else []
    lines = (Line(release.application, ref) for ref in refs)
    found = (tx.releases.last_offer(line, release.id) for line in lines)
    return OfferedReleaseView(
        **dict(view_release(release)),
        offers=[
            OfferView(ref=one.line.ref, number=one.number, kind=one.kind.value, at=one.at)
            for one in found
            if one is not None
        ],
    )


def view_release(release: Release) -> ReleaseView:
    """Describe a release."""
    commit = release.commit
    return ReleaseView(
        id=release.id,
        alias=release.alias,
        application=release.application,
        commit=CommitView(
            sha=commit.sha,
            subject=redact_text(commit.subject),
            author=commit.author,
            author_email=commit.author_email,
            committed_at=commit.committed_at,
        ),
        images=dict(release.images),
        tags={name: one.tag for name, one in release.origins.items() if one.tag},
        revisions={name: one.revision for name, one in release.origins.items() if one.revision},
        created_at=release.created_at,
    )
