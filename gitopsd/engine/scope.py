"""What the code that runs now works on, for log lines and for whoever watches the ports."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Scope:
    """The work under way.

    Attributes:
        work: Kind of work item.
        run: Run id; empty outside of steps.
        kind: Kind of the run; empty outside of steps.
        step: Step; empty outside of steps.
        stage: ``application/stage``; empty when it is about none.
        attempt: Attempt of the step; 0 outside of steps.
    """

    work: str = ""
    run: str = ""
    kind: str = ""
    step: str = ""
    stage: str = ""
    attempt: int = 0


_NOTHING = Scope()
_CURRENT: ContextVar[Scope] = ContextVar("scope", default=_NOTHING)


def current_scope() -> Scope:
    """Tell what this task works on."""
    return _CURRENT.get()


def scope_fields() -> dict[str, str | int]:
    """Write the scope as fields of a log line, empty ones left out."""
    return {name: value for name, value in asdict(current_scope()).items() if value}


@contextmanager
def scope(entered: Scope) -> Iterator[None]:
    """Work on something until the block ends."""
    token = _CURRENT.set(entered)
    try:
        yield
    finally:
        _CURRENT.reset(token)
