"""Encryption at rest of what the database must not show: bodies of Secrets.

A sealed body is ``01 | key id (8) | nonce (12) | AES-256-GCM ciphertext and tag``, bound to its
content address: a body moved to another row does not open. The address is a keyed HMAC of the
plaintext, so that guesses cannot be tried against the database alone. Both keys are derived
(HKDF-SHA256, RFC 5869) from the 32 bytes of the key file.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from gitopsd.errors import LostError, PermanentError

_KEY_BYTES = 32
_KEYS_AT_MOST = 2
_ID_BYTES = 8
_NONCE_BYTES = 12
_VERSION = b"\x01"

HOW_TO_MAKE_A_KEY = (
    "Make one with `head -c 32 /dev/urandom | base64 > FILE` and set "
    "GITOPSD_ENCRYPTION_KEY_FILE=FILE."
)


@dataclass(frozen=True, slots=True)
class _Key:
    id: bytes
    sealing: AESGCM
    addressing: bytes


class Cipher:
    """Seals and opens bodies.

    Args:
        keys: One or two secrets of 32 bytes: the first seals, all open.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = [
            _Key(
                _derive(secret, b"gitopsd key id", _ID_BYTES),
                AESGCM(_derive(secret, b"gitopsd sealing", _KEY_BYTES)),
                _derive(secret, b"gitopsd addressing", _KEY_BYTES),
            )
            for secret in keys
        ]

    def address(self, body: bytes) -> str:
        """Compute the content address of a body: ``hmac-sha256:<64 hex digits>``."""
        return f"hmac-sha256:{hmac.digest(self._keys[0].addressing, body, 'sha256').hex()}"

    def seal(self, body: bytes, address: str) -> bytes:
        """Encrypt a body for the row of its address."""
        key = self._keys[0]
        head = _VERSION + key.id
        nonce = os.urandom(_NONCE_BYTES)
        return head + nonce + key.sealing.encrypt(nonce, body, head + address.encode())

    def open(self, sealed: bytes, address: str) -> bytes:
        """Decrypt a body of the row of its address.

        Raises:
            LostError: No key opens it, or it was changed or moved.
        """
        head_bytes = len(_VERSION) + _ID_BYTES
        head, nonce = sealed[:head_bytes], sealed[head_bytes : head_bytes + _NONCE_BYTES]
        for key in self._keys:
            if head == _VERSION + key.id:
                return _opened(key, nonce, sealed[head_bytes + _NONCE_BYTES :], head, address)
        raise LostError(
            f"The stored object {address} was encrypted with a key that is not in the encryption "
            "key file; add that key as its second line.",
            reason="UnknownEncryptionKey",
        )


def _opened(key: _Key, nonce: bytes, ciphertext: bytes, head: bytes, address: str) -> bytes:
    try:
        return key.sealing.decrypt(nonce, ciphertext, head + address.encode())
    except InvalidTag as error:
        raise LostError(
            f"The stored object {address} was changed outside gitopsd; restore the database from "
            "a backup.",
            reason="DamagedDatabase",
        ) from error


def _derive(secret: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=purpose).derive(secret)


def load_cipher(key_file: Path) -> Cipher:
    """Read the key file: one or two lines, each 32 bytes in base64 or hex.

    Raises:
        PermanentError: It cannot be read or holds something else.
    """
    try:
        lines = key_file.read_text(encoding="ascii").split()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise _unusable(key_file, f"cannot be read: {reason}") from error
    if not 1 <= len(lines) <= _KEYS_AT_MOST:
        raise _unusable(key_file, f"holds {len(lines)} keys; one is needed, two while rotating")
    return Cipher([_parsed(line, key_file) for line in lines])


def _parsed(line: str, key_file: Path) -> bytes:
    try:
        in_hex = len(line) == 2 * _KEY_BYTES
        key = bytes.fromhex(line) if in_hex else base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error) as error:
        raise _unusable(key_file, "holds a line that is neither base64 nor hex") from error
    if len(key) != _KEY_BYTES:
        raise _unusable(key_file, f"holds a key of {len(key)} bytes; {_KEY_BYTES} are needed")
    return key


def _unusable(key_file: Path, problem: str) -> PermanentError:
    return PermanentError(
        f"The encryption key file {key_file} {problem}. {HOW_TO_MAKE_A_KEY}",
        reason="BadEncryptionKey",
    )
