"""Explanations as text for people: sentences, times in UTC and how long from now."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from gitopsd.domain.gates import Closed, GateState, Open
from gitopsd.pipeline.explanation import Explanation, Foresight, Ignored, Wait

_UNITS = (
    (timedelta(days=1), "d"),
    (timedelta(hours=1), "h"),
    (timedelta(minutes=1), "m"),
    (timedelta(seconds=1), "s"),
)
_TOLD = 2
"""Units of a span that are told: ``3d 4h``, never the minutes of it."""


def write_explanation(told: Explanation) -> tuple[str, ...]:
    """Write an explanation as lines; nothing is in them that is not in the value."""
    since = f" since {say_moment(told.since, told.at)}" if told.since is not None else ""
    run = f" ({told.run})" if told.run is not None and told.run != told.subject else ""
    return (
        f"{told.subject} is {told.state}{since}{run}",
        *(f"Because: {sentence}" for sentence in told.because),
        *(f"Waits for {_write_wait(wait, told.at)}" for wait in told.waiting_for),
        *(f"Ignored: {_write_ignored(ignored, told.at)}" for ignored in told.ignored),
        *(_write_foresight(told.foresight, told.at) if told.foresight is not None else ()),
        f"Next: {told.next}",
    )


def say_moment(moment: datetime, now: datetime) -> str:
    """Say a moment and how far it is: ``2030-06-04 09:12 UTC (in 20h 40m)``."""
    return f"{moment:%Y-%m-%d %H:%M} UTC ({_say_distance(moment - now)})"


def say_span(span: timedelta) -> str:
    """Say a span in its two largest units: ``3d 4h``, ``20h 40m``, ``45s``; empty for less."""
    parts: list[str] = []
    for unit, letter in _UNITS:
        count, span = divmod(span, unit)
        if count or parts:
            parts.append(f"{count}{letter}" if count else "")
        if len(parts) == _TOLD:
            break
    return " ".join(filter(None, parts))


def _say_distance(distance: timedelta) -> str:
    span = say_span(abs(distance))
    if not span:
        return "now"
    return f"in {span}" if distance > timedelta(0) else f"{span} ago"


def _write_wait(wait: Wait, now: datetime) -> str:
    until = f"; ends by itself at {say_moment(wait.until, now)}" if wait.until is not None else ""
    return f"{wait.what}{until}; to do: {wait.who}"


def _write_ignored(ignored: Ignored, now: datetime) -> str:
    when = f" at {say_moment(ignored.at, now)}" if ignored.at is not None else ""
    return f"{ignored.event}{when}: {ignored.reason}"


def _write_foresight(foresight: Foresight, now: datetime) -> Iterator[str]:
    when = say_moment(foresight.at, now)
    for state in foresight.gates:
        if isinstance(state.answer, Open) and not state.answer.reason:
            continue
        yield f"At {when}: {_write_gate(state)}"
    closed = [state.name for state in foresight.gates if not isinstance(state.answer, Open)]
    if not closed:
        yield f"At {when}: every gate is open"
    opens = foresight.opens_at
    if opens is None:
        yield f"From {when} on: what goes by the clock does not open by itself"
    elif opens > foresight.at:
        yield f"From {when} on: what goes by the clock is open again at {say_moment(opens, now)}"


def _write_gate(state: GateState) -> str:
    answer = state.answer
    said = f"{state.name} would be {type(answer).__name__.lower()}: {answer.reason}"
    return f"{said}; to do: {answer.opener}" if isinstance(answer, Closed) else said
