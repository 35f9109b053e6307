"""How a walk or a render says no: a rejection that names its place."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.ports import Rejection


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file in the repository.

    Attributes:
        path: Path in the repository.
        line: Line, the first is 1.
    """

    path: str
    line: int = 1

    def __str__(self) -> str:
        """``path:line``."""
        return f"{self.path}:{self.line}"


class RefusedError(Exception):
    """Unwinds a walk to where it becomes a verdict; it never leaves this package."""

    def __init__(self, reason: str, place: Place, sentence: str) -> None:
        super().__init__(f"{place}: {sentence}")
        self.reason = reason
        self.place = place
        self.sentence = sentence

    @property
    def rejection(self) -> Rejection:
        """The verdict."""
        return Rejection(self.reason, f"{self.place}: {self.sentence}")
