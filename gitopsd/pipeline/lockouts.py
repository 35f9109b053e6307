"""What it means for a run that its cluster lets us ask nothing: it is locked out.

The cluster refuses our credential, or we its certificate; only a person ends that. The time is not
the application's, so the clock of the step stands still, for as long as one attempt after the other
is refused. An attempt that comes to anything else is let in, whatever it says, and its time counts:
refusals that alternate with other trouble come to the step's deadline in the end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from gitopsd.domain.runs import Run

AFTER_LOCKOUT = timedelta(minutes=2)
"""What a step has at least after its first refusals: longer than one execution of it."""

CALLED_AT = 2
"""Refused attempts of a step, in a row or not, after which a person is called."""


def is_locked_out(run: Run) -> bool:
    """Tell whether a person was called for a run whose last attempt was refused, too."""
    return run.lockouts >= CALLED_AT and run.locked_out_until is not None


def lock_out(run: Run, at: datetime, again: datetime) -> Run:
    """Let a step's time stand still after an attempt that the cluster did not let us make.

    Args:
        run: The run, as it was after the attempt before.
        at: When the attempt came to nothing.
        again: When the next one is due.
    """
    return replace(
        run,
        step_deadline=compute_standstill(run, at, again),
        lockouts=run.lockouts + 1,
        locked_out_until=again,
    )


def let_in(run: Run) -> Run:
    """Let a step's time pass again; how often it was refused stays known until it is over."""
    return run if run.locked_out_until is None else replace(run, locked_out_until=None)


def compute_standstill(run: Run, at: datetime, again: datetime) -> datetime:
    """Compute a step's deadline after an attempt that the cluster did not let us make.

    The time until the next attempt is nobody's, and neither is what passed since the one before
    was due, if that was none either. Only the first refusal of a step prolongs it beyond that.
    While a freeze has the run wait its deadline stands still anyway, see `clocks`.

    Args:
        run: The run, as it was after the attempt before.
        at: When the attempt came to nothing.
        again: When the next one is due.
    """
    stopped, deadline = run.clock_stopped_at, run.step_deadline or again
    own = deadline if stopped else deadline + (again - (run.locked_out_until or at))
    return own if run.lockouts else max(own, (stopped or again) + AFTER_LOCKOUT)
