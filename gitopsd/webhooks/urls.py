"""Repository addresses: which of them mean the same repository.

A match only decides where to look, so the comparison is generous: a look too many costs a moment,
a missed hint costs a poll interval. Credentials are never chosen by these functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote, urlsplit

_MAX_CHARACTERS = 2048
_UNUSABLE = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_SCP_LIKE = re.compile(r"(?:[^@/:]+@)?(\[[^\]/]+\]|[^:/@\[\]]+):(?!//)(.+)")
_USER = re.compile(r"://[^/?#]*@")
_TRANSPORTS = {
    "http": ("web", 80),
    "https": ("web", 443),
    "ssh": ("ssh", 22),
    "git+ssh": ("ssh", 22),
    "git": ("git", 9418),
}


@dataclass(frozen=True, slots=True)
class RepositoryAddress:
    """A repository address without what does not matter for identity.

    Attributes:
        transport: ``web``, ``ssh``, ``git``, ``file``, or empty for a bare path.
        host: Lower-case host name; empty for a bare path or a file.
        port: Port when it is not the transport's usual one; else None.
        path: Path without slashes at its ends and without ``.git``, case folded.
    """

    transport: str
    host: str
    port: int | None
    path: str

    def __str__(self) -> str:
        """``host:port/path``, never with a user name or password."""
        port = "" if self.port is None else f":{self.port}"
        return f"{self.host}{port}/{self.path}" if self.host else self.path


def parse_repository_url(text: str) -> RepositoryAddress | None:
    """Read an https, ssh, git or file URL, an scp-like address, or a bare path.

    User names, passwords, queries and fragments are dropped.

    Returns:
        The address; None when the text is none.
    """
    stripped = text.strip()
    if not stripped or len(stripped) > _MAX_CHARACTERS:
        return None
    return _parse_stripped(stripped)


@lru_cache(maxsize=512)
def _parse_stripped(text: str) -> RepositoryAddress | None:
    """Read an address of bounded length; each delivery speaks of the same few again."""
    if _UNUSABLE.search(text):
        return None
    if "://" in text:
        return _parse_url(text)
    scp_like = _SCP_LIKE.fullmatch(text)
    if scp_like:
        return _make("ssh", scp_like[1].strip("[]"), None, scp_like[2])
    return _make("file" if text.startswith("/") else "", "", None, text)


def drop_user(url: str) -> str:
    """Leave out user name and password, so that an address can be stored and shown."""
    return _USER.sub("://", url, count=1)


def same_repository(one: str, other: str) -> bool:
    """Tell whether two addresses mean one repository.

    The transport does not matter. Ports matter between addresses of one transport only: a host
    serves https and ssh on different ports. A bare path (``team/app``) matches it on any host.
    """
    first, second = parse_repository_url(one), parse_repository_url(other)
    if first is None or second is None or first.path != second.path:
        return False
    return _same_place(first, second)


def covers(prefix: str, address: str) -> bool:
    """Tell whether a repository or image address lies at or under a prefix.

    Args:
        prefix: Address, or the beginning of one up to a slash: ``https://git.example/team``.
        address: What a delivery speaks of.
    """
    outer, inner = parse_repository_url(prefix), parse_repository_url(address)
    if outer is None or inner is None:
        return False
    under = inner.path == outer.path or inner.path.startswith(f"{outer.path}/")
    return (under or not outer.path) and _same_place(outer, inner)


def _same_place(one: RepositoryAddress, other: RepositoryAddress) -> bool:
    if not one.transport or not other.transport:
        return True
    if one.transport == other.transport and one.port != other.port:
        return False
    return one.host == other.host


def _parse_url(text: str) -> RepositoryAddress | None:
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError:  # a broken IPv6 address or port
        return None
    if parts.scheme == "file":
        return _make("file", "", None, parts.path)
    transport, usual_port = _TRANSPORTS.get(parts.scheme, ("", 0))
    if not transport or not host:
        return None
    return _make(transport, host, None if port == usual_port else port, unquote(parts.path))


def _make(transport: str, host: str, port: int | None, path: str) -> RepositoryAddress | None:
    folded = re.sub("/+", "/", path).strip("/").removesuffix(".git").rstrip("/").casefold()
    if (not folded and not host) or _UNUSABLE.search(host + folded):
        return None
    return RepositoryAddress(transport, host.rstrip(".").lower(), port, folded)
