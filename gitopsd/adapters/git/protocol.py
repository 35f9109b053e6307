"""Git's wire protocol, version 2, as values: requests as bytes, answers parsed.

Written after gitprotocol-v2(5), gitprotocol-common(5) and gitformat-pack(5). Only what a fetch of
one ref needs is here; whatever else a server says is `UnusualError`, and libgit2 takes over.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

FLUSH = b"0000"
DELIMITER = b"0001"
MAX_OBJECTS = 2_000
MAX_INFLATED_BYTES = 64 << 20

_TAGS = "refs/tags/"
_PEELED = "peeled:"
_LENGTH = 4
_CONTROL = 3  # lengths 0 to 3 are markers, not lines
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_CHUNK_BYTES = 4096
_PACK_HEADER = 12
_PACK_TRAILER = 20
_BAND_DATA, _BAND_PROGRESS = 1, 2
_OFS_DELTA, _REF_DELTA = 6, 7
_KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}


class UnusualError(Exception):
    """The server says something that this short implementation does not speak."""


def encode_line(text: str) -> bytes:
    """Write one pkt-line."""
    line = f"{text}\n".encode()
    return f"{len(line) + _LENGTH:04x}".encode() + line


def parse_lines(body: bytes) -> Iterator[bytes | None]:
    """Read pkt-lines; None stands for a marker.

    Raises:
        UnusualError: The bytes are no pkt-lines.
    """
    at = 0
    while at < len(body):
        try:
            length = int(body[at : at + _LENGTH], 16)
        except ValueError as error:
            raise UnusualError("no pkt-line") from error
        if length <= _CONTROL:
            yield None
            at += _LENGTH
            continue
        if length < _LENGTH or at + length > len(body):
            raise UnusualError("a pkt-line is cut off")
        yield body[at + _LENGTH : at + length]
        at += length


def check_advertisement(body: bytes) -> None:
    """Check that a server speaks version 2 with SHA-1 ids.

    Raises:
        UnusualError: It does not.
    """
    lines = {line.strip().decode(errors="replace") for line in parse_lines(body) if line}
    formats = {line for line in lines if line.startswith("object-format=")}
    offers = {line.partition("=")[0] for line in lines}
    if "version 2" not in lines or not {"ls-refs", "fetch"} <= offers:
        raise UnusualError("not version 2")
    if formats - {"object-format=sha1"}:
        raise UnusualError("not SHA-1")


def request_ref(ref: str) -> bytes:
    """Ask where a ref points."""
    return b"".join(
        (
            encode_line("command=ls-refs"),
            encode_line("agent=gitopsd"),
            DELIMITER,
            encode_line(f"ref-prefix {ref}"),
            FLUSH,
        )
    )


def parse_ref(body: bytes, ref: str) -> str | None:
    """Read where a ref points; None when the remote does not have it.

    Raises:
        UnusualError: The answer is none.
    """
    for line in parse_lines(body):
        if line is None:
            continue
        target, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
        if not _OBJECT_ID.fullmatch(target):
            raise UnusualError("no object id in the list of refs")
        if rest.split(" ")[0] == ref:
            return target
    return None


def request_tags() -> bytes:
    """Ask for all tags, and what annotated ones come to."""
    return b"".join(
        (
            encode_line("command=ls-refs"),
            encode_line("agent=gitopsd"),
            DELIMITER,
            encode_line("peel"),
            encode_line(f"ref-prefix {_TAGS}"),
            FLUSH,
        )
    )


def parse_tags(body: bytes) -> dict[str, tuple[str, str]]:
    """Read tags: name -> what it points to, and what that comes to.

    Raises:
        UnusualError: The answer is none.
    """
    found: dict[str, tuple[str, str]] = {}
    for line in parse_lines(body):
        if line is None:
            continue
        target, _, rest = line.decode(errors="replace").rstrip("\n").partition(" ")
        ref, *attributes = rest.split(" ")
        if not ref.startswith(_TAGS):
            continue
        told = [one.removeprefix(_PEELED) for one in attributes if one.startswith(_PEELED)]
        commit = told[0] if told else target
        if not _OBJECT_ID.fullmatch(target) or not _OBJECT_ID.fullmatch(commit):
            raise UnusualError("no object id in the list of tags")
        found[ref.removeprefix(_TAGS)] = (target, commit)
    return found


def request_pack(want: str, haves: Sequence[str]) -> bytes:
    """Ask for what ``want`` has and ``haves`` do not."""
    return b"".join(
        (
            encode_line("command=fetch"),
            encode_line("agent=gitopsd"),
            DELIMITER,
            encode_line("ofs-delta"),
            encode_line("no-progress"),
            encode_line(f"want {want}"),
            *(encode_line(f"have {have}") for have in haves),
            encode_line("done"),
            FLUSH,
        )
    )


def parse_pack_answer(body: bytes) -> bytes:
    """Take the pack out of the answer to `request_pack`.

    Raises:
        UnusualError: The answer holds something else.
    """
    lines = parse_lines(body)
    if next(lines, None) != b"packfile\n":
        raise UnusualError("no pack in the answer")
    pack = bytearray()
    for line in lines:
        if not line:
            continue
        if line[0] == _BAND_DATA:
            pack += memoryview(line)[1:]
        elif line[0] != _BAND_PROGRESS:
            raise UnusualError("the server broke off")
    return bytes(pack)


@dataclass(frozen=True, slots=True)
class PackedObject:
    """One object of a pack.

    Attributes:
        kind: ``commit``, ``tree``, ``blob`` or ``tag``.
        content: Its bytes.
    """

    kind: bytes
    content: bytes

    def object_id(self) -> str:
        """Compute its id."""
        header = self.kind + b" %d\x00" % len(self.content)
        return hashlib.sha1(header + self.content, usedforsecurity=False).hexdigest()


def parse_pack(pack: bytes) -> list[PackedObject]:
    """Take a small, self-contained pack apart.

    Raises:
        UnusualError: It is damaged, too large, or builds on objects outside.
    """
    count = int.from_bytes(pack[8:_PACK_HEADER], "big")
    if pack[:8] != b"PACK\x00\x00\x00\x02" or count > MAX_OBJECTS:
        raise UnusualError("no small pack")
    body, trailer = pack[:-_PACK_TRAILER], pack[-_PACK_TRAILER:]
    if hashlib.sha1(body, usedforsecurity=False).digest() != trailer:
        raise UnusualError("the pack is damaged")
    try:
        return _PackReader(body).read(count)
    except (IndexError, zlib.error) as error:
        raise UnusualError("the pack is damaged") from error


class _PackReader:
    """Reads objects one after the other; deltas build on those before them."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._at = _PACK_HEADER
        self._room = MAX_INFLATED_BYTES
        self._by_offset: dict[int, PackedObject] = {}
        self._by_id: dict[str, PackedObject] = {}

    def read(self, count: int) -> list[PackedObject]:
        for _ in range(count):
            start = self._at
            found = self._read_object(start)
            self._by_offset[start] = found
            self._by_id[found.object_id()] = found
        if self._at != len(self._body):
            raise UnusualError("the pack holds more than it says")
        return list(self._by_offset.values())

    def _read_object(self, start: int) -> PackedObject:
        kind, size = self._read_head()
        if kind == _OFS_DELTA:
            base = self._by_offset.get(start - self._read_offset())
            return self._apply(base, size)
        if kind == _REF_DELTA:
            base = self._by_id.get(self._body[self._at : self._at + 20].hex())
            self._at += 20
            return self._apply(base, size)
        if kind not in _KINDS:
            raise UnusualError("an object of unknown kind")
        return PackedObject(_KINDS[kind], self._inflate(size))

    def _read_head(self) -> tuple[int, int]:
        byte = self._next()
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            byte = self._next()
            size |= (byte & 0x7F) << shift
            shift += 7
        return kind, size

    def _read_offset(self) -> int:
        byte = self._next()
        offset = byte & 0x7F
        while byte & 0x80:
            byte = self._next()
            offset = ((offset + 1) << 7) | (byte & 0x7F)
        return offset

    def _next(self) -> int:
        self._at += 1
        return self._body[self._at - 1]

    def _inflate(self, size: int) -> bytes:
        """Inflate what stands here, never more than it says nor than there is room for."""
        if size > self._room:
            raise UnusualError("the pack inflates to too much")
        inflater, content = zlib.decompressobj(), bytearray()
        while not inflater.eof:
            chunk = self._body[self._at : self._at + _CHUNK_BYTES]
            self._at += len(chunk)
            # One byte more than announced shows a lie.
            content += inflater.decompress(chunk, size + 1 - len(content))
            if not chunk or len(content) > size:
                break
        if len(content) != size or not inflater.eof:
            raise UnusualError("an object has another size than the pack says")
        self._at -= len(inflater.unused_data)
        self._room -= size
        return bytes(content)

    def _apply(self, base: PackedObject | None, size: int) -> PackedObject:
        delta = self._inflate(size)
        if base is None:
            raise UnusualError("a delta builds on an object outside the pack")
        content = apply_delta(base.content, delta, self._room)
        self._room -= len(content)
        return PackedObject(base.kind, content)


