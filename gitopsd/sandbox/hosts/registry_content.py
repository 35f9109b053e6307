"""What a registry holds, in memory and bounded: blobs, manifests, tags. Refusals are the OCI ones.

Source: OCI distribution specification 1.1, with the error codes of its section "Error Codes".
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING

import orjson

from gitopsd.errors import PermanentError
from gitopsd.sandbox.fields import objects_at, text_at

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

LARGEST_MANIFEST_BYTES = 4 * 1024 * 1024
MOST_BYTES = 512 * 1024 * 1024
MOST_UPLOADS = 100
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_INDEX_SIGNS = ("image.index.", "manifest.list.")


class Refused(PermanentError):  # noqa: N818 - an answer, not a fault
    """A request that the registry refuses.

    Args:
        status: HTTP status.
        code: One of the specification's error codes.
        message: Why.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message, reason=code)
        self.status = status


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest or index, byte for byte.

    Attributes:
        media_type: What it was pushed as.
        content: Its bytes.
        digest: Its address.
    """

    media_type: str
    content: bytes
    digest: str


@dataclass(slots=True)
class Repository:
    """One repository.

    Attributes:
        blobs: Digests of the blobs that it holds.
        manifests: Its manifests by digest.
        tags: Tag -> digest.
    """

    blobs: set[str] = field(default_factory=set)
    manifests: dict[str, Manifest] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def digest_of(content: bytes) -> str:
    """``sha256:...`` of some content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Content:
    """Everything that was pushed.

    Args:
        most_bytes: More is refused, in sum.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._blobs: dict[str, bytes] = {}
        self._bytes = 0
        self._uploads: dict[str, bytearray] = {}
        self.repositories: dict[str, Repository] = {}

    def repository(self, name: str) -> Repository:
        """The repository of a name.

        Raises:
            Refused: There is none.
        """
        found = self.repositories.get(name)
        if found is None:
            raise Refused(
                HTTPStatus.NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry"
            )
        return found

    def blob(self, name: str, digest: str) -> bytes:
        """A blob of a repository.

        Raises:
            Refused: It is not there.
        """
        repository = self.repositories.get(name)
        if repository is None or digest not in repository.blobs:
            raise Refused(HTTPStatus.NOT_FOUND, "BLOB_UNKNOWN", "blob unknown to registry")
        return self._blobs[digest]

    def put_blob(self, name: str, digest: str, content: bytes) -> None:
        """Keep a blob.

        Raises:
            Refused: The digest is another one, or there is no room.
        """
        if not _DIGEST.fullmatch(digest) or digest_of(content) != digest:
            raise _digest_invalid()
        if digest not in self._blobs:
            self._claim(len(content))
            self._blobs[digest] = content
        self.repositories.setdefault(name, Repository()).blobs.add(digest)

    def mount_blob(self, name: str, digest: str, source: str) -> bool:
        """Take a blob over from another repository; false: it is not there."""
        held = self.repositories.get(source)
        if held is None or digest not in held.blobs:
            return False
        self.repositories.setdefault(name, Repository()).blobs.add(digest)
        return True

    def delete_blob(self, name: str, digest: str) -> None:
        """Let a repository forget a blob.

        Raises:
            Refused: It is not there.
        """
        self.blob(name, digest)
        self.repositories[name].blobs.discard(digest)

    def start_upload(self) -> str:
        """Begin an upload; returns its id.

        Raises:
            Refused: Too many are open.
        """
        if len(self._uploads) >= MOST_UPLOADS:
            raise _no_room("too many uploads are open; finish or cancel some")
        upload = secrets.token_hex(16)
        self._uploads[upload] = bytearray()
        return upload

    def append(self, upload: str, chunk: bytes, begin: int | None = None) -> int:
        """Add a chunk to an upload; returns its size so far.

        Raises:
            Refused: It is not open, the chunk is not the next one, or there is no room.
        """
        content = self._open(upload)
        if begin is not None and begin != len(content):
            raise Refused(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                f"the upload has {len(content)} bytes; the chunk begins at {begin}",
            )
        if self._bytes + len(content) + len(chunk) > self._most_bytes:
            raise _no_room(f"this registry keeps at most {self._most_bytes} bytes")
        content += chunk
        return len(content)

    def size(self, upload: str) -> int:
        """How much of an upload came.

        Raises:
            Refused: It is not open.
        """
        return len(self._open(upload))

    def finish_upload(self, name: str, upload: str, digest: str) -> int:
        """Make a blob of an upload; returns its size.

        Raises:
            Refused: It is not open, the digest is another one, or there is no room.
        """
        content = bytes(self._open(upload))
        self.put_blob(name, digest, content)
        del self._uploads[upload]
        return len(content)

    def cancel(self, upload: str) -> None:
        """Forget an upload.

        Raises:
            Refused: It is not open.
        """
        self._open(upload)
        del self._uploads[upload]

    def manifest(self, name: str, reference: str) -> Manifest:
        """The manifest of a tag or digest.

        Raises:
            Refused: It is not there.
        """
        repository = self.repositories.get(name, Repository())
        found = repository.manifests.get(repository.tags.get(reference, reference))
        if found is None:
            raise Refused(
                HTTPStatus.NOT_FOUND, "MANIFEST_UNKNOWN", f"manifest unknown: {reference}"
            )
        return found

    def put_manifest(self, name: str, reference: str, media_type: str, content: bytes) -> Manifest:
        """Keep a manifest under a tag, or by digest alone.

        Raises:
            Refused: It cannot be one, names what is not there, or there is no room.
        """
        document = _parse(content)
        declared = text_at(document, "mediaType")
        kind = media_type or declared
        if not kind or (declared and declared != kind):
            raise _manifest_invalid("the media type of body and header differ or are missing")
        digest = digest_of(content)
        by_digest = ":" in reference
        if by_digest and reference != digest:
            raise _digest_invalid()
        if not by_digest and not _TAG.fullmatch(reference):
            raise Refused(HTTPStatus.BAD_REQUEST, "TAG_INVALID", "manifest tag is malformed")
        self._check_parts(name, document, kind)
        repository = self.repositories.setdefault(name, Repository())
        if digest not in repository.manifests:
            self._claim(len(content))
            repository.manifests[digest] = Manifest(kind, content, digest)
        if not by_digest:
            repository.tags[reference] = digest
        return repository.manifests[digest]

    def delete_manifest(self, name: str, reference: str) -> None:
        """Delete a tag, or a manifest with every tag that points to it.

        Raises:
            Refused: It is not there.
        """
        found = self.manifest(name, reference)
        repository = self.repositories[name]
        if ":" not in reference:
            del repository.tags[reference]
            return
        del repository.manifests[found.digest]
        self._bytes -= len(found.content)
        for tag in [tag for tag, digest in repository.tags.items() if digest == found.digest]:
            del repository.tags[tag]

    def _check_parts(self, name: str, document: Json, kind: str) -> None:
        repository = self.repositories.get(name, Repository())
        if any(sign in kind for sign in _INDEX_SIGNS):
            named = [text_at(child, "digest") for child in objects_at(document, "manifests")]
            known: set[str] = set(repository.manifests)
        else:
            named = [text_at(layer, "digest") for layer in objects_at(document, "layers")]
            named.append(text_at(document, "config", "digest"))
            known = repository.blobs
        missing = [digest for digest in named if digest not in known]
        if missing:
            raise Refused(
                HTTPStatus.NOT_FOUND,
                "MANIFEST_BLOB_UNKNOWN",
                f"the manifest names what is not here: {missing[0] or 'nothing'}",
            )

    def _claim(self, more: int) -> None:
        if self._bytes + more > self._most_bytes:
            raise _no_room(f"this registry keeps at most {self._most_bytes} bytes")
        self._bytes += more

    def _open(self, upload: str) -> bytearray:
        found = self._uploads.get(upload)
        if found is None:
            raise Refused(
                HTTPStatus.NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"
            )
        return found


def _parse(content: bytes) -> Json:
    if len(content) > LARGEST_MANIFEST_BYTES:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "SIZE_INVALID", "the manifest is too large"
        )
    try:
        document: Json = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise _manifest_invalid(f"it is no JSON: {error}") from error
    if not isinstance(document, dict):
        raise _manifest_invalid("it is no JSON object")
    return document


def _manifest_invalid(why: str) -> Refused:
    return Refused(HTTPStatus.BAD_REQUEST, "MANIFEST_INVALID", f"manifest invalid: {why}")


def _digest_invalid() -> Refused:
    message = "provided digest did not match uploaded content"
    return Refused(HTTPStatus.BAD_REQUEST, "DIGEST_INVALID", message)


def _no_room(why: str) -> Refused:
    return Refused(HTTPStatus.INSUFFICIENT_STORAGE, "DENIED", why)
