"""Quarantined bytes."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.verifications import Quarantine
from gitopsd.entrypoints.http.api.results import answer_result, cut_page, expect, not_found
from gitopsd.entrypoints.http.models import Done, Model, PageQuery, ReasonBody
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class QuarantineView(Model):
    """Bytes that failed in a stage."""

    id: str
    application: str
    stage: str
    rendered: str = Field(description="The rendered digest that failed.")
    images: list[str] = Field(description="Image digests, when images are all that changed.")
    release: str
    reason: str
    at: datetime
    lifted_at: datetime | None = Field(description="Null while it is in force.")
    lifted_by: str


class QuarantineList(Model):
    """Quarantines, newest first."""

    items: list[QuarantineView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


async def list_quarantines(call: Call) -> Answer:
    """List quarantines, lifted ones too."""
    query = expect(PageQuery, call.query)
    rows = await call.service.services.store.read(
        lambda tx: tuple(tx.quarantines.page(query.page()))
    )
    items, following = cut_page(rows, query, lambda row: row.id)
    seen = [row for row in items if call.principal.may(Access.READ, row.stage.application)]
    return QuarantineList(items=[_view(row) for row in seen], next=following)


async def lift(call: Call) -> Answer:
    """Let quarantined bytes be admitted again."""
    wanted = call.path["quarantine"]
    found = await call.service.services.store.read(lambda tx: tx.quarantines.get(wanted))
    if found is None or not call.principal.may(Access.READ, found.stage.application):
        raise not_found("quarantine", wanted)
    call.require(Access.DEPLOY, found.stage.application)
    body = expect(ReasonBody, call.body)
    actions = call.service.actions
    return answer_result(await actions.lift_quarantine(call.actor, wanted, reason=body.reason))


def _view(row: Quarantine) -> QuarantineView:
    return QuarantineView(
        id=row.id,
        application=row.stage.application,
        stage=row.stage.stage,
        rendered=row.rendered,
        images=list(row.images),
        release=row.release,
        reason=redact_text(row.reason),
        at=row.at,
        lifted_at=row.lifted_at,
        lifted_by=row.lifted_by,
    )


ROUTES = (
    Route(
        "GET",
        "/quarantines",
        list_quarantines,
        Access.READ,
        "List quarantines, newest first, lifted ones too.",
        answer=QuarantineList,
        query=PageQuery,
    ),
    Route(
        "POST",
        "/quarantines/{quarantine}/lift",
        lift,
        Access.DEPLOY,
        "Let quarantined bytes be admitted again.",
        answer=Done,
        body=ReasonBody,
    ),
)
