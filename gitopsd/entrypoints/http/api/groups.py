"""One vote for all plans that a group of stages waits with."""

from __future__ import annotations

from pydantic import Field

from gitopsd.domain.gates import Decision
from gitopsd.engine.group_voting import vote_for_group
from gitopsd.engine.voting import Ballot
from gitopsd.entrypoints.http.api.results import (
    answer_result,
    expect,
    not_found,
    visible_application,
)
from gitopsd.entrypoints.http.models import Done, Model
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route


class GroupVoteBody(Model):
    """One vote for several plans."""

    plans: dict[str, str] = Field(
        min_length=1, max_length=200, description="Run -> the plan you saw, for each of them."
    )
    reason: str = Field("", max_length=1000)


async def approve(call: Call) -> Answer:
    """Approve the plans of a group."""
    return await _vote(call, Decision.APPROVE)


async def reject(call: Call) -> Answer:
    """Reject the plans of a group."""
    return await _vote(call, Decision.REJECT)


async def _vote(call: Call, decision: Decision) -> Done:
    name, group = visible_application(call), call.path["group"]
    call.require(Access.APPROVE, name)
    body, services = expect(GroupVoteBody, call.body), call.service.services
    spec = await services.store.read(lambda tx: tx.specs.current(name))
    if spec is None or spec.group_named(group) is None:
        raise not_found("group", f"{name}/{group}")
    ballot = Ballot(decision, reason=body.reason)
    done = await vote_for_group(services, call.actor, name, group, body.plans, ballot)
    return answer_result(done)


ROUTES = tuple(
    Route(
        "POST",
        f"/applications/{{app}}/groups/{{group}}/{verb}",
        handler,
        Access.APPROVE,
        summary,
        answer=Done,
        body=GroupVoteBody,
    )
    for verb, handler, summary in (
        ("approve", approve, "Approve the plans that a group waits with, all at once."),
        ("reject", reject, "Reject the plans that a group waits with; their runs end."),
    )
)
