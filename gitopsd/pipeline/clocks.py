"""What it means for a run that its deadline stands still: a freeze, or a shut window, has it wait.

Unlike a lockout (`lockouts`), which moves a deadline on with each refused attempt, this stops the
clock once and starts it once. The two meet in a step at most for a moment, and time is never given
back for both: what a lockout lent in advance is taken back where the clock stops, and a refusal
lends nothing while it stands still.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from gitopsd.domain.runs import Run


def stop_clock(run: Run, at: datetime) -> Run:
    """Let a run's deadline stand still from now on."""
    lent_until = run.locked_out_until
    deadline = run.step_deadline
    if deadline is not None and lent_until is not None and lent_until > at:
        deadline -= lent_until - at
    return replace(run, clock_stopped_at=at, step_deadline=deadline)


def start_clock(run: Run, at: datetime) -> Run:
    """Let a run's deadline count again, later by as long as it stood still.

    If the run is locked out, it counts from the next attempt on, as it would without a freeze.
    """
    stopped, deadline = run.clock_stopped_at, run.step_deadline
    if stopped is None or deadline is None:
        return run
    counts_from = max(at, run.locked_out_until or at)
    return replace(run, clock_stopped_at=None, step_deadline=deadline + (counts_from - stopped))
