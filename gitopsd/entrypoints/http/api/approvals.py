"""Approvals: what waits for one, and what people said."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from gitopsd.domain.config import Configuration
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Decision
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.engine.facts import load_gate_facts
from gitopsd.entrypoints.http.api.results import cut_page, expect
from gitopsd.entrypoints.http.api.vote_views import VoteView, view_vote
from gitopsd.entrypoints.http.models import Model, PageQuery
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.routes import Answer, Call, Route
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.votes import judge_votes
from gitopsd.pipeline.people_facts import tell_apart
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
                for waiting in _waiting(tx, run, call.service.services.configuration())
            ],
            next=following,
        )

    return await call.service.services.store.read(work)


def _may_see(tx: Transaction, call: Call, run: RunId) -> bool:
    found = tx.runs.get(run)
    return found is not None and call.principal.may(Access.READ, found.stage.application)


def _waiting(tx: Transaction, run: Run, config: Configuration) -> list[WaitingView]:
    if run.phase is not Phase.RUNNING or run.step is not Step.GATE or run.plan is None:
        return []
    if run.plan_empty:
        return []
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return []
    gates = [gate for gate in spec.gates if isinstance(gate, ApprovalGate)]
    facts = load_gate_facts(tx, run, application, spec, config) if gates else None
    return [_view(gate, facts, run.plan) for gate in gates] if facts is not None else []


def _view(gate: ApprovalGate, facts: GateFacts, plan: str) -> WaitingView:
    run = facts.run
    agreed = [
        one.vote.subject
        for one in judge_votes(facts, gate.subjects)
        if not one.against and one.vote.decision is Decision.APPROVE
    ]
    return WaitingView(
        run=run.id,
        application=run.stage.application,
        stage=run.stage.stage,
        release=run.release,
        plan=plan,
        subjects=list(gate.subjects),
        count=gate.count,
        given=len(tell_apart(facts.people.directory, agreed)),
        expires_at=run.step_deadline,
    )


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
