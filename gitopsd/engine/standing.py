"""How every stage stands now, as ``gitopsd_app_info`` tells it."""

from __future__ import annotations

from gitopsd.domain.manifests import Health
from gitopsd.domain.stages import Stage
from gitopsd.store_ports import Transaction

SYNC = {True: "Synced", False: "OutOfSync", None: "Unknown"}
"""How the last look's agreement with the applied set is called."""


def describe_standing(tx: Transaction) -> tuple[dict[str, str], ...]:
    """Describe every stage that is configured."""
    return tuple(_describe(stage) for stage in tx.stages.page() if stage.retired_at is None)


def _describe(stage: Stage) -> dict[str, str]:
    seen = stage.observation
    return {
        "application": stage.key.application,
        "stage": stage.key.stage,
        "sync": SYNC[seen.synced if seen is not None else None],
        "health": (seen.health if seen is not None else Health.UNKNOWN).value,
        "release": stage.applied.release if stage.applied is not None else "",
    }
