"""How the answers of all gates are read together."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from gitopsd.domain.config import StageSpec
from gitopsd.domain.gate_specs import ApprovalGate, SoakGate
from gitopsd.domain.gates import Closed, GateAnswer, GateState, Open, Refused
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import Line, Offer, Release, StageName
from gitopsd.domain.runs import RunKind, Step
from gitopsd.domain.sources import Commit, CommitSha, RefName
from gitopsd.domain.stages import AppliedSet, Stage
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gates import (
    all_open,
    evaluate_gates,
    first_refusal,
    is_plan_current,
    lacks_approval,
)
from tests.support.runs import BYTES, KEY, NOON, run_at

RUN = run_at(RunKind.ROLLOUT, Step.GATE)
STAGING = StageName("staging")
MINUTE = timedelta(minutes=1)
APPROVAL = ApprovalGate(("group:managers", "user:ben"))

FACTS = GateFacts(
    now=NOON,
    run=RUN,
    release=Release(RUN.release, KEY.application, Commit(CommitSha("a" * 40))),
    offer=Offer(7, Line(KEY.application, RefName("refs/heads/main")), RUN.release, NOON),
    stage=Stage(KEY),
    spec=StageSpec(KEY.stage, "one", "overlays/production", "shop", gates=(APPROVAL,)),
)

IMPLICIT = [
    "slot",
    "freeze",
    "suspend",
    "hold",
    "stall",
    "upstream",
    "quarantine",
    "pin",
    "rewind",
    "prune",
    "budget",
    "brake",
    "group",
    "observe",
]


def answer(facts: GateFacts, name: str = "approval") -> GateAnswer:
    """What one gate answers."""
    (found,) = [state.answer for state in evaluate_gates(facts) if state.name == name]
    return found


def test_all_gates_answer_each_time_in_a_fixed_order() -> None:
    """Configured ones in file order, numbered from the second of a kind, then the implicit ones."""
    soak = SoakGate(STAGING, MINUTE)
    spec = replace(FACTS.spec, gates=(soak, APPROVAL, soak, APPROVAL, soak))
    states = evaluate_gates(replace(FACTS, spec=spec))
    configured = ["soak", "approval", "soak-2", "approval-2", "soak-3"]
    assert [state.name for state in states] == [*configured, *IMPLICIT]
    assert [state.implicit for state in states] == [False] * 5 + [True] * 14


def test_a_stage_without_gates_is_automatic() -> None:
    """Only implicit gates are left, and they are open."""
    states = evaluate_gates(replace(FACTS, spec=replace(FACTS.spec, gates=())))
    assert [state.name for state in states] == IMPLICIT
    assert all_open(states)
    assert first_refusal(states) is None


def test_every_gate_must_hold() -> None:
    """One that is closed, or refused, is enough to wait."""
    gate = GateState("a", implicit=False, answer=Open())
    assert all_open([gate, gate])
    assert not all_open([gate, replace(gate, answer=Closed("why", "how"))])
    assert not all_open([replace(gate, answer=Refused("no")), gate])
    assert all_open([])


def test_the_first_refusal_names_its_gate() -> None:
    """Closed gates before it do not matter."""
    closed = GateState("soak", implicit=False, answer=Closed("why", "how"))
    refused = GateState("approval", implicit=False, answer=Refused("rejected by maria"))
    later = GateState("prune", implicit=True, answer=Refused("rejected by ben"))
    assert first_refusal([closed, refused, later]) == "approval: rejected by maria"
    assert first_refusal([closed]) is None


def test_a_plan_counts_for_the_applied_set_it_was_made_against() -> None:
    """Against an empty stage, or against these very bytes; anything else is planned anew."""
    applied = AppliedSet(RUN.release, BYTES, RUN.id, NOON)
    empty, other = Stage(KEY), replace(applied, rendered=Digest("sha256:other"))
    first, later = replace(RUN, plan_base=None), replace(RUN, plan_base=BYTES)
    assert is_plan_current(first, empty)
    assert is_plan_current(later, replace(empty, applied=applied))
    assert not is_plan_current(first, replace(empty, applied=applied))
    assert not is_plan_current(later, empty)
    assert not is_plan_current(later, replace(empty, applied=other))


@pytest.mark.parametrize(
    "name,lacks",
    [("approval", True), ("approval-2", True), ("prune", True), ("freeze", False), ("soak", False)],
)
def test_people_are_waited_for_where_their_votes_open_a_gate(name: str, lacks: bool) -> None:
    """Approvals and large deletions wait for votes; other closed gates do not."""
    closed = GateState(name, implicit=False, answer=Closed("closed", "open it"))
    opened = GateState("approval", implicit=False, answer=Open())
    assert lacks_approval([opened, closed]) is lacks
    assert not lacks_approval([opened])
    assert not lacks_approval([])
