"""Credentials: how a token is made, hashed and stored."""

from __future__ import annotations

import hashlib
import os
import secrets
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from gitopsd.domain.work import AuditEntry, Token
from gitopsd.store_ports import Store, Transaction

PREFIX = "gitopsd_"
"""Begins every token, so that scanners for leaked secrets can find one."""

FIRST_TOKEN = "admin.token"  # noqa: S105 - the name of a file
"""Name of the first token's file in the data directory."""


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
