"""Approvals and rejections: who may vote, and on which plan."""

from __future__ import annotations

import secrets

from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.runs import Phase, Run, RunId, Step
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.store_ports import Transaction


def cast_vote(
    tx: Transaction, actor: Actor, run_id: RunId, plan: str, reason: str, decision: Decision
) -> ActionResult:
    """Store a person's vote for a run's present plan.

    Args:
        tx: The transaction.
        actor: Who votes.
        run_id: The run.
        plan: Plan that the person saw; empty for the present one.
        reason: In their words.
        decision: Approve or reject.
    """
    run = tx.runs.get(run_id)
    if run is None:
        return ActionRefused(404, f"there is no run {run_id}")
    if run.phase is not Phase.RUNNING or run.step is not Step.GATE or run.plan is None:
        return ActionRefused(409, f"{run_id} does not stand at its Gate")
    if plan and plan != run.plan:
        message = (
            f"the plan changed since you saw it (now {run.plan}); look at it again: "
            f"gitopsd diff {run_id}"
        )
        return ActionRefused(409, message)
    refusal = _may_vote(tx, actor, run)
    if refusal is not None:
        return refusal
    vote = Vote(
        id=f"vote-{secrets.token_hex(6)}",
        run=run_id,
        plan=run.plan,
        subject=actor.subject,
        groups=actor.groups,
        decision=decision,
        reason=reason,
        at=tx.now,
    )
    tx.votes.add(vote)
    if run.command is not None:
        tx.work.hasten(run.command, tx.now)
    word = "approved" if decision is Decision.APPROVE else "rejected"
    return ActionDone(f"{actor.subject} {word} {run_id} (plan {run.plan})", run_id)


def _may_vote(tx: Transaction, actor: Actor, run: Run) -> ActionRefused | None:
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    gates = [gate for gate in spec.gates if isinstance(gate, ApprovalGate)] if spec else []
    mine = {f"user:{actor.subject}", *(f"group:{group}" for group in actor.groups)}
    if gates and not any(mine & set(gate.subjects) for gate in gates):
        allowed = ", ".join(sorted({subject for gate in gates for subject in gate.subjects}))
        return ActionRefused(403, f"only {allowed} may vote here, not user:{actor.subject}")
    return None
