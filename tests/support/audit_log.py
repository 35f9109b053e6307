"""A growing audit log, read on from where the last reading ended.

A control plane that serves a whole run writes tens of megabytes; reading all of it again for each
question took longer than what was asked about.
"""

from __future__ import annotations

import json
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


class AuditLog:
    """One file with a JSON event a line, which somebody else appends to."""

    def __init__(self, path: Path) -> None:
        """Read ``path``, which need not exist yet."""
        self._path = path
        self._ends = array("Q")  # of each whole line, in bytes

    def length(self) -> int:
        """Count the events so far; a line that is being written is none."""
        if self._path.exists():
            with self._path.open("rb") as log:
                end = self._ends[-1] if self._ends else 0
                log.seek(end)
                for line in log:
                    if line.endswith(b"\n"):
                        end += len(line)
                        self._ends.append(end)
        return len(self._ends)

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the events from the one with that number on, oldest first."""
        until = self.length()
        if since >= until:
            return []
        start = self._ends[since - 1] if since else 0
        with self._path.open("rb") as log:
            log.seek(start)
            lines = log.read(self._ends[until - 1] - start).splitlines()
        return [json.loads(line) for line in lines]
