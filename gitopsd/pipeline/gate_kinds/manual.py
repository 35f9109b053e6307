"""``manual:``: a person names the release."""

from __future__ import annotations

from gitopsd.domain.gate_specs import ManualGate
from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.people_facts import names_of


def evaluate_manual(spec: ManualGate, facts: GateFacts) -> GateAnswer:
    """Answer by whether somebody whom the gate names now has named this very release."""
    key, release, naming = facts.stage.key, facts.run.release, facts.stage.naming
    allowed = " or ".join(spec.subjects)
    command = f"gitopsd promote {key.application} {key.stage} {release}"
    opener = f"{command} (by {allowed})"
    if naming is None:
        return Closed(f"nobody has named {release} for {key.stage}", opener)
    if naming.release != release:
        return Closed(f"{naming.by} has named {naming.release}, not {release}", opener)
    people = facts.people
    if naming.token in people.revoked_tokens:
        return Closed(f"{naming.by} named it with a token that was revoked", opener)
    names = names_of(people.directory, naming.by, naming.groups, known=naming.known)
    if names.isdisjoint(spec.subjects):
        return Closed(f"{naming.by}, who named it, is not {allowed}", opener)
    return Open(f"named by {naming.by} at {naming.at:%Y-%m-%d %H:%M} UTC")
