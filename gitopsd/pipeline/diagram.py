"""Draws the machine's table as Mermaid state diagrams, one for each kind of run.

Only what moves a run is drawn: rows that leave it where it is, such as StepPending, are not.
"""

from __future__ import annotations

from collections.abc import Iterable

from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.pipeline.steps import STEP_ORDER
from gitopsd.pipeline.table import ROWS, Position, Row, leads_to, positions_of

_IN_ORDER = sorted(ROWS, key=lambda row: row.closing)


def render_diagram() -> str:
    """Draw the diagrams of all kinds as one piece of Markdown, without a newline at its end."""
    return "\n\n".join(f"### {kind.value}\n\n{_draw(kind)}" for kind in RunKind)


def _draw(kind: RunKind) -> str:
    edges = tuple(dict.fromkeys(edge for row in _IN_ORDER for edge in _edges(row, kind)))
    inner = [f"        {edge}" for edge in edges if not _leaves(edge)]
    outer = [f"    {edge}" for edge in edges if _leaves(edge)]
    lines = [
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> Pending",
        "    state Running {",
        f"        [*] --> {STEP_ORDER[kind][0].value}",
        *inner,
        "    }",
        *outer,
        "```",
    ]
    return "\n".join(lines)


def _leaves(edge: str) -> bool:
    return edge.startswith(("Pending ", "Running "))


def _edges(row: Row, kind: RunKind) -> Iterable[str]:
    """Draw one row: steps lead to steps inside Running, Pending and Running to what is outside."""
    if kind not in row.kinds:
        return
    ends: dict[tuple[Phase, str], list[Step]] = {}
    for at in (position for position in positions_of(kind) if position in row.at):
        for to, when in leads_to(row, kind, at):
            label = f"{row.event.__name__} ({when})" if when else row.event.__name__
            if to is at:
                continue
            if isinstance(at, Step) and isinstance(to, Phase):
                ends.setdefault((to, label), []).append(at)
            else:
                yield f"{at.value} --> {_outside(at, to)} : {label}"
    for (phase, label), steps in ends.items():
        yield f"Running --> {phase.value} : {label}{_where(steps, kind)}"


def _outside(at: Position, to: Position) -> str:
    return "Running" if at is Phase.PENDING and isinstance(to, Step) else to.value


def _where(steps: list[Step], kind: RunKind) -> str:
    """Name the steps a row is for: those, or the ones it is not for, whichever is shorter."""
    missing = [step for step in STEP_ORDER[kind] if step not in steps]
    if not missing:
        return ""
    word, named = ("not in", missing) if len(missing) < len(steps) else ("in", steps)
    return f" {word} {', '.join(step.value for step in named)}"
