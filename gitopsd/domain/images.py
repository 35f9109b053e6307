"""Images as sources of releases: what is followed, where, what was found and resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TypeAlias

from gitopsd.domain.manifests import Digest


@dataclass(frozen=True, slots=True)
class SemverPolicy:
    """Follow the highest version among the tags.

    Attributes:
        range: Which versions count, e.g. ``>=1.4 <2``.
    """

    range: str

    def __str__(self) -> str:
        """``semver >=1.4 <2``."""
        return f"semver {self.range}"


@dataclass(frozen=True, slots=True)
class NewestPolicy:
    """Follow the image that was created last.

    Attributes:
        tags: Pattern of the tags that count: ``*`` stands for any signs, ``?`` for one.
    """

    tags: str = "*"

    def __str__(self) -> str:
        """``newest main-*``."""
        return f"newest {self.tags}"


@dataclass(frozen=True, slots=True)
class DigestPolicy:
    """Follow what one tag points to.

    Attributes:
        tag: The tag, which moves.
    """

    tag: str

    def __str__(self) -> str:
        """``digest main``."""
        return f"digest {self.tag}"


ImagePolicy: TypeAlias = SemverPolicy | NewestPolicy | DigestPolicy
"""Which image of a repository is wanted; its text names it where candidates are stored."""


@dataclass(frozen=True, slots=True)
class ImageSource:
    """An image that an application takes releases from.

    Attributes:
        name: Name in full, with registry host: ``ghcr.io/acme/api``, ``docker.io/library/nginx``.
        policy: Which image of it is wanted.
        group: Images of one group move together; empty for one that moves alone.
    """

    name: str
    policy: ImagePolicy
    group: str = ""


class PinImages(Enum):
    """Which image references beside the image sources are resolved and pinned by digest."""

    NONE = "none"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class ImageOrigin:
    """Where the digest of a release's image came from.

    Attributes:
        tag: Tag that pointed to it.
        revision: Commit of the application it was built from, as its label says; empty when it
            has none (``org.opencontainers.image.revision``, OCI image annotations).
    """

    tag: str = ""
    revision: str = ""


@dataclass(frozen=True, slots=True)
class ImageCandidate:
    """One image that a policy could choose.

    Attributes:
        tag: Tag it was found under.
        digest: What the registry says the tag points to.
        revision: Commit it was built from, as its label says; empty when it has none.
        created: When it was built, as far as that is credible; None otherwise.
        gone: Whether the registry had it once and has it no longer under this tag. It is not
            chosen, and remembered so that its vanishing alone makes no release.
    """

    tag: str
    digest: Digest
    revision: str = ""
    created: datetime | None = None
    gone: bool = False


@dataclass(frozen=True, slots=True)
class ImageState:
    """What is known of one followed image.

    Attributes:
        name: Name in full.
        candidates: Text of each policy -> what it could choose, best first.
        looked_at: When the last look finished.
        next_look_at: When the next look is due without any hint.
        tries: Looks in a row that failed.
        problem: Why the last look failed, or found nothing to choose; empty when it did not.
        unsettled: Whether a look found something else, and the next one, a moment later, counts.
    """

    name: str
    candidates: Mapping[str, tuple[ImageCandidate, ...]] = field(default_factory=dict)
    looked_at: datetime | None = None
    next_look_at: datetime | None = None
    tries: int = 0
    problem: str = ""
    unsettled: bool = False


@dataclass(frozen=True, slots=True)
class ResolvedImage:
    """The digest that a reference was resolved to last.

    Attributes:
        reference: The reference as manifests write it.
        digest: What the registry said.
        at: When it said so.
    """

    reference: str
    digest: Digest
    at: datetime


@dataclass(frozen=True, slots=True)
class RegistrySpec:
    """How to reach a registry, and as whom.

    Attributes:
        name: What people call it.
        host: Host as image names write it, with its port when it has one: ``ghcr.io``.
        url: Address it is asked at; empty for ``https://HOST``.
        credential_file: File with ``user:password``, or with a Docker ``config.json``; empty for
            a registry that is asked without a credential.
        ca_file: CA certificates for HTTPS; empty for the system's.
        token_hosts: Further hosts that may be sent the credential when the registry names them as
            where tokens are had.
    """

    name: str
    host: str
    url: str = ""
    credential_file: str = ""
    ca_file: str = ""
    token_hosts: tuple[str, ...] = ()
