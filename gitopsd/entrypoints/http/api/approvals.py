"""Approvals: what waits for one, and what people said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.entrypoints.http.api.results import cut_page, expect
from gitopsd.entrypoints.http.api.vote_views import VoteView, view_vote
from gitopsd.entrypoints.http.models import Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.store_ports import Transaction


class WaitingView(Model):
    """A run that stands at its Gate and needs approvals."""

    run: str
    application: str
    stage: str
    release: str
    plan: str
    subjects: list[str] = Field(serialization_alias="from", description="Who may vote.")
    count: int = Field(description="Approvals that are needed.")
    given: int = Field(description="Approvals that count so far.")
    expires_at: datetime | None = Field(description="When the run expires.")


class ApprovalList(Model):
    """Votes, newest first, and everything that waits for one."""

    items: list[VoteView]
    waiting: list[WaitingView]
    next: str | None = Field(None, description="Cursor of the next page; null at the end.")


async def list_approvals(call: Call) -> Answer:
    """List votes, and what waits for one."""
    query = expect(PageQuery, call.query)

    def work(tx: Transaction) -> ApprovalList:
        rows, following = cut_page(tx.votes.page(query.page()), query, lambda row: row.id)
        return ApprovalList(
            items=[view_vote(row) for row in rows if _may_see(tx, call, row.run)],
            waiting=[
                waiting
                for run in tx.runs.live()
                if call.principal.may(Access.READ, run.stage.application)
                for waiting in _waiting(tx, run)
            ],
            next=following,
        )

    return await call.service.services.store.read(work)


def _may_see(tx: Transaction, call: Call, run: RunId) -> bool:
    found = tx.runs.get(run)
    return found is not None and call.principal.may(Access.READ, found.stage.application)


def _waiting(tx: Transaction, run: Run) -> list[WaitingView]:
    if run.phase is not Phase.RUNNING or run.step is not Step.GATE or run.plan is None:
        return []
    if run.plan_empty:
        return []
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    gates = [gate for gate in spec.gates if isinstance(gate, ApprovalGate)] if spec else []
    return [_view(run, gate, tx.votes.of_run(run.id), run.plan) for gate in gates]


def _view(run: Run, gate: ApprovalGate, votes: Sequence[Vote], plan: str) -> WaitingView:
    given = {vote.subject for vote in votes if _counts(vote, gate, plan)}
    return WaitingView(
        run=run.id,
        application=run.stage.application,
        stage=run.stage.stage,
        release=run.release,
        plan=plan,
        subjects=list(gate.subjects),
        count=gate.count,
        given=len(given),
        expires_at=run.step_deadline,
    )


def _counts(vote: Vote, gate: ApprovalGate, plan: str) -> bool:
    mine = {f"user:{vote.subject}", *(f"group:{group}" for group in vote.groups)}
    standing = vote.void_at is None and vote.plan == plan
    return standing and vote.decision is Decision.APPROVE and bool(mine & set(gate.subjects))


ROUTES = (
    Route(
        "GET",
        "/approvals",
        list_approvals,
        Access.READ,
        "List approvals and rejections, and what waits for one.",
        answer=ApprovalList,
        query=PageQuery,
    ),
)
