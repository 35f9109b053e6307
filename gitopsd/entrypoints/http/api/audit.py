"""Who did what."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field, JsonValue

from gitopsd.domain.work import AuditEntry
from gitopsd.entrypoints.http.api.results import cut_page, expect
from gitopsd.entrypoints.http.models import Model, PageQuery, to_json
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class AuditView(Model):
    """One entry; never changed."""

    sequence: int
    at: datetime
    subject: str
    action: str
    target: str
    outcome: str = Field(description="done, or why not.")
    details: JsonValue


class AuditList(Model):
    """Entries, newest first."""

    items: list[AuditView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


async def list_audit(call: Call) -> Answer:
    """List the audit log."""
    query = expect(PageQuery, call.query)
    rows = await call.service.services.store.read(lambda tx: tuple(tx.records.audit(query.page())))
    items, following = cut_page(rows, query, lambda row: str(row.sequence))
    return AuditList(items=[_view(row) for row in items], next=following)


def _view(row: AuditEntry) -> AuditView:
    return AuditView(
        sequence=row.sequence,
        at=row.at,
        subject=row.subject,
        action=row.action,
        target=redact_text(row.target),
        outcome=redact_text(row.outcome),
        details=to_json(row.details),
    )


ROUTES = (
    Route(
        "GET",
        "/audit",
        list_audit,
        Access.READ,
        "List who did what, newest first.",
        answer=AuditList,
        query=PageQuery,
        everywhere=True,
    ),
)
