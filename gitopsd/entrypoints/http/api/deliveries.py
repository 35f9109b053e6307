"""Webhook deliveries: what came, what became of it, what was refused."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from gitopsd.domain.sources import Delivery, DeliveryState
from gitopsd.entrypoints.http.api.results import cut_page, expect
from gitopsd.entrypoints.http.models import Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class DeliveryView(Model):
    """One request from a provider; its body is never shown."""

    id: str
    receiver: str
    key: str = Field(description="The provider's own key.")
    received_at: datetime
    state: str = Field(description="Stored, Done or DeadLettered.")
    attempts: int
    reason: str = Field(description="What became of it, or why it was dead-lettered.")
    bytes: int
    sha256: str


class DeliveryList(Model):
    """Deliveries, newest first."""

    items: list[DeliveryView]
    refused: dict[str, int] = Field(description="Badly signed requests, by receiver.")
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


class DeliveriesQuery(PageQuery):
    """Which deliveries."""

    state: Literal["", "Stored", "Done", "DeadLettered"] = Field("", description="Only these.")


async def list_deliveries(call: Call) -> Answer:
    """List deliveries."""
    query = expect(DeliveriesQuery, call.query)
    state = DeliveryState(query.state) if query.state else None
    rows, refused = await call.service.services.store.read(
        lambda tx: (
            tuple(tx.deliveries.page_without_bodies(query.page(), state=state)),
            dict(tx.deliveries.refused()),
        )
    )
    items, following = cut_page(rows, query, lambda row: row[0].id)
    return DeliveryList(items=[_view(*row) for row in items], refused=refused, next=following)


def _view(row: Delivery, body_bytes: int) -> DeliveryView:
    return DeliveryView(
        id=row.id,
        receiver=row.receiver,
        key=redact_text(row.key),
        received_at=row.received_at,
        state=row.state.value,
        attempts=row.attempts,
        reason=redact_text(row.reason),
        bytes=body_bytes,
        sha256=row.body_sha256,
    )


ROUTES = (
    Route(
        "GET",
        "/deliveries",
        list_deliveries,
        Access.READ,
        "List webhook deliveries, newest first; their bodies are not shown.",
        answer=DeliveryList,
        query=DeliveriesQuery,
        everywhere=True,
    ),
)
