"""Releases, lines and offers: what travels, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import NewType

from gitopsd.domain.images import ImageOrigin
from gitopsd.domain.manifests import Digest
from gitopsd.domain.sources import Commit, CommitSha, RefName

ApplicationName = NewType("ApplicationName", str)
StageName = NewType("StageName", str)
ReleaseId = NewType("ReleaseId", str)
"""Content id of a release: ``r-`` and 16 hex digits over application, commit and image digests."""


@dataclass(frozen=True, slots=True, order=True)
class StageKey:
    """One stage of one application."""

    application: ApplicationName
    stage: StageName

    def __str__(self) -> str:
        """``application/stage``."""
        return f"{self.application}/{self.stage}"


@dataclass(frozen=True, slots=True, order=True)
class Line:
    """(application, ref): where releases are offered from."""

    application: ApplicationName
    ref: RefName


@dataclass(frozen=True, slots=True)
class Release:
    """What travels as a unit: one Git revision and the digests of all images.

    Attributes:
        id: Content id.
        application: Whose release it is.
        commit: The Git revision.
        images: Image name -> digest, for image sources and pins fixed at creation.
        alias: Two words people can say.
        created_at: When it was first seen.
        inputs: Stage -> key of the inputs its overlay reads from this commit; "" when unknown.
        origins: Image name -> tag and revision of its digest, for the images that have one.
    """

    id: ReleaseId
    application: ApplicationName
    commit: Commit
    images: Mapping[str, Digest] = field(default_factory=dict)
    alias: str = ""
    created_at: datetime | None = None
    inputs: Mapping[StageName, str] = field(default_factory=dict)
    origins: Mapping[str, ImageOrigin] = field(default_factory=dict)


class OfferKind(Enum):
    """How a release became the head of its line."""

    ADVANCED = "Advanced"
    REWOUND = "Rewound"
    REQUESTED = "Requested"


@dataclass(frozen=True, slots=True)
class Offer:
    """A source, or a person, made a release the head of its line.

    Attributes:
        number: Grows by one with each offer of the installation; the only order there is.
        line: Where it was offered.
        release: What was offered.
        at: When.
        kind: Advanced along history, Rewound by a force-push to an older commit, or Requested.
    """

    number: int
    line: Line
    release: ReleaseId
    at: datetime
    kind: OfferKind = OfferKind.ADVANCED


@dataclass(frozen=True, slots=True)
class SeenCommit:
    """A commit that was the head of a line, and the release that has the same inputs.

    Attributes:
        line: Where it was seen.
        sha: The commit.
        release: The release it made, or the one it changes nothing of.
        at: When it was seen.
        concerned: False when no stage reads anything that the commit changed.
    """

    line: Line
    sha: CommitSha
    release: ReleaseId
    at: datetime
    concerned: bool