def apply_delta(base: bytes, delta: bytes, room: int) -> bytes:
    """Apply a delta: copies from the base and bytes of its own.

    Raises:
        UnusualError: It does not fit the base, or makes more than there is room for.
        IndexError: It is cut off.
    """
    base_size, at = _read_size(delta, 0)
    size, at = _read_size(delta, at)
    if base_size != len(base) or size > room:
        raise UnusualError("a delta does not fit its base")
    made = bytearray()
    while at < len(delta):
        command = delta[at]
        at += 1
        if command & 0x80:
            offset, length, at = _read_copy(delta, at, command)
            if offset + length > base_size:
                raise UnusualError("a delta copies what is not there")
            made += memoryview(base)[offset : offset + length]
        elif command:
            made += delta[at : at + command]
            at += command
        else:
            raise UnusualError("a delta holds a reserved command")
        if len(made) > size:
            break
    if len(made) != size:
        raise UnusualError("a delta makes another size than it says")
    return bytes(made)


def _read_size(delta: bytes, at: int) -> tuple[int, int]:
    size = shift = 0
    while True:
        byte = delta[at]
        at += 1
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return size, at


def _read_copy(delta: bytes, at: int, command: int) -> tuple[int, int, int]:
    values = []
    for bit in range(7):
        byte = 0
        if command & (1 << bit):
            byte = delta[at]
            at += 1
        values.append(byte)
    offset = int.from_bytes(values[:4], "little")
    length = int.from_bytes(values[4:], "little") or 0x10000
    return offset, length, at
