"""``approval:``: people agree to the plan."""

from __future__ import annotations

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Closed, Decision, GateAnswer, Open, Refused, Vote
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.votes import standing_votes


def evaluate_approval(spec: ApprovalGate, facts: GateFacts) -> GateAnswer:
    """Answer by the votes that stand for the plan."""
    run = facts.run
    if run.plan is None:
        return Closed("there is no plan to approve yet", "wait until it is diffed")
    if run.plan_empty:
        return Open("the plan changes nothing")
    votes = [vote for vote in standing_votes(facts) if _may_vote(vote, spec)]
    against = [vote for vote in votes if vote.decision is Decision.REJECT]
    if against:
        said = f": {against[0].reason}" if against[0].reason else ""
        return Refused(f"rejected by {against[0].subject}{said}")
    given = {vote.subject for vote in votes}
    if len(given) >= spec.count:
        return Open(f"approved by {', '.join(sorted(given))}")
    until = None
    if facts.gate_entered_at is not None:
        until = facts.gate_entered_at + spec.deadline
    reason = f"{len(given)} of {spec.count} approvals"
    if until is not None:
        reason = f"{reason}, expires {until:%Y-%m-%d %H:%M} UTC"
    return Closed(reason, f"gitopsd approve {run.id} (by {' or '.join(spec.subjects)})")


def _may_vote(vote: Vote, spec: ApprovalGate) -> bool:
    names = {f"user:{vote.subject}", *(f"group:{group}" for group in vote.groups)}
    return not names.isdisjoint(spec.subjects)
