"""Gates that a person lets one run pass, with a reason: which may be passed so, and for what."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from gitopsd.domain.gate_specs import ApprovalGate, GateSpec
from gitopsd.domain.gates import GateSkip, GateState, Open
from gitopsd.domain.windows import WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.people_facts import find_hand, names_of

NEVER_SKIPPED: Mapping[str, str] = {
    "slot": "two runs never write to one stage at once",
    "freeze": "a freeze is ended, not passed",
    "suspend": "a suspension is lifted, not passed",
    "hold": "a hold is lifted, not passed",
    "stall": "whoever was called decides what becomes of the stage",
    "upstream": "nothing is promoted that was not verified",
    "quarantine": "what failed here is let in again by lifting its quarantine",
    "rewind": "an older release is asked for by its name",
    "prune": "deletions are agreed to, by a vote for the plan",
    "observe": "a stage that only observes is never written to",
}
"""Implicit gates that have a verb of their own, or none at all, and why. The others (budget,
brake, group and pin) and everything that is configured may be skipped."""


def pass_skipped(state: GateState, spec: GateSpec | None, facts: GateFacts) -> GateState:
    """Open a gate that a person let the run pass; any other one stays as it answered.

    Args:
        state: The gate and its own answer.
        spec: What is configured for it; None for an implicit one.
        facts: The facts.
    """
    skip = _find_skip(state, spec, facts)
    if skip is None:
        return state
    return replace(state, answer=Open(f"skipped by {skip.subject}: {skip.reason}"))


def digest_gate(spec: GateSpec | None) -> str:
    """Name what is configured for a gate, so that a skip does not count for another one.

    It is compared, never read; a version that configures more for the kind makes another one, and
    a skip from before asks to be given again.
    """
    return hashlib.sha256(repr(spec).encode()).hexdigest()[:16] if spec is not None else ""


def find_skip_obstacle(
    state: GateState,
    spec: GateSpec | None,
    facts: GateFacts,
    by: str,
    groups: tuple[str, ...] = (),
) -> str:
    """Say why somebody may not skip a gate; empty when nothing is in the way.

    Args:
        state: The gate and its answer.
        spec: What is configured for it; None for an implicit one.
        facts: The facts.
        by: Who would skip it. Nobody skips the approval of what they made themselves.
        groups: Groups that the person's token says.
    """
    people = facts.people.directory
    if state.implicit and state.name in NEVER_SKIPPED:
        return f"{state.name} is not skipped: {NEVER_SKIPPED[state.name]}"
    if isinstance(spec, ApprovalGate):
        hand = find_hand(people, by, facts.people.contributions)
        if hand:
            return f"{by} {hand}, and nobody skips the approval of what they made"
    if isinstance(spec, WindowGate) and spec.override:
        names = names_of(people, by, groups, known=people.knows(by))
        if names.isdisjoint(spec.override):
            return f"only {' or '.join(spec.override)} may skip {state.name}, not user:{by}"
    return ""


def _find_skip(state: GateState, spec: GateSpec | None, facts: GateFacts) -> GateSkip | None:
    if state.implicit and state.name in NEVER_SKIPPED:
        return None
    content = digest_gate(spec)
    for skip in facts.people.skips:
        same = (skip.run, skip.plan, skip.gate) == (facts.run.id, facts.run.plan, state.name)
        stands = skip.void_at is None and skip.token not in facts.people.revoked_tokens
        if same and stands and skip.content == content:
            return skip
    return None
