"""Rules of custom objects: those of the schema in their CustomResourceDefinition."""

from __future__ import annotations

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.objects.rules.complaints import Complaints
from gitopsd.sandbox.objects.schema_tree import Schema


def check_custom(_obj: JsonObject, _schema: Schema, _told: Complaints) -> None:
    """Complain about everything that the schema does not allow."""
