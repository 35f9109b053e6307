"""Writes the state diagrams into docs/architecture.md, between two markers.

``python -m tools.diagram`` (or ``make diagram``) replaces them; a test fails while they are stale.
"""

from __future__ import annotations

import sys
from pathlib import Path

from gitopsd.pipeline.diagram import render_diagram

DOCUMENT = Path("docs/architecture.md")
BEGIN = "<!-- state diagram: written by `make diagram`, do not edit -->"
END = "<!-- end of state diagram -->"


def put_diagram(document: str, diagram: str) -> str:
    """Replace what stands between the markers.

    Raises:
        ValueError: A marker is missing.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{DOCUMENT} lacks a marker: write the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{diagram}\n\n{END}{after}"


def main(root: Path) -> None:
    """Write the diagrams under a checkout's root."""
    path = root / DOCUMENT
    path.write_text(put_diagram(path.read_text("utf-8"), render_diagram()), "utf-8")
    sys.stdout.write(f"wrote the state diagrams to {DOCUMENT}\n")


if __name__ == "__main__":
    main(Path(__file__).parents[1])
