"""Whether an object may be stored: the rules that people really break, in the server's words.

Source: Kubernetes' ``pkg/apis/*/validation`` as seen in the answers of a real server.
"""

from __future__ import annotations

from gitopsd.domain.manifests import JsonObject
from gitopsd.sandbox.objects.resources import Resource
from gitopsd.sandbox.objects.schema_tree import Schema
from gitopsd.sandbox.objects.status_errors import Cause


def validate_create(_resource: Resource, _schema: Schema, _obj: JsonObject) -> list[Cause]:
    """What is wrong with a new object."""
    return []


def validate_update(
    _resource: Resource, _schema: Schema, _obj: JsonObject, _live: JsonObject, _subresource: str
) -> list[Cause]:
    """What is wrong with an object that is there, or with what changes of it."""
    return []
