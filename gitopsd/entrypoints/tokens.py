"""Credentials: how a token is made, hashed and stored."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from gitopsd.domain.work import AuditEntry, Token
from gitopsd.errors import ConflictError, PermanentError
from gitopsd.store_ports import Store, Transaction

PREFIX = "gitopsd_"
"""Begins every token, so that scanners for leaked secrets can find one."""

FIRST_TOKEN = "admin.token"  # noqa: S105 - the name of a file
"""Name of the first token's file in the data directory."""

GIVEN = "first-"
"""Begins the id of a token that a file gave, so that the next one from there takes its place."""

_HASH = re.compile(rb"sha256:([0-9a-f]{64})")
_SENDABLE = re.compile(rb"[\x21-\x7e]{32,512}")
_FEWEST_CHARACTERS = 8


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token that was just made.

    Attributes:
        secret: What the bearer sends; shown once, never stored.
        token: What is stored.
    """

    secret: str
    token: Token


def hash_secret(secret: str) -> str:
    """Hash a token's secret.

    A fast hash is right here: the secret has 256 random bits, so there is nothing to guess.
    """
    return hashlib.sha256(secret.encode()).hexdigest()


def make_token(
    subject: str,
    role: str,
    now: datetime,
    *,
    groups: tuple[str, ...] = (),
    applications: tuple[str, ...] = (),
    expires_at: datetime | None = None,
) -> NewToken:
    """Make a token.

    Args:
        subject: Who acts with it.
        role: Role it carries by itself; empty for those of ``people.yaml`` alone.
        now: When it is made.
        groups: Groups beyond those of ``people.yaml``.
        applications: Applications it is limited to; empty for all.
        expires_at: When it ends; None for never.
    """
    secret = PREFIX + secrets.token_urlsafe(32)
    token = Token(
        id=f"t-{secrets.token_hex(6)}",
        hashed=hash_secret(secret),
        subject=subject,
        groups=groups,
        role=role,
        applications=applications,
        created_at=now,
        expires_at=expires_at,
    )
    return NewToken(secret, token)


async def make_first_token(store: Store, data_dir: Path) -> Path | None:
    """Write a first admin token to the data directory when there is no token yet.

    Safe to repeat: where tokens are, nothing is made; a file whose token was not stored before the
    process died is replaced.

    Returns:
        The file, or None when there are tokens already.
    """
    if await store.read(lambda tx: bool(tx.records.tokens())):
        return None
    made = make_token("admin", "admin", await store.read(lambda tx: tx.now))
    path = data_dir / FIRST_TOKEN
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(made.secret + "\n")

    def work(tx: Transaction) -> bool:
        if tx.records.tokens():
            return False
        tx.records.add_token(made.token)
        tx.records.append_audit(AuditEntry(0, tx.now, "gitopsd", "create-token", made.token.id))
        return True

    if await store.transact(work):
        return path
    path.unlink()
    return None


def parse_given_token(content: bytes, place: str) -> str:
    """Read what a file of a first token holds: the token, or ``sha256:`` and its hash in hex.

    Args:
        content: What the file holds.
        place: Where, for messages.

    Returns:
        The hash.

    Raises:
        PermanentError: It is neither, or too easily guessed; says how to make one.
    """
    content = content.strip()
    hashed = _HASH.fullmatch(content)
    if hashed is not None:
        return hashed[1].decode()
    if content.startswith(b"sha256:"):
        problem = "sha256: is not followed by 64 hexadecimal digits in lower case"
    elif _SENDABLE.fullmatch(content) is None:
        problem = "it must be one word of 32 to 512 ASCII characters"
    elif len(set(content)) < _FEWEST_CHARACTERS:
        problem = "it is too easily guessed"
    else:
        return hash_secret(content.decode())
    message = f"the first admin token in {place} cannot be used: {problem}. Make one: "
    raise PermanentError(f"{message}openssl rand -hex 32")


async def adopt_given_token(store: Store, hashed: str) -> bool:
    """Let the token of a file be an admin's, and the one that was there before be nobody's.

    A token that is known already is left as it is: one that a person revoked stays revoked, and a
    replica whose file is older than another's changes nothing.

    Safe to repeat: the second time it is known.

    Args:
        store: The store.
        hashed: Hash of the token.

    Returns:
        Whether it is new.
    """

    def work(tx: Transaction) -> bool:
        if tx.records.token_by_hash(hashed) is not None:
            return False
        for old in tx.records.tokens():
            if old.id.startswith(GIVEN) and old.revoked_at is None:
                tx.records.save_token(replace(old, revoked_at=tx.now))
                tx.records.append_audit(AuditEntry(0, tx.now, "gitopsd", "revoke-token", old.id))
        made = Token(
            id=GIVEN + hashed[:12],
            hashed=hashed,
            subject="admin",
            groups=(),
            role="admin",
            applications=(),
            created_at=tx.now,
        )
        tx.records.add_token(made)
        tx.records.append_audit(AuditEntry(0, tx.now, "gitopsd", "create-token", made.id))
        return True

    try:
        return await store.transact(work)
    except ConflictError:  # another replica, with the same file, was quicker
        return False
