"""What a release looks like."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.releases import Release
from gitopsd.entrypoints.http.models import Model
from gitopsd.kube.redaction import redact_text


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


class ReleaseList(Model):
    """Releases, last offered first."""

    items: list[ReleaseView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


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
