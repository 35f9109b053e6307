"""Where releases come from: repositories, commits, images, and the facts that webhooks report."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import NewType, TypeAlias

CommitSha = NewType("CommitSha", str)
"""Full Git object id of a commit, 40 or 64 lower-case hex digits."""

RefName = NewType("RefName", str)
"""Full ref name: ``refs/heads/main``, ``refs/tags/v1``."""

RepoURL = NewType("RepoURL", str)
"""Repository address as the configuration writes it."""

ReceiverName = NewType("ReceiverName", str)
"""Name of a configured receiver, the last part of its webhook address."""

DeliveryId = NewType("DeliveryId", str)
"""Id of one stored delivery."""


@dataclass(frozen=True, slots=True)
class GitPush:
    """A sender says that a ref moved. A hint to look, never a commit to trust.

    Attributes:
        urls: Every address the payload gives for the repository (https, ssh, git).
        ref: Full ref name.
        before: Commit before the push; None when the ref was created.
        after: Commit after the push; None when the ref was deleted.
        forced: Whether the sender says history was rewritten.
        pusher: Login of who pushed, for the audit log; empty when not said.
    """

    urls: tuple[str, ...]
    ref: RefName
    before: CommitSha | None
    after: CommitSha | None
    forced: bool = False
    pusher: str = ""


@dataclass(frozen=True, slots=True)
class ImagePush:
    """A sender says that an image was pushed. A hint to look.

    Attributes:
        repository: Image name with registry host, without tag: ``ghcr.io/acme/api``.
        tag: Tag that moved; empty for a push by digest.
        digest: Digest the sender reports; empty when not said.
    """

    repository: str
    tag: str = ""
    digest: str = ""


@dataclass(frozen=True, slots=True)
class ImagePushes:
    """A sender tells of several images at once.

    Attributes:
        pushes: What was pushed, each image and tag once, in the order they were told.
    """

    pushes: tuple[ImagePush, ...]


SourceEvent: TypeAlias = GitPush | ImagePush | ImagePushes
"""The normalised fact of a delivery."""


@dataclass(frozen=True, slots=True)
class Ping:
    """The sender tests the address; it is answered and not stored."""


@dataclass(frozen=True, slots=True)
class Unconcerned:
    """Well signed, but of a kind that concerns nothing here.

    Attributes:
        reason: What it was, for the answer and the log.
    """

    reason: str


Received: TypeAlias = GitPush | ImagePush | ImagePushes | Ping | Unconcerned
"""Everything a usable delivery can turn out to be."""


class DeliveryState(Enum):
    """Life of a delivery."""

    STORED = "Stored"
    DONE = "Done"
    DEAD_LETTERED = "DeadLettered"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request from a provider, as the inbox holds it.

    Attributes:
        id: Row id.
        receiver: Which address it came to.
        key: The provider's delivery key; empty when it has none.
        body_sha256: Hex digest of the raw body.
        headers: Lower-case header names -> values, signatures left out.
        body: Raw bytes.
        received_at: When it was accepted.
        state: Stored, done, or dead-lettered.
        attempts: Times that work on it began; counted before the work.
        reason: Why it was dead-lettered, or what became of it.
    """

    id: DeliveryId
    receiver: ReceiverName
    key: str
    body_sha256: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    received_at: datetime
    state: DeliveryState = DeliveryState.STORED
    attempts: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as Git holds it.

    Attributes:
        sha: Its id.
        subject: First line of the message.
        author: Author name.
        author_email: Author e-mail, for "the author may not approve".
        committed_at: Committer time, shown only; nothing is ordered by it.
    """

    sha: CommitSha
    subject: str = ""
    author: str = ""
    author_email: str = ""
    committed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What a path of a commit holds.

    Attributes:
        mode: Git file mode: 0o100644 or 0o100755 for a file, 0o120000 for a symbolic link.
        blob: Object id of the content.
    """

    mode: int
    blob: str


@dataclass(frozen=True, slots=True)
class RefState:
    """What is known of one watched ref.

    Attributes:
        repo: Repository address.
        ref: Full ref name.
        head: Commit last read from the remote; None before the first look or after deletion.
        wanted: Counts the hints to look.
        done: Value of ``wanted`` that the last finished look started with.
        expected: Commit that the last hint named; looked for again while the remote lacks it.
        looked_at: When the last look finished.
        next_look_at: When the next look is due without any hint.
        tries: Looks since the last hint that did not see ``expected`` yet, or failed.
        problem: Why the last look failed; empty when it did not.
        tag: Tag that the last look chose, where tags are followed; empty otherwise.
    """

    repo: RepoURL
    ref: RefName
    head: CommitSha | None = None
    wanted: int = 0
    done: int = 0
    expected: CommitSha | None = None
    looked_at: datetime | None = None
    next_look_at: datetime | None = None
    tries: int = 0
    problem: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class PushSpec:
    """How commits of gitopsd's own are pushed: another credential than the one that reads.

    Attributes:
        username_file: File with the user name; empty when not used.
        password_file: File with the password or token; empty when not used.
        ssh_key_file: File with the private key; empty when not used.
        author_name: Who the commits say they are from.
        author_email: E-mail they carry.
    """

    username_file: str = ""
    password_file: str = ""
    ssh_key_file: str = ""
    author_name: str = "gitopsd"
    author_email: str = "gitopsd@localhost"


@dataclass(frozen=True, slots=True)
class RepositorySpec:
    """Credentials for the repositories under a URL prefix.

    Attributes:
        name: What people call it.
        url_prefix: Addresses it applies to; the longest match wins.
        username_file: File with the user name; empty when not used.
        password_file: File with the password or token.
        ssh_key_file: File with the private key.
        known_hosts_file: Host keys that are accepted; without it no SSH host is.
        ca_file: CA certificates for HTTPS; empty for the system's.
        push: How commits are pushed; None when nothing is.
    """

    name: str
    url_prefix: str
    username_file: str = ""
    password_file: str = ""
    ssh_key_file: str = ""
    known_hosts_file: str = ""
    ca_file: str = ""
    push: PushSpec | None = None


class ReceiverType(Enum):
    """Wire format of a receiver."""

    GITHUB = "github"
    GENERIC = "generic"
    DISTRIBUTION = "distribution"


@dataclass(frozen=True, slots=True)
class ReceiverSpec:
    """A configured webhook address.

    Attributes:
        name: Last part of the address ``/hooks/NAME``.
        type: Wire format.
        secret_files: One or two files with live secrets; two while rotating.
        sources: Repository URL or image prefixes it may speak of; empty for all.
    """

    name: ReceiverName
    type: ReceiverType
    secret_files: tuple[str, ...]
    sources: tuple[str, ...] = ()
