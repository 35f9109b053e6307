"""Which processes live, and what becomes of the work that a dead one had claimed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from gitopsd.domain.work import Replica
from gitopsd.store_ports import Transaction

BEAT = timedelta(seconds=10)
"""How often a replica shows that it lives."""

SILENCE = timedelta(seconds=30)
"""A replica that has not shown it for this long is dead or stopped; as long as a lease lasts."""


def beat(tx: Transaction, mine: Replica) -> int:
    """Show that a replica lives, and give back what silent ones had claimed; returns how much.

    One that was only stopped finds its claims taken: what it reports then counts for nothing, and
    its right to write is over.

    Safe to repeat: a sign of life is renewed, claims are given back once.
    """
    tx.records.heartbeat(replace(mine, seen_at=tx.now))
    given_back = 0
    for other in tx.records.replicas():
        if tx.now - other.seen_at > SILENCE:
            given_back += tx.work.release_claims(other.id)
            tx.records.forget_replica(other.id)
    return given_back
