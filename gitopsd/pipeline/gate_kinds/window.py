"""``window:``: runs are let in at certain times."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

from gitopsd.domain.gates import Closed, GateAnswer, Open
from gitopsd.domain.windows import CronWindow, Window, WindowGate
from gitopsd.pipeline.facts import GateFacts
from gitopsd.pipeline.gate_kinds.soak import say_duration
from gitopsd.pipeline.window_times import FURTHEST, find_denial, is_open, next_change

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def evaluate_window(spec: WindowGate, facts: GateFacts) -> GateAnswer:
    """Answer by the clock of the window's zone."""
    change = next_change(spec, facts.now)
    if is_open(spec, facts.now):
        return Open(f"until {say_moment(change, spec)}" if change is not None else "")
    denial = find_denial(spec, facts.now)
    why = f"{say_window(denial)} is denied" if denial is not None else "outside of its hours"
    who = f" (by {' or '.join(spec.override)})" if spec.override else ""
    skip = f"gitopsd skip {facts.run.id} {_name(spec, facts)} --reason WHY{who}"
    if change is None:
        return Closed(f"{why}; it does not open within {FURTHEST.days} days", skip)
    when = say_moment(change, spec)
    return Closed(f"{why}; opens {when}", f"wait until {when}, or: {skip}", change)


def say_moment(moment: datetime, spec: WindowGate) -> str:
    """Say a moment by the window's own clock: ``Mon 2030-06-03 08:00 Europe/Madrid``."""
    local = moment.astimezone(ZoneInfo(spec.timezone))
    return f"{_DAYS[local.weekday()]} {local:%Y-%m-%d %H:%M} {spec.timezone}"


def say_window(window: Window) -> str:
    """Say an entry as the file writes it."""
    if isinstance(window, CronWindow):
        return f"{say_duration(window.duration)} from cron {window.cron!r} on"
    return repr(window.text)


def _name(spec: WindowGate, facts: GateFacts) -> str:
    number = [gate for gate in facts.spec.gates if isinstance(gate, WindowGate)].index(spec) + 1
    return f"window-{number}" if number > 1 else "window"
