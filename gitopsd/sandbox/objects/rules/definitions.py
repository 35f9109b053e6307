"""Rules of CustomResourceDefinitions."""

from __future__ import annotations

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.objects.rules.complaints import Complaints


def check_definition(_obj: JsonObject, _told: Complaints) -> None:
    """Complain about a definition that makes no sense."""
