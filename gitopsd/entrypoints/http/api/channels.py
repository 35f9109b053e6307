"""Channels: how each of them fares."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.reports import ChannelState
from gitopsd.entrypoints.http.api.results import cut_page, expect
from gitopsd.entrypoints.http.models import Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.kube.redaction import redact_text


class ChannelView(Model):
    """Where notifications go, and whether they arrive."""

    name: str
    type: str = Field(description="webhook, slack or github.")
    problem: str = Field(description="Why it takes no messages; empty while it does.")
    since: datetime | None = Field(description="Since when that is so; null for ever.")
    dropped: int = Field(description="Messages that were given up.")
    dropped_at: datetime | None = Field(description="When the last one was given up.")
    dropped_why: str = Field(description="Why it was.")


class ChannelList(Model):
    """Channels, by name."""

    items: list[ChannelView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


async def list_channels(call: Call) -> Answer:
    """List the configured channels and how they fare."""
    query = expect(PageQuery, call.query)
    services = call.service.services
    stored = await services.store.read(lambda tx: tuple(tx.handles.channels()))
    states = {state.channel: state for state in stored}
    configured = services.configuration().channels
    names = [name for name in sorted(configured) if name > query.before]
    views = [_view(configured[name], states.get(name)) for name in names[: query.limit + 1]]
    items, following = cut_page(views, query, lambda view: view.name)
    return ChannelList(items=list(items), next=following)


def _view(channel: ChannelSpec, state: ChannelState | None) -> ChannelView:
    return ChannelView(
        name=channel.name,
        type=channel.type.value,
        problem=redact_text(state.problem) if state is not None else "",
        since=state.since if state is not None else None,
        dropped=state.dropped if state is not None else 0,
        dropped_at=state.dropped_at if state is not None else None,
        dropped_why=redact_text(state.dropped_why) if state is not None else "",
    )


ROUTES = (
    Route(
        "GET",
        "/channels",
        list_channels,
        Access.READ,
        "List the channels, whether each takes messages, and what was given up.",
        answer=ChannelList,
        query=PageQuery,
        everywhere=True,
    ),
)
