"""Credentials: made, listed, revoked; the secret is shown once."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from gitopsd.domain.work import AuditEntry, Token
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, recall, remember
from gitopsd.engine.transactions import retry_conflicts
from gitopsd.entrypoints.http.api.results import answer_result, expect, slice_page
from gitopsd.entrypoints.http.models import Done, Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.entrypoints.tokens import make_token
from gitopsd.store_ports import Transaction


class TokenView(Model):
    """A token, without its secret."""

    id: str
    subject: str
    groups: list[str]
    role: str = Field(description="Role it carries by itself; empty for those of people.yaml.")
    applications: list[str] = Field(description="What it is limited to; empty for all.")
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class TokenList(Model):
    """Tokens, newest first."""

    items: list[TokenView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


class NewTokenView(TokenView):
    """A token that was just made."""

    secret: str = Field(description="What the bearer sends. It is not shown again.")


class TokenBody(Model):
    """Which token to make."""

    subject: str = Field(min_length=1, max_length=200, pattern=r"^\S+$", description="Its bearer.")
    role: Literal["", "viewer", "deployer", "approver", "skip-gate", "admin"] = ""
    groups: list[str] = Field(default=[], max_length=50)
    applications: list[str] = Field(default=[], max_length=1000)
    expires_in_seconds: int | None = Field(None, gt=0)


async def list_tokens(call: Call) -> Answer:
    """List tokens."""
    rows = await call.service.services.store.read(lambda tx: tuple(tx.records.tokens()))
    kept, following = slice_page(rows, expect(PageQuery, call.query), lambda row: row.id)
    return TokenList(items=[_view(row) for row in kept], next=following)


async def create(call: Call) -> Answer:
    """Make a token.

    Safe to repeat with a key: the second request makes nothing and is told so, because the secret
    is not stored and cannot be shown again.
    """
    body = expect(TokenBody, call.body)
    store = call.service.services.store
    now = await store.read(lambda tx: tx.now)
    lasts = body.expires_in_seconds
    made = make_token(
        body.subject,
        body.role,
        now,
        groups=tuple(body.groups),
        applications=tuple(body.applications),
        expires_at=now + timedelta(seconds=lasts) if lasts is not None else None,
    )

    def work(tx: Transaction) -> ActionResult | None:
        earlier = recall(tx, call.actor)
        if earlier is not None:
            return earlier
        tx.records.add_token(made.token)
        _audit(tx, call, "create-token", f"{made.token.id} for {body.subject}")
        remember(tx, call.actor, ActionDone("made", made=made.token.id))
        return None

    earlier = await retry_conflicts(store, work)
    if isinstance(earlier, ActionDone):
        detail = f"This request made token {earlier.made} already; its secret is not shown again."
        raise ProblemError(409, detail, remedy=f"Revoke it: gitopsd token revoke {earlier.made}")
    if earlier is not None:
        answer_result(earlier)
    return NewTokenView(**dict(_view(made.token)), secret=made.secret)


async def revoke(call: Call) -> Answer:
    """Revoke a token; it stops counting with this answer."""
    wanted = call.path["token"]

    def work(tx: Transaction) -> ActionResult:
        earlier = recall(tx, call.actor)
        if earlier is not None:
            return earlier
        found = next((one for one in tx.records.tokens() if one.id == wanted), None)
        if found is None:
            return ActionRefused(404, f"there is no token {wanted}")
        if found.revoked_at is None:
            tx.records.save_token(replace(found, revoked_at=tx.now))
            _audit(tx, call, "revoke-token", wanted)
        done = ActionDone(f"token {wanted} of {found.subject} is revoked", made=wanted)
        remember(tx, call.actor, done)
        return done

    return answer_result(await retry_conflicts(call.service.services.store, work))


def _audit(tx: Transaction, call: Call, action: str, target: str) -> None:
    tx.records.append_audit(AuditEntry(0, tx.now, call.principal.subject, action, target))


def _view(token: Token) -> TokenView:
    return TokenView(
        id=token.id,
        subject=token.subject,
        groups=list(token.groups),
        role=token.role,
        applications=list(token.applications),
        created_at=token.created_at,
        expires_at=token.expires_at,
        revoked_at=token.revoked_at,
        last_used_at=token.last_used_at,
    )


ROUTES = (
    Route(
        "GET",
        "/tokens",
        list_tokens,
        Access.ADMIN,
        "List tokens, without their secrets.",
        answer=TokenList,
        query=PageQuery,
        everywhere=True,
    ),
    Route(
        "POST",
        "/tokens",
        create,
        Access.ADMIN,
        "Make a token; its secret is shown once.",
        answer=NewTokenView,
        body=TokenBody,
        everywhere=True,
        status=201,
    ),
    Route(
        "POST",
        "/tokens/{token}/revoke",
        revoke,
        Access.ADMIN,
        "Revoke a token.",
        answer=Done,
        everywhere=True,
    ),
)
