"""Fetches of small pushes over a kept HTTP connection, in this process, without a child.

libgit2 needs some 100 ms for a push of one file over HTTP, most of it waiting for its own second
packet, and a child besides. Here the ref is asked for on a kept connection, and so is the pack
when it moved. The event loop ends it at its deadline as surely as a child is killed; what it
reads is bounded. Everything unusual is left to the child.
"""

from __future__ import annotations

import base64
import fcntl
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pygit2
from pygit2.enums import ObjectType

from gitopsd.adapters.git import protocol
from gitopsd.adapters.git.addresses import Address
from gitopsd.adapters.git.credentials import Login
from gitopsd.adapters.git.failures import transfer_error
from gitopsd.adapters.git.mirrors import Mirror
from gitopsd.adapters.git.protocol import PackedObject, UnusualError
from gitopsd.adapters.git.reading import damage_told, open_mirror
from gitopsd.domain.sources import RefName
from gitopsd.errors import GitopsdError, TemporaryError

MAX_ANSWER_BYTES = 4 << 20
ADVERTISEMENT = "/info/refs?service=git-upload-pack"
PUSH_ADVERTISEMENT = "/info/refs?service=git-receive-pack"
_CONNECT_SECONDS = 10
_KEEP_SECONDS = 75
_CONNECTIONS_PER_HOST = 4
_CHUNK_BYTES = 1 << 16
_REFUSALS: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Credential",
    HTTPStatus.FORBIDDEN: "Credential",
    HTTPStatus.NOT_FOUND: "NotFound",
}
_KINDS = {
    b"commit": ObjectType.COMMIT,
    b"tree": ObjectType.TREE,
    b"blob": ObjectType.BLOB,
    b"tag": ObjectType.TAG,
}


class QuickFetcher:
    """Speaks to remotes over HTTP. Its session is made when it is first used."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None
        self._usual: set[str] = set()

    async def close(self) -> None:
        """Close the connections. Safe to repeat: there are none left."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def check_place(
        self, address: Address, ref: RefName, login: Login, advertisement: str = ADVERTISEMENT
    ) -> None:
        """Check that the remote itself answers, before a child is told the password.

        libgit2 follows redirects within a host, to another port too, and takes the password along.

        Raises:
            GitopsdError: The remote redirects, refuses or cannot be reached.
        """
        with suppress(UnusualError):
            await self._ask(address, ref, login, advertisement, None)

    async def find_target(self, address: Address, ref: RefName, login: Login) -> str | None:
        """Ask where a ref points; None when the remote does not have it.

        Raises:
            GitopsdError: The remote refuses or cannot be reached.
            UnusualError: The child has to ask.
        """
        await self._check_usual(address, ref, login)
        body = protocol.request_ref(ref)
        answer = await self._ask(address, ref, login, "/git-upload-pack", body)
        return protocol.parse_ref(answer, ref)

    async def find_tags(
        self, address: Address, ref: RefName, login: Login
    ) -> dict[str, tuple[str, str]]:
        """Ask for all tags: name -> what it points to, and what that comes to.

        Args:
            address: The remote.
            ref: What errors say was asked for.
            login: Who asks.

        Raises:
            GitopsdError: The remote refuses or cannot be reached.
            UnusualError: The child has to ask.
        """
        await self._check_usual(address, ref, login)
        body = protocol.request_tags()
        answer = await self._ask(address, ref, login, "/git-upload-pack", body)
        return protocol.parse_tags(answer)

    async def _check_usual(self, address: Address, ref: RefName, login: Login) -> None:
        if address.url not in self._usual:
            answer = await self._ask(address, ref, login, ADVERTISEMENT, None)
            protocol.check_advertisement(answer)
            self._usual.add(address.url)

    async def fetch_objects(
        self, address: Address, ref: RefName, login: Login, want: str, have: str
    ) -> bytes:
        """Fetch what one commit has and another does not, as a pack.

        Raises:
            GitopsdError: The remote refuses or cannot be reached.
            UnusualError: The child has to fetch.
        """
        body = protocol.request_pack(want, [have])
        return protocol.parse_pack_answer(
            await self._ask(address, ref, login, "/git-upload-pack", body)
        )

    async def _ask(
        self, address: Address, ref: RefName, login: Login, path: str, body: bytes | None
    ) -> bytes:
        try:
            return await self._send(address, ref, login, path, body)
        except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
            # A kept connection that the server has closed meanwhile; a new one tells the truth.
            # Nothing is changed by asking twice.
            pass
        try:
            return await self._send(address, ref, login, path, body)
        except aiohttp.ClientSSLError as error:
            raise transfer_error(address, ref, login, "HostKey", str(error)) from error
        except aiohttp.ClientError as error:
            raise transfer_error(address, ref, login, "Unavailable", str(error)) from error

    async def _send(
        self, address: Address, ref: RefName, login: Login, path: str, body: bytes | None
    ) -> bytes:
        headers = {"Git-Protocol": "version=2", "Accept-Encoding": "identity"}
        if body is not None:
            headers["Content-Type"] = "application/x-git-upload-pack-request"
            headers["Accept"] = "application/x-git-upload-pack-result"
        if login.password:
            pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
            headers["Authorization"] = f"Basic {pair}"
        async with self._get_session().request(
            "GET" if body is None else "POST",
            address.url.rstrip("/") + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            ssl=_tls(login.ca_file) if address.scheme == "https" else True,
        ) as answer:
            if answer.status != HTTPStatus.OK:
                raise _refusal(address, ref, login, answer)
            return await _read(answer)

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    keepalive_timeout=_KEEP_SECONDS, limit_per_host=_CONNECTIONS_PER_HOST
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "git/2.0 (gitopsd)"},
            )
        return self._session


