"""A write as it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from gitopsd.sandbox.objects.resources import Resource

STRICT, WARN, IGNORE = "Strict", "Warn", "Ignore"


@dataclass(frozen=True, slots=True)
class Write:
    """Who writes what, where and how.

    Attributes:
        resource: The resource of the path.
        manager: The field manager.
        now: The time, as the API writes it.
        namespace: The path's; empty for cluster-scoped kinds.
        name: The path's, or the one made for a new object.
        uid: A new object's.
        subresource: ``status``; empty for the object itself.
        validation: What to do about unknown fields: ``Strict``, ``Warn`` or ``Ignore``.
        force: Whether an apply takes fields from other managers.
        duplicates: Paths of fields that the body has twice (see `bodies`).
    """

    resource: Resource
    manager: str
    now: str
    namespace: str = ""
    name: str = ""
    uid: str = ""
    subresource: str = ""
    validation: str = WARN
    force: bool = False
    duplicates: tuple[str, ...] = ()
