"""The short implementation of Git's protocol: it reads what Git writes, and trusts nothing."""

from __future__ import annotations

import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.adapters.git.protocol import (
    UnusualError,
    apply_delta,
    check_advertisement,
    encode_line,
    parse_lines,
    parse_pack,
    parse_pack_answer,
    parse_ref,
    parse_tags,
    request_pack,
    request_ref,
    request_tags,
)

ID = "0123456789abcdef0123456789abcdef01234567"


def _pack(*objects: bytes, count: int | None = None) -> bytes:
    body = b"PACK\x00\x00\x00\x02" + (len(objects) if count is None else count).to_bytes(4, "big")
    body += b"".join(objects)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def _packed(kind: int, content: bytes, *, size: int | None = None) -> bytes:
    """One object of a pack: kind and size in Git's variable length, then zlib."""
    left = len(content) if size is None else size
    head = bytearray([(kind << 4) | (left & 15)])
    left >>= 4
    while left:
        head[-1] |= 0x80
        head.append(left & 0x7F)
        left >>= 7
    return bytes(head) + zlib.compress(content)


def test_blob_has_git_s_own_id() -> None:
    """An object's id is what ``git hash-object`` says."""
    (blob,) = parse_pack(_pack(_packed(3, b"hello\n")))

    assert (blob.kind, blob.content) == (b"blob", b"hello\n")
    assert blob.object_id() == "ce013625030ba8dba906f756967f9e9ca394464a"


@given(st.lists(st.binary(max_size=9000), max_size=5, unique=True))
def test_any_content_comes_out_as_it_went_in(contents: list[bytes]) -> None:
    """Whatever files hold, and wherever the reader's chunks end, they are read whole."""
    objects = parse_pack(_pack(*(_packed(3, content) for content in contents)))

    assert [found.content for found in objects] == contents


def test_delta_builds_on_an_object_before_it() -> None:
    """Both kinds of delta find their base in the pack."""
    base = b"one two three\n" * 10
    delta = bytes([140, 1, 14, 0x90, 10, 4, *b"four"])  # sizes, copy 10 bytes, insert 4
    blob = _packed(3, base)
    by_offset = _packed(6, b"")[:0] + bytes([0x60 | len(delta)]) + bytes([len(blob)])
    by_offset += zlib.compress(delta)
    (found, made) = parse_pack(_pack(blob, by_offset))
    reference = bytes([0x70 | len(delta)]) + bytes.fromhex(found.object_id())
    (_, also_made) = parse_pack(_pack(blob, reference + zlib.compress(delta)))

    assert made.content == b"one two thfour"
    assert also_made == made


@pytest.mark.parametrize(
    "pack",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(_pack(_packed(3, b"x"))[:-1], id="cut off"),
        pytest.param(_pack(_packed(3, b"x")) + b"x", id="too long"),
        pytest.param(_pack(_packed(3, b"x"), count=2), id="fewer than it says"),
        pytest.param(_pack(_packed(3, b"x"), count=0), id="more than it says"),
        pytest.param(_pack(count=100_000), id="many"),
        pytest.param(_pack(_packed(0, b"x")), id="kind 0"),
        pytest.param(_pack(_packed(5, b"x")), id="kind 5"),
        pytest.param(_pack(_packed(3, b"xy", size=1)), id="larger than it says"),
        pytest.param(_pack(_packed(3, b"x", size=2)), id="smaller than it says"),
        pytest.param(_pack(_packed(3, b"x", size=1 << 30)), id="says a gigabyte"),
        pytest.param(_pack(_packed(3, b"\0" * 10_000_000, size=100)), id="bomb"),
        pytest.param(_pack(_packed(7, b"")[:1] + b"\0" * 20 + zlib.compress(b"")), id="thin"),
        pytest.param(_pack(b"\x60\x05" + zlib.compress(b"")), id="delta to before the pack"),
        pytest.param(_pack(b"\xb0\xff\xff\xff"), id="size without end"),
    ],
)
def test_bad_packs_are_left_to_libgit2(pack: bytes) -> None:
    """What is damaged, large or built on something else is refused without harm."""
    with pytest.raises(UnusualError):
        parse_pack(pack)


