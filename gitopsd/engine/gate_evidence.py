"""Keeps what the gates of a run answer where people see it."""

from __future__ import annotations

from gitopsd.domain.gates import Closed, GateState, Open, Refused
from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Run, Step
from gitopsd.domain.work import Evidence, EvidenceKind
from gitopsd.store_ports import Transaction


def put_gates(tx: Transaction, run: Run, states: tuple[GateState, ...]) -> bool:
    """Store the gates' answers, replacing earlier ones. Safe to repeat.

    Returns:
        Whether they differ from the earlier ones.
    """
    content = [describe_gate(state) for state in states]
    for item in tx.runs.evidence(run.id):
        if item.kind is EvidenceKind.GATES and item.content == content:
            return False
    tx.runs.put_evidence(
        Evidence(run.id, Step.GATE, EvidenceKind.GATES, tx.now, content, key="gates")
    )
    return True


def say_gate(state: GateState) -> str:
    """Say what a gate answers, for the audit log: ``Closed: 0 of 1 approvals``."""
    answer = state.answer
    return f"{type(answer).__name__}: {answer.reason}" if answer.reason else type(answer).__name__


def describe_gate(state: GateState) -> dict[str, Json]:
    """Say one gate as the API does."""
    answer = state.answer
    described: dict[str, Json] = {
        "name": state.name,
        "implicit": state.implicit,
        "state": type(answer).__name__,
        "reason": answer.reason,
    }
    match answer:
        case Closed(opener=opener, until=until):
            described["opener"] = opener
            described["until"] = until.isoformat() if until is not None else None
        case Open() | Refused():
            pass
    return described
