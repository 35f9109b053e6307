"""Which repository addresses are accepted, and which credentials belong to one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from gitopsd.domain.sources import (
    RepositorySpec,
    RepoURL,
)
from gitopsd.errors import PermanentError

DEFAULT_PORTS = {"https": 443, "http": 80, "ssh": 22}
_SCP_LIKE = re.compile(r"(?P<user>[A-Za-z0-9._-]+)@(?P<host>[A-Za-z0-9.-]+):(?P<path>[^:]+)")
_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f]")
_EITHER = "an https:// or ssh:// address"
_HOST = re.compile(r"[A-Za-z0-9.-]+|[0-9A-Fa-f:.]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A repository address taken apart.

    Attributes:
        url: The address as the configuration writes it.
        scheme: ``https``, ``http``, ``ssh`` or ``file``.
        host: Host name or IP address; empty for ``file``.
        port: Port, the scheme's own when none is written; 0 for ``file``.
        user: Login of an SSH address; empty otherwise.
    """

    url: RepoURL
    scheme: str
    host: str = ""
    port: int = 0
    user: str = ""

    @property
    def over_http(self) -> bool:
        """Whether it is spoken to in HTTP, with or without TLS."""
        return self.scheme in ("https", "http")


def parse_address(url: RepoURL, *, allow_local: bool = False) -> Address:
    """Take a repository address apart, or refuse it.

    What Git itself would also take (local paths, ``file://``, ``ext::``, ``git://``) is refused:
    a configuration file must not read this machine's disk or run its programs, and ``git://``
    lets anybody on the way change the answer.

    Args:
        url: The address.
        allow_local: Accept absolute paths and ``file://``, for tests and demonstrations.

    Raises:
        PermanentError: ``RepositoryAddress``, with what to write instead.
    """
    if _UNPRINTABLE.search(url) or "::" in url.partition("//")[0]:
        raise _refused(url, "it is no address", _EITHER)
    if allow_local and (url.startswith(("/", "file:///"))):
        return Address(url, "file")
    scp_like = _SCP_LIKE.fullmatch(url)
    if scp_like is not None:
        _check_path(url, scp_like["path"])
        return Address(url, "ssh", scp_like["host"], DEFAULT_PORTS["ssh"], scp_like["user"])
    return _parse_url(url)


def _parse_url(url: RepoURL) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise _refused(url, f"it is no address ({error})", _EITHER) from error
    if parts.scheme not in DEFAULT_PORTS:
        what = f"{parts.scheme}:// is not accepted" if parts.scheme else "local paths are refused"
        raise _refused(url, what, _EITHER)
    if not parts.hostname or not _HOST.fullmatch(parts.hostname):
        raise _refused(url, "it names no host", f"{parts.scheme}://host/path.git")
    if parts.query or parts.fragment:
        raise _refused(url, "it has a query or a fragment", "the address alone")
    _check_path(url, parts.path)
    if parts.scheme == "ssh":
        return Address(url, "ssh", parts.hostname, port, _ssh_user(url, parts))
    if parts.username is not None:
        raise _refused(
            without_password(url),
            "it holds credentials",
            "them into files that config/repositories names, and the address without them",
        )
    return Address(url, parts.scheme, parts.hostname, port)


def _ssh_user(url: RepoURL, parts: SplitResult) -> str:
    if parts.password is not None:
        raise _refused(without_password(url), "it holds a password", "an SSH key instead")
    return parts.username or "git"


def _check_path(url: RepoURL, path: str) -> None:
    segments = path.strip("/").split("/")
    if not path.strip("/") or {".", ".."} & set(segments) or path.startswith("-"):
        raise _refused(url, "its path is not the path of a repository", "the path without . and ..")


def _refused(url: str, problem: str, instead: str) -> PermanentError:
    message = f"repository address {url!r}: {problem}; write {instead}"
    return PermanentError(message, reason="RepositoryAddress")


def without_password(url: str) -> str:
    """Write an address without what stands before its host."""
    scheme, separator, rest = url.partition("://")
    place, slash, path = rest.partition("/")
    return f"{scheme}{separator}{place.rpartition('@')[2]}{slash}{path}" if separator else url


def select_repository(url: RepoURL, specs: Iterable[RepositorySpec]) -> RepositorySpec | None:
    """Find the configured credentials of an address: the longest prefix of whole path segments.

    ``https://git.example/acme`` covers ``https://git.example/acme/shop.git`` and neither
    ``https://git.example/acme2`` nor ``https://git.example.evil.test/acme``.
    """
    matching = [spec for spec in specs if spec.url_prefix and covers(spec.url_prefix, url)]
    return max(matching, key=lambda spec: len(spec.url_prefix), default=None)


def covers(prefix: str, url: str) -> bool:
    """Whether an address lies under a prefix, segment by segment."""
    if not url.startswith(prefix):
        return False
    rest = url[len(prefix) :]
    ends = "/" if "://" in prefix else "/:"
    # A prefix that is a mere scheme would give its credentials to every host.
    whole = prefix.endswith("/") and not prefix.endswith("://")
    return not rest or whole or rest[0] in ends or (prefix[-1] == ":" and "://" not in prefix)
