"""Addresses of what reports are about, for people outside."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote


@dataclass(frozen=True, slots=True)
class Links:
    """Makes addresses of the API; all are empty when no public address is known.

    Attributes:
        public_url: Where people reach the API, without a slash at the end.
    """

    public_url: str = ""

    def run(self, run: str) -> str:
        """Address of a run."""
        return self._at("runs", run)

    def release(self, release: str) -> str:
        """Address of a release."""
        return self._at("releases", release)

    def _at(self, kind: str, name: str) -> str:
        return f"{self.public_url}/api/v1/{kind}/{quote(name)}" if self.public_url else ""
