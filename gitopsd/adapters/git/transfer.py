"""Network Git with libgit2, inside the child: fetches refs into a bare mirror.

Imports nothing of gitopsd, to keep the child small.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import CredentialType, FetchPrune
from pygit2.ffi import C

from gitopsd.adapters.git.configuration import ignore_configuration

HEADS = "refs/gitopsd/heads/"
PINS = "refs/gitopsd/pins/"
TAGS = "refs/tags/"
_PEELED = "^{}"
CONNECT_TIMEOUT_MS = 10_000
READ_TIMEOUT_MS = 30_000
MAX_MAPPED_BYTES = 1 << 30
_DAMAGE = (
    "corrupt",
    "no match for id",
    "missing delta base",
    "missing base",
    "failed to read loose",
    "invalid pack",
    "packfile",
    "inflate",
    "not a git repository",
    "could not find repository",
    "unsupported object",
)


class TransferError(Exception):
    """A transfer ended without its result; ``reason`` is a word of the parent's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Callbacks(pygit2.RemoteCallbacks):
    """Answers libgit2's questions: who we are, and whether the other side is who it should be."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        super().__init__()
        self.request = request
        self._asked = 0
        self.refused_key = False
        self._fetch_options: Any = None

    @property
    def fetch_options(self) -> Any:
        """Options that pygit2 hands to libgit2."""
        return self._fetch_options

    @fetch_options.setter
    def fetch_options(self, options: Any) -> None:
        # pygit2 has no argument for it; without it a redirect to another host is followed.
        options.follow_redirects = C.GIT_REMOTE_REDIRECT_NONE
        self._fetch_options = options

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:  # noqa: ARG002, FBT001 - libgit2's signature
        """Accept what libgit2 found valid; its own default accepts every SSH host."""
        if not valid:
            self.refused_key = True
        return valid

    def credentials(
        self,
        url: str,
        username_from_url: str | None,
        allowed_types: CredentialType,
    ) -> pygit2.UserPass | pygit2.Keypair | pygit2.Username:
        """Give the credentials once, and only to the configured scheme, host and port."""
        request = self.request
        login = CredentialType.USERNAME
        if allowed_types & login and not allowed_types & ~login:
            return pygit2.Username(request["user"])
        self._asked += 1
        if self._asked == 1 and _is_same_place(url, request["url"]):
            if allowed_types & CredentialType.SSH_KEY and request["ssh_key_file"]:
                user = username_from_url or request["user"]
                return pygit2.Keypair(user, None, request["ssh_key_file"], "")
            if allowed_types & CredentialType.USERPASS_PLAINTEXT and request["password"]:
                return pygit2.UserPass(request["user"], request["password"])
        raise TransferError("Credential", "the remote asks for other credentials")


def _is_same_place(asked: str, configured: str) -> bool:
    if "://" not in configured:  # scp-like: libgit2 asks with the address as it was given
        return asked == configured
    one, other = urlsplit(asked), urlsplit(configured)
    return (one.scheme, one.hostname, one.port) == (other.scheme, other.hostname, other.port)


def run_transfer(request: Mapping[str, Any]) -> str | None:
    """Fetch one ref into a mirror; returns its commit or tag id, None when the remote has none.

    Args:
        request: ``mirror``, ``url``, ``ref``, ``local`` (name of the ref here), credentials, and
            ``old``: a mirror whose refs are taken over, when a new one is being made. `lock` is the
            file that one writer of the mirror holds.

    Raises:
        TransferError: With the reason, in a word of the parent's.
    """
    configure(request)
    mirror = Path(request["mirror"])
    with _locked(request["lock"]):
        callbacks = Callbacks(request)
        repository = open_mirror(mirror)
        try:
            head = _fetch(repository, request, callbacks)
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise translate(error, callbacks) from error
        if request.get("old"):
            _take_over(repository, Path(request["old"]))
        return head


def list_tags(request: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Ask a remote for all tags: name -> what it points to, and what that comes to.

    Args:
        request: ``mirror``, ``url``, ``lock`` and credentials, as for `run_transfer`.

    Raises:
        TransferError: With the reason, in a word of the parent's.
    """
    configure(request)
    with _locked(request["lock"]):
        callbacks = Callbacks(request)
        repository = open_mirror(Path(request["mirror"]))
        try:
            remote = repository.remotes.create_anonymous(request["url"])
            heads = {str(one.name): str(one.oid) for one in remote.list_heads(callbacks=callbacks)}
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise translate(error, callbacks) from error
    return {
        name.removeprefix(TAGS): (target, heads.get(f"{name}{_PEELED}", target))
        for name, target in heads.items()
        if name.startswith(TAGS) and not name.endswith(_PEELED)
    }


def configure(request: Mapping[str, Any]) -> None:
    """Prepare libgit2 in this process for one request."""
    ignore_configuration()
    settings = pygit2.settings
    settings.server_connect_timeout = CONNECT_TIMEOUT_MS
    settings.server_timeout = READ_TIMEOUT_MS
    settings.mwindow_mapped_limit = MAX_MAPPED_BYTES
    settings.homedir = request["home"]
    if request["ca_file"]:
        settings.set_ssl_cert_locations(request["ca_file"], None)


@contextlib.contextmanager
def _locked(lock: str) -> Iterator[None]:
    """Hold the mirror's lock; the kernel lets go of it when this process ends."""
    handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def open_mirror(mirror: Path) -> pygit2.Repository:
    """Open a mirror, or begin one.

    Raises:
        TransferError: ``Damaged``, when it cannot be read.
    """
    if not mirror.is_dir():
        return pygit2.init_repository(str(mirror), bare=True)
    try:
        return pygit2.Repository(str(mirror))
    except (pygit2.GitError, KeyError, ValueError, OSError) as error:
        raise TransferError("Damaged", str(error)) from error


def _fetch(
    repository: pygit2.Repository, request: Mapping[str, Any], callbacks: Callbacks
) -> str | None:
    remote = repository.remotes.create_anonymous(request["url"])
    remote.fetch(
        [f"+{request['ref']}:{request['local']}"], callbacks=callbacks, prune=FetchPrune.PRUNE
    )
    reference = repository.references.get(request["local"])
    return None if reference is None else str(reference.target)


def _take_over(repository: pygit2.Repository, old: Path) -> None:
    """Copy refs and what they need from the mirror that is replaced; a damaged one gives less."""
    with contextlib.suppress(pygit2.GitError, KeyError, ValueError, OSError):
        # These two make a directory a repository, and hold nothing of ours.
        (old / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
        (old / "config").write_text("[core]\n\tbare = true\n", encoding="ascii")
        for name in pygit2.Repository(str(old)).references:
            if name.startswith((HEADS, PINS)) and name not in repository.references:
                with contextlib.suppress(pygit2.GitError, KeyError, ValueError, OSError):
                    repository.remotes.create_anonymous(str(old)).fetch([f"+{name}:{name}"])


def translate(error: Exception, callbacks: Callbacks) -> TransferError:
    """Say what libgit2 ran into in a word of the parent's."""
    text = str(error)
    lower = text.lower()
    if isinstance(error, pygit2.AuthError):
        return TransferError("Credential", text)
    if callbacks.refused_key:
        return TransferError("HostKey", text)
    if "401" in lower or "403" in lower or "authentication" in lower:
        return TransferError("Credential", text)
    if "redirect" in lower:
        return TransferError("Redirected", text)
    if "404" in lower:
        return TransferError("NotFound", text)
    if isinstance(error, KeyError) or any(word in lower for word in _DAMAGE):
        return TransferError("Damaged", text)
    return TransferError("Unavailable", text)