@lru_cache(maxsize=16)
def _tls_of(ca_file: str, _changed: int) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=ca_file or None)


def _tls(ca_file: str) -> ssl.SSLContext:
    return _tls_of(ca_file, Path(ca_file).stat().st_mtime_ns if ca_file else 0)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    content = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        content += chunk
        if len(content) > MAX_ANSWER_BYTES:
            raise UnusualError("a large answer")
    return bytes(content)


def _refusal(
    address: Address, ref: RefName, login: Login, answer: aiohttp.ClientResponse
) -> GitopsdError:
    if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.BAD_REQUEST:
        host = urlsplit(answer.headers.get("Location", "")).netloc or "itself"
        return transfer_error(address, ref, login, "Redirected", f"to {host}")
    if answer.status in _REFUSALS:
        reason = _REFUSALS[answer.status]
        return transfer_error(address, ref, login, reason, f"HTTP {answer.status}")
    error = transfer_error(address, ref, login, "Unavailable", f"HTTP {answer.status}")
    if isinstance(error, TemporaryError):
        error.retry_after = _retry_after(answer.headers.get("Retry-After", ""))
    return error


def _retry_after(text: str) -> timedelta | None:
    return timedelta(seconds=min(int(text), 3600)) if text.isdecimal() else None


@damage_told()
def find_own(mirror: Mirror, local: str) -> str | None:
    """Find what a ref points to here, which the mirror holds completely; None when it is new.

    The other refs are not listed: there is a pin for each release, and opening them takes longer
    than a fetch.
    """
    reference = open_mirror(mirror.path).references.get(local)
    return None if reference is None else str(reference.target)


@damage_told()
def remove_ref(mirror: Mirror, local: str) -> None:
    """Remove a ref that the remote does not have any more.

    Raises:
        UnusualError: Another process writes to the mirror.
    """
    repository = open_mirror(mirror.path)
    with _locked(mirror):
        repository.references.delete(local)


def store_objects(mirror: Mirror, local: str, target: str, pack: bytes) -> None:
    """Write a small pack into the mirror, object by object, and point the ref to its head.

    Each object's id is computed anew, so that no pack can put one object in another's place.
    Commits are written last: what is there of them is complete.

    Raises:
        UnusualError: The pack is not small and simple, or lacks something.
    """
    objects = protocol.parse_pack(pack)
    with damage_told():
        repository = open_mirror(mirror.path)
        with _locked(mirror):
            for found in sorted(objects, key=lambda item: item.kind in (b"commit", b"tag")):
                repository.odb.write(_KINDS[found.kind], found.content)
            _check_closed(repository, objects, target)
            repository.references.create(local, pygit2.Oid(hex=target), force=True)


def _check_closed(repository: pygit2.Repository, objects: list[PackedObject], target: str) -> None:
    needed = [target]
    for found in objects:
        if found.kind in (b"commit", b"tag"):
            head = found.content.partition(b"\n\n")[0].decode(errors="replace")
            facts = (line.split(" ") for line in head.split("\n"))
            needed += [fact[1] for fact in facts if fact[0] in ("tree", "parent", "object")]
    if not all(pygit2.Oid(hex=name) in repository.odb for name in needed):
        raise UnusualError("the pack is not complete")


@contextmanager
def _locked(mirror: Mirror) -> Iterator[None]:
    """Hold the mirror's lock, without waiting for it."""
    handle = os.open(mirror.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UnusualError("another process writes to the mirror") from error
        yield
    finally:
        os.close(handle)