@given(st.data())
def test_no_change_of_a_pack_does_harm(data: st.DataObject) -> None:
    """A pack with changed bytes, trailer mended, is read or refused; nothing else happens."""
    base = b"one two three\n" * 10
    delta = bytes([140, 1, 14, 0x90, 10, 4, *b"four"])
    blob = _packed(3, base)
    made = bytes([0x60 | len(delta)]) + bytes([len(blob)]) + zlib.compress(delta)
    pack = bytearray(_pack(blob, made)[:-20])
    for _ in range(data.draw(st.integers(1, 4))):
        pack[data.draw(st.integers(12, len(pack) - 1))] = data.draw(st.integers(0, 255))
    whole = bytes(pack) + hashlib.sha1(pack, usedforsecurity=False).digest()

    try:
        objects = parse_pack(whole)
    except UnusualError:
        return
    assert len(objects) == 2


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_no_delta_does_harm(base: bytes, delta: bytes) -> None:
    """Any bytes taken as a delta make what they announce, or are refused."""
    try:
        made = apply_delta(base, delta, room=1000)
    except (UnusualError, IndexError):
        return
    assert len(made) <= 1000


@given(st.binary(max_size=200))
def test_no_answer_does_harm(body: bytes) -> None:
    """Any bytes taken as an answer are read or refused."""
    answers = (parse_pack_answer, parse_tags, lambda bytes_: parse_ref(bytes_, "a"))
    for read in (check_advertisement, *answers):
        try:
            read(encode_line("packfile") + b"0004" + body)
        except UnusualError:
            continue


def test_requests_are_what_git_writes() -> None:
    """Requests have the lines of gitprotocol-v2(5), in their order."""
    assert list(parse_lines(request_ref("refs/heads/main"))) == [
        b"command=ls-refs\n",
        b"agent=gitopsd\n",
        None,
        b"ref-prefix refs/heads/main\n",
        None,
    ]
    assert list(parse_lines(request_pack("a", ["b", "c"]))) == [
        b"command=fetch\n",
        b"agent=gitopsd\n",
        None,
        b"ofs-delta\n",
        b"no-progress\n",
        b"want a\n",
        b"have b\n",
        b"have c\n",
        b"done\n",
        None,
    ]


def test_only_the_ref_itself_counts() -> None:
    """A server answers a prefix; refs that only begin alike are passed over."""
    body = encode_line(f"{ID} refs/heads/main2") + encode_line(f"{ID} refs/heads/main peeled:x")

    assert parse_ref(body + b"0000", "refs/heads/main") == ID
    assert parse_ref(encode_line(f"{ID} refs/heads/main2"), "refs/heads/main") is None


def test_tags_are_asked_for_with_what_they_come_to() -> None:
    """Refs that are no tags are passed over; a peeled id counts where there is one."""
    assert list(parse_lines(request_tags())) == [
        b"command=ls-refs\n",
        b"agent=gitopsd\n",
        None,
        b"peel\n",
        b"ref-prefix refs/tags/\n",
        None,
    ]
    other = "f" * 40
    lines = (
        f"{ID} refs/tags/v1",
        f"{ID} refs/tags/a/v2 symref-target:x peeled:{other}",
        f"{ID} refs/heads/main",
        f"{ID} HEAD",
    )
    body = b"".join(map(encode_line, lines)) + b"0000"
    assert parse_tags(body) == {"v1": (ID, ID), "a/v2": (ID, other)}


@pytest.mark.parametrize("line", ["no refs/tags/v1", f"{ID} refs/tags/v1 peeled:no"])
def test_tags_without_ids_are_left_to_libgit2(line: str) -> None:
    """What is no object id is none."""
    with pytest.raises(UnusualError):
        parse_tags(encode_line(line))


@pytest.mark.parametrize(
    "lines",
    [
        ["version 1"],
        ["version 2", "ls-refs"],
        ["version 2", "ls-refs", "fetch=shallow", "object-format=sha256"],
    ],
)
def test_other_servers_are_left_to_libgit2(lines: list[str]) -> None:
    """Older protocols and other hash functions are not spoken here."""
    with pytest.raises(UnusualError):
        check_advertisement(b"".join(encode_line(line) for line in lines))


def test_server_of_version_2_is_spoken_to() -> None:
    """A server that offers what is needed passes, whatever else it offers."""
    lines = ["version 2", "agent=git/2", "ls-refs=unborn", "fetch=shallow", "object-format=sha1"]

    check_advertisement(b"".join(encode_line(line) for line in lines) + b"0000")


@pytest.mark.parametrize("band,ends", [(1, False), (2, False), (3, True)])
def test_side_bands_are_told_apart(band: int, ends: bool) -> None:
    """Data is kept, progress is passed over, and an error ends the answer."""
    line = bytes([band]) + b"text"
    body = encode_line("packfile") + f"{len(line) + 4:04x}".encode() + line + b"0000"

    if ends:
        with pytest.raises(UnusualError):
            parse_pack_answer(body)
    else:
        assert parse_pack_answer(body) == (b"text" if band == 1 else b"")
