"""Who calls: a bearer token, checked against its stored hash."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from gitopsd.domain.work import Token
from gitopsd.entrypoints.http.permissions import Principal, compute_principal
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.refusals import record_refusal
from gitopsd.entrypoints.http.service import Service
from gitopsd.entrypoints.tokens import hash_secret
from gitopsd.store_ports import Transaction

if TYPE_CHECKING:
    from aiohttp import web

USE_RECORDED_EVERY = timedelta(minutes=1)
"""The last use of a token is stored to the minute."""

_LONGEST_TOKEN = 512


async def authenticate(request: web.Request, service: Service) -> Principal:
    """Find out who calls.

    Raises:
        ProblemError: 401 without a valid token; it never says what was wrong with it.
        TemporaryError: The database does not answer.
    """
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret or len(secret) > _LONGEST_TOKEN:
        raise _refused()
    hashed = hash_secret(secret)
    found, now = await service.services.store.read(
        lambda tx: (tx.records.token_by_hash(hashed), tx.now)
    )
    if found is None:
        raise _refused()
    if not is_valid(found, now):
        if request.method != "GET":
            await record_refusal(request, service, found.subject, _tell_end(found))
        raise _refused()
    if found.last_used_at is None or now - found.last_used_at >= USE_RECORDED_EVERY:
        await service.services.store.transact(lambda tx: _record_use(tx, hashed))
    return compute_principal(found, service.services.configuration().people)


def is_valid(token: Token, now: datetime) -> bool:
    """Tell whether a token counts now; one without a subject never does."""
    expired = token.expires_at is not None and token.expires_at <= now
    return token.revoked_at is None and not expired and bool(token.subject)


def _tell_end(token: Token) -> str:
    """Say for the audit log why a token counts no more; its bearer is not told."""
    if token.revoked_at is not None:
        return f"token {token.id} was revoked at {token.revoked_at:%Y-%m-%d %H:%M} UTC"
    if token.expires_at is not None:
        return f"token {token.id} ended at {token.expires_at:%Y-%m-%d %H:%M} UTC"
    return f"token {token.id} names nobody"


def _record_use(tx: Transaction, hashed: str) -> None:
    found = tx.records.token_by_hash(hashed)
    if found is not None:
        tx.records.save_token(replace(found, last_used_at=tx.now))


def _refused() -> ProblemError:
    return ProblemError(
        401,
        "The request has no valid token.",
        headers={"WWW-Authenticate": 'Bearer realm="gitopsd"'},
    )
