"""Writes what becomes of each verb in each situation into docs/verbs.md, between two markers.

``python -m tools.verb_page`` (or ``make verbs``) replaces it; a test fails while it is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from gitopsd.domain.runs import RunKind
from gitopsd.pipeline.verb_table import TABLE
from gitopsd.pipeline.verbs import (
    COMMANDS,
    MEANINGS,
    SEQUELS,
    Allowed,
    Answer,
    Situation,
    Verb,
    positions_of_kind,
)

DOCUMENT = Path("docs/verbs.md")
BEGIN = "<!-- verbs: written by `make verbs`, do not edit -->"
END = "<!-- end of verbs -->"

_WORDS: Mapping[str, str] = {
    "run": "RUN",
    "phase": "PHASE",
    "step": "STEP",
    "why": "",
    "release": "RELEASE",
    "application": "APPLICATION",
    "name": "STAGE",
    "stage": "APPLICATION/STAGE",
    "stages": "...",
    "front": "RUN",
    "stall": "...",
    "freeze": "FREEZE",
    "frozen": "...",
    "quarantine": "QUARANTINE",
    "failed": "...",
    "target": "ID",
}
_FEW = 2
_COMMAND = re.compile(r"gitopsd [^;,|]*[^;,| ]")


def render_verbs() -> str:
    """Write the situations and the table as one piece of Markdown, without a newline at its end."""
    meanings = [f"| {_title(at)} | {MEANINGS[at]} |" for at in Situation if at in MEANINGS]
    head = ["| situation | what it is |", "|---|---|", *meanings]
    return "\n".join([*head, *(line for verb in Verb for line in _draw(verb))])


def put_verbs(document: str, verbs: str) -> str:
    """Replace what stands between the markers.

    Raises:
        ValueError: A marker is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} lacks a marker: write the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{verbs}\n\n{END}{after}"


def _draw(verb: Verb) -> Iterable[str]:
    """Draw one verb: a row for each answer, with all situations that have it."""
    places: dict[Answer, list[Situation]] = {}
    for at in Situation:
        places.setdefault(TABLE[verb][at], []).append(at)
    yield from ("", f"### {verb.value}", "", f"`{COMMANDS[verb]}`", "")
    yield from ("| where | what becomes of it |", "|---|---|")
    for answer, where in places.items():
        yield f"| {_name(where)} | {_say(answer)} |"


def _name(where: list[Situation]) -> str:
    """Name situations: those of one kind of run together, all that are left by their titles."""
    missing = [at for at in Situation if at not in where]
    if len(missing) <= _FEW:
        return f"everywhere but {'; '.join(_title(at) for at in missing)}"
    parts = []
    for kind in RunKind:
        positions = positions_of_kind(kind)
        steps = [at.value.removeprefix(kind.value) for at in positions if at in where]
        if len(steps) == len(positions):
            parts.append(f"a {kind.value} in any step")
        elif steps:
            parts.append(f"a {kind.value} in {', '.join(steps)}")
    parts += [_title(at) for at in where if at in MEANINGS]
    return "; ".join(parts)


def _title(at: Situation) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", at.value).capitalize()


def _say(answer: Answer) -> str:
    if isinstance(answer, Allowed):
        return f"**yes**: {SEQUELS[answer.then]}"
    said = answer.sentence.format_map(_WORDS)
    return f"{answer.status}: {_COMMAND.sub(lambda found: f'`{found[0]}`', said)}"


def main(root: Path) -> None:
    """Write the table under a checkout's root."""
    path = root / DOCUMENT
    path.write_text(put_verbs(path.read_text("utf-8"), render_verbs()), "utf-8")
    sys.stdout.write(f"wrote the verbs to {DOCUMENT}\n")


if __name__ == "__main__":
    main(Path(__file__).parents[1])
