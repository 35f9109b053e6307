"""Says in one line how a stage or a run stands: before a person's verb, and after it."""

from __future__ import annotations

from gitopsd.domain.releases import StageKey
from gitopsd.domain.runs import Run, RunId
from gitopsd.store_ports import Transaction


def say_run_state(tx: Transaction, run_id: RunId) -> str:
    """Say how a run and its stage stand; empty when there is no such run."""
    run = tx.runs.get(run_id)
    if run is None:
        return ""
    return f"{_say_run(run)}; {say_stage_state(tx, run.stage)}"


def say_stage_state(tx: Transaction, key: StageKey) -> str:
    """Say how a stage stands; empty when there is no such stage."""
    stage = tx.stages.get(key)
    if stage is None:
        return ""
    applied = stage.applied
    said = [f"{key} has {applied.release}" if applied is not None else f"{key} has nothing"]
    if applied is not None and stage.verified is None:
        said.append("not verified")
    for slot, run_id in (("front", stage.front), ("next", stage.next)):
        run = tx.runs.get(run_id) if run_id is not None else None
        if run is not None:
            said.append(f"{slot}: {_say_run(run)}")
    if stage.requested is not None:
        said.append(f"asked for: {stage.requested}")
    if stage.suspended is not None:
        said.append(f"suspended by {stage.suspended.by}")
    if stage.hold is not None:
        said.append(f"held by {stage.hold.by}")
    if stage.stall is not None:
        said.append(f"stalled ({stage.stall.reason.value})")
    if stage.retired_at is not None:
        said.append("retired")
    return ", ".join(said)


def say_quarantine_state(tx: Transaction, quarantine_id: str) -> str:
    """Say whether a quarantine is in force; empty when there is no such quarantine."""
    found = tx.quarantines.get(quarantine_id)
    if found is None:
        return ""
    kept = f"{found.release} in {found.stage}"
    return (
        f"{kept}: in force" if found.lifted_at is None else f"{kept}: lifted by {found.lifted_by}"
    )


def _say_run(run: Run) -> str:
    where = run.step.value if run.live and run.step is not None else run.phase.value
    why = f" ({run.failure.reason})" if run.failure is not None and not run.live else ""
    ends = run.live and (run.aborting or run.redirect is not None)
    return f"{run.id} ({run.kind.value}) in {where}{why}{', which ends' if ends else ''}"
