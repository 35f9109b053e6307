"""Which events that change nothing of a run are worth telling people."""

from __future__ import annotations

from gitopsd.pipeline.events import (
    AbortRequested,
    Event,
    GateRefused,
    RollbackRequested,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)

_TOLD = (
    AbortRequested,
    GateRefused,
    RollbackRequested,
    StepErrored,
    StepFailed,
    StepPending,
    StepSucceeded,
    Superseded,
)


def is_told(event: Event) -> bool:
    """Tell whether somebody may ask why an event changed nothing.

    What people and other runs wish, and what work reports that nobody waits for any more. All else
    is read anew again and again by design, and means nothing where it does not fit.
    """
    return isinstance(event, _TOLD)
