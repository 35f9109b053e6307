"""Lets a run pass one gate that is not open, with a person's reason, for one plan."""

from __future__ import annotations

import secrets

from gitopsd.domain.config import Configuration
from gitopsd.domain.gate_specs import GateSpec
from gitopsd.domain.gates import GateSkip, GateState, Open
from gitopsd.domain.runs import RunId
from gitopsd.engine.actors import ActionDone, ActionRefused, ActionResult, Actor
from gitopsd.engine.facts import load_gate_facts
from gitopsd.engine.gate_evidence import say_gate
from gitopsd.engine.verb_checks import refuse_for_run
from gitopsd.engine.voting import find_plan_obstacle, find_time_obstacle
from gitopsd.pipeline.apply_hold import evaluate_before_apply, is_held_before_apply
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import evaluate_gates
from gitopsd.pipeline.skips import digest_gate, find_skip_obstacle
from gitopsd.pipeline.verbs import Verb
from gitopsd.store_ports import Transaction


def skip_gate(
    tx: Transaction,
    actor: Actor,
    run_id: RunId,
    gate: str,
    *,
    plan: str,
    reason: str,
    config: Configuration,
) -> ActionResult:
    """Store that a run may pass a gate with its present plan.

    Args:
        tx: The transaction.
        actor: Who lets it pass.
        run_id: The run.
        gate: Name of the gate, as `gitopsd explain` shows it.
        plan: Plan that the person saw; empty for the present one.
        reason: Why, in their words.
        config: The configuration.
    """
    refused = refuse_for_run(tx, Verb.SKIP, run_id, config)
    run = tx.runs.get(run_id)
    if refused is not None or run is None:
        return refused or ActionRefused(404, f"there is no run {run_id}")
    waits = "" if is_held_before_apply(run) else find_time_obstacle(tx, run)
    obstacle = waits or find_plan_obstacle(run, plan)
    if obstacle or run.plan is None:
        return ActionRefused(409, obstacle or f"{run_id} has no plan yet")
    application = tx.specs.current(run.stage.application)
    spec = application.stage(run.stage.stage) if application is not None else None
    if application is None or spec is None:
        return ActionRefused(409, f"{run.stage} is not configured any more")
    facts = load_gate_facts(tx, run, application, spec, config)
    if facts is None:
        return ActionRefused(409, f"{run.stage} is not known any more")
    found = _find(facts, gate)
    if found is None:
        names = ", ".join(state.name for state in evaluate_gates(facts))
        return ActionRefused(404, f"{run_id} has no gate {gate}; it has {names}")
    state, content = found
    refusal = _may_skip(actor, state, content, facts)
    if refusal is not None:
        return refusal
    tx.skips.add(
        GateSkip(
            id=f"skip-{secrets.token_hex(6)}",
            run=run_id,
            plan=run.plan,
            gate=gate,
            content=digest_gate(content),
            subject=actor.subject,
            reason=reason,
            at=tx.now,
            token=actor.token,
        )
    )
    if run.command is not None:
        tx.work.hasten(run.command, tx.now)
    after = Open(f"skipped by {actor.subject}: {reason}")
    return ActionDone(
        f"{run_id} passes its gate {gate} (plan {run.plan})",
        run_id,
        details={
            "gate": gate,
            "plan": run.plan,
            "reason": reason,
            "before": say_gate(state),
            "after": say_gate(GateState(state.name, state.implicit, after)),
        },
    )


def _find(facts: GateFacts, gate: str) -> tuple[GateState, GateSpec | None] | None:
    """Find a gate of a run and what is configured for it."""
    configured = facts.spec.gates
    held = is_held_before_apply(facts.run)
    states = evaluate_before_apply(facts) if held else evaluate_gates(facts)
    for number, state in enumerate(states):
        if state.name == gate:
            return state, configured[number] if number < len(configured) else None
    return None


def _may_skip(
    actor: Actor, state: GateState, content: GateSpec | None, facts: GateFacts
) -> ActionRefused | None:
    answer = state.answer
    if isinstance(answer, Open):
        why = f": {answer.reason}" if answer.reason else ""
        return ActionRefused(409, f"{state.name} is open already{why}")
    obstacle = find_skip_obstacle(state, content, facts, actor.subject, actor.groups)
    if not obstacle:
        return None
    if not state.implicit:
        return ActionRefused(403, obstacle)
    return ActionRefused(409, f"{obstacle}; {_say_instead(state)}")


def _say_instead(state: GateState) -> str:
    return getattr(state.answer, "opener", "") or state.answer.reason
