"""The stop button."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pydantic import Field

from gitopsd.domain.stages import Freeze
from gitopsd.engine.freezing import SCOPES, find_freeze, freeze, thaw
from gitopsd.entrypoints.http.api.results import answer_result, expect, not_found, slice_page
from gitopsd.entrypoints.http.models import Done, Model, PageQuery, ReasonBody
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Answer, Call, Route, forbidden
from gitopsd.kube.redaction import redact_text


class FreezeView(Model):
    """A freeze."""

    id: str
    scope: str = Field(description=f"{SCOPES}.")
    by: str
    reason: str
    at: datetime
    until: datetime | None = Field(description="When it ends by itself.")
    thawed_at: datetime | None = Field(description="When a person ended it.")
    in_force: bool


class FreezeList(Model):
    """Freezes, newest first."""

    items: list[FreezeView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


class FreezeBody(Model):
    """What to freeze."""

    scope: str = Field("*", description=f"{SCOPES}.")
    reason: str = Field("", max_length=1000)
    until: datetime | None = Field(None, description="When it ends by itself, with its offset.")
    seconds: int | None = Field(None, gt=0, description="After how long it ends by itself.")


async def list_freezes(call: Call) -> Answer:
    """List freezes, ended ones too."""
    rows, in_force = await call.service.services.store.read(
        lambda tx: (
            tuple(tx.records.freezes(in_force=False)),
            {row.id for row in tx.records.freezes(in_force=True)},
        )
    )
    kept, following = slice_page(rows, expect(PageQuery, call.query), lambda row: row.id)
    items = [_view(row, in_force=row.id in in_force) for row in kept]
    return FreezeList(items=items, next=following)


async def create(call: Call) -> Answer:
    """Freeze a scope."""
    body = expect(FreezeBody, call.body)
    _require(call, body.scope)
    services = call.service.services
    until = body.until
    if until is not None and until.tzinfo is None:
        raise ProblemError(422, "The field until has no offset; write 2026-01-31T18:00:00Z.")
    if until is not None:
        until = until.astimezone(UTC)
    if body.seconds is not None:
        now = await services.store.read(lambda tx: tx.now)
        until = now + timedelta(seconds=body.seconds)
    return answer_result(await freeze(services, call.actor, body.scope, body.reason, until))


async def end(call: Call) -> Answer:
    """End a freeze."""
    wanted = call.path["freeze"]
    services = call.service.services
    found = await services.store.read(lambda tx: find_freeze(tx, wanted))
    if found is None:
        raise not_found("freeze", wanted)
    _require(call, found.scope)
    body = expect(ReasonBody, call.body)
    return answer_result(await thaw(services, call.actor, wanted, reason=body.reason))


def _require(call: Call, scope: str) -> None:
    """Check the permission for a scope.

    Raises:
        ProblemError: 403; a scope wider than one application asks for all of them.
    """
    kind, _, name = scope.partition(":")
    if kind in ("application", "stage"):
        call.require(Access.DEPLOY, name.partition("/")[0])
    elif not call.principal.may_everywhere(Access.DEPLOY):
        raise forbidden(call.principal, Access.DEPLOY, "all applications")


def _view(row: Freeze, *, in_force: bool) -> FreezeView:
    return FreezeView(
        id=row.id,
        scope=row.scope,
        by=row.by,
        reason=redact_text(row.reason),
        at=row.at,
        until=row.until,
        thawed_at=row.thawed_at,
        in_force=in_force,
    )


ROUTES = (
    Route(
        "GET",
        "/freezes",
        list_freezes,
        Access.READ,
        "List freezes, newest first, ended ones too.",
        answer=FreezeList,
        query=PageQuery,
    ),
    Route(
        "POST",
        "/freezes",
        create,
        Access.DEPLOY,
        "Stop Prepare and Apply in a scope; rollbacks still run.",
        answer=Done,
        body=FreezeBody,
        status=201,
    ),
    Route(
        "POST",
        "/freezes/{freeze}/thaw",
        end,
        Access.DEPLOY,
        "End a freeze.",
        answer=Done,
        body=ReasonBody,
    ),
)
