"""What a run has asked the server once more, kept so that no execution has to do all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fractions import Fraction

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.work import EvidenceKind

KIND, KEY = EvidenceKind.NOTES, "tried"
"""Where it is kept with the run."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What was asked since Validate.

    Attributes:
        at: When the last of it was answered; None when nothing was asked.
        complete: Whether everything was that is about to be written.
        hooks: Whether the hooks were.
        asked: What was asked, by when and identity.
        accepted: What would be accepted, by identity: what each new object takes of its
            namespace; None for one that exists.
    """

    at: datetime | None = None
    complete: bool = False
    hooks: bool = False
    asked: frozenset[str] = frozenset()
    accepted: Mapping[str, Mapping[str, Fraction] | None] = field(default_factory=dict)

    def is_within(self, age: timedelta, now: datetime) -> bool:
        """Whether what was answered is no older than this."""
        return self.at is not None and now - self.at <= age

    def describe(self) -> dict[str, Json]:
        """Write it for the run's evidence."""
        accepted: dict[str, Json] = {
            name: None if needs is None else {what: str(much) for what, much in needs.items()}
            for name, needs in self.accepted.items()
        }
        asked: list[Json] = [*sorted(self.asked)]
        return {
            "at": self.at.isoformat() if self.at is not None else None,
            "complete": self.complete,
            "hooks": self.hooks,
            "asked": asked,
            "accepted": accepted,
        }


def parse_tried(evidence: JsonObject | None) -> Tried:
    """Read back what was asked; nothing where the evidence says nothing."""
    at = evidence.get("at") if evidence is not None else None
    if evidence is None or not isinstance(at, str):
        return Tried()
    asked, accepted = evidence.get("asked"), evidence.get("accepted")
    return Tried(
        at=datetime.fromisoformat(at),
        complete=evidence.get("complete") is True,
        hooks=evidence.get("hooks") is True,
        asked=frozenset(str(name) for name in asked) if isinstance(asked, list) else frozenset(),
        accepted={
            name: {what: Fraction(str(much)) for what, much in needs.items()}
            if isinstance(needs, dict)
            else None
            for name, needs in (accepted if isinstance(accepted, dict) else {}).items()
        },
    )
