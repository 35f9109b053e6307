"""Sealing bodies: what opens them, what does not, and which key files are refused."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gitopsd.errors import PermanentError
from gitopsd.store.encryption import Cipher, load_cipher

OLD, NEW = b"o" * 32, b"n" * 32


@given(body=st.binary(max_size=200))
def test_a_sealed_body_opens_at_its_address(body: bytes) -> None:
    """What was sealed is opened, by the same key, for the same address."""
    cipher = Cipher([NEW])
    address = cipher.address(body)

    assert cipher.open(cipher.seal(body, address), address) == body


def test_addresses_depend_on_the_key() -> None:
    """Equal bodies have equal addresses under one key and unrelated ones under another."""
    assert Cipher([OLD]).address(b"body") == Cipher([OLD, NEW]).address(b"body")
    assert Cipher([OLD]).address(b"body") != Cipher([NEW]).address(b"body")


def test_sealing_twice_shows_nothing() -> None:
    """Equal bodies are sealed to different bytes."""
    cipher = Cipher([NEW])

    assert cipher.seal(b"body", "a") != cipher.seal(b"body", "a")


def test_both_keys_open_and_the_first_seals() -> None:
    """While keys are changed, everything opens."""
    sealed_before = Cipher([OLD]).seal(b"body", "a")
    rotating = Cipher([NEW, OLD])

    assert rotating.open(sealed_before, "a") == b"body"
    assert Cipher([NEW]).open(rotating.seal(b"body", "a"), "a") == b"body"
    with pytest.raises(PermanentError) as caught:
        Cipher([NEW]).open(sealed_before, "a")
    assert caught.value.reason == "UnknownEncryptionKey"


@given(position=st.integers(0, 52), bit=st.integers(0, 7))
def test_a_changed_bit_is_noticed(position: int, bit: int) -> None:
    """No bit of a sealed body can be changed."""
    cipher = Cipher([NEW])
    sealed = bytearray(cipher.seal(b"sixteen bytes it", "a"))
    sealed[position] ^= 1 << bit

    with pytest.raises(PermanentError):
        cipher.open(bytes(sealed), "a")


@pytest.mark.parametrize("address", ["b", ""])
def test_a_body_does_not_open_elsewhere(address: str) -> None:
    """A body that was moved to another row is refused."""
    cipher = Cipher([NEW])

    with pytest.raises(PermanentError, match="changed outside"):
        cipher.open(cipher.seal(b"body", "a"), address)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + b"x" * 60])
def test_what_is_no_sealed_body_is_refused(sealed: bytes) -> None:
    """Rubbish in the column is a sentence."""
    with pytest.raises(PermanentError):
        Cipher([NEW]).open(sealed, "a")


@pytest.mark.parametrize("write", [base64.b64encode, lambda key: key.hex().encode()])
def test_a_key_is_written_in_base64_or_hex(tmp_path: Path, write: object) -> None:
    """Both ways, with or without a line end, one key or two."""
    assert callable(write)
    file = tmp_path / "key"
    file.write_bytes(write(NEW) + b"\n" + write(OLD))

    sealed = load_cipher(file).seal(b"body", "a")

    assert Cipher([NEW]).open(sealed, "a") == b"body"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        base64.b64encode(b"short"),
        b"not base64!",
        b"z" * 64,
        b"\xff" * 32,
        b"\n".join([base64.b64encode(secrets.token_bytes(32))] * 3),
    ],
    ids=["empty", "blank", "short", "words", "no hex", "raw", "three"],
)
def test_a_key_file_that_cannot_be_used_is_said(tmp_path: Path, content: bytes) -> None:
    """The sentence names the file and the command that makes a key, and shows nothing of it."""
    file = tmp_path / "key"
    file.write_bytes(content)

    with pytest.raises(PermanentError) as caught:
        load_cipher(file)

    assert str(file) in caught.value.message
    assert "head -c 32 /dev/urandom | base64 > FILE" in caught.value.message
    assert content.decode("latin1").strip() not in caught.value.message.split(str(file))[1] or not (
        content.strip()
    )


def test_a_missing_key_file_is_said(tmp_path: Path) -> None:
    """A file that is not there is named, with what to do."""
    with pytest.raises(PermanentError, match="No such file"):
        load_cipher(tmp_path / "missing")
