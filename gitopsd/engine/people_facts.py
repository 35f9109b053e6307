"""Loads what gates that people open are decided from, inside the deciding transaction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gitopsd.domain.config import ApplicationSpec, StageSpec
from gitopsd.domain.gate_specs import ApprovalGate
from gitopsd.domain.gates import GateSkip, Vote
from gitopsd.domain.people import People
from gitopsd.domain.releases import ReleaseId
from gitopsd.domain.work import Evidence
from gitopsd.engine.contributions import load_contributions
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.people_facts import PeopleFacts
from gitopsd.store_ports import Transaction


def load_people_facts(
    tx: Transaction,
    facts: GateFacts,
    application: ApplicationSpec,
    directory: People,
    verified: ReleaseId | None,
    evidence: Sequence[Evidence],
) -> PeopleFacts:
    """Load who there is, whose commits a run brings, and what people let it pass.

    Args:
        tx: The transaction.
        facts: What was loaded for the run already.
        application: The application file as it is now.
        directory: ``people.yaml`` as it is now.
        verified: Release that the stage runs verified; None when it runs nothing verified.
        evidence: What the run has kept.
    """
    skips = tuple(skip for skip in tx.skips.of_run(facts.run.id) if skip.void_at is None)
    contributions = None
    if _asks_people(facts.spec):
        repo = application.source.repo
        contributions = load_contributions(tx, facts.release, verified, evidence, repo)
    return PeopleFacts(
        directory=directory,
        contributions=contributions,
        revoked_tokens=_revoked(tx, _tokens(facts, skips)),
        skips=skips,
    )


def _asks_people(spec: StageSpec) -> bool:
    return any(isinstance(gate, ApprovalGate) for gate in spec.gates)


def _tokens(facts: GateFacts, skips: Iterable[GateSkip]) -> frozenset[str]:
    """List the tokens that something was said with; nothing of it counts once one is revoked."""
    said: Iterable[Vote | GateSkip] = (*facts.votes, *skips)
    used = {one.token for one in said}
    if facts.stage.naming is not None:
        used.add(facts.stage.naming.token)
    return frozenset(used - {""})


def _revoked(tx: Transaction, used: frozenset[str]) -> frozenset[str]:
    if not used:
        return frozenset()
    return frozenset(
        token.id
        for token in tx.records.tokens()
        if token.id in used and token.revoked_at is not None
    )
