"""Where an object lives in the store, and how the store says no."""

from __future__ import annotations

from typing import NamedTuple

from gitopsd.errors import PermanentError


class Kind(NamedTuple):
    """A collection: API group and plural resource name, e.g. ``("apps", "deployments")``."""

    group: str
    resource: str

    def __str__(self) -> str:
        """Say it as Kubernetes does: ``deployments.apps``."""
        return f"{self.resource}.{self.group}" if self.group else self.resource


class Key(NamedTuple):
    """One object: its collection, namespace (empty for cluster-scoped kinds) and name."""

    group: str
    resource: str
    namespace: str
    name: str

    @property
    def kind(self) -> Kind:
        """The collection it is in."""
        return Kind(self.group, self.resource)


class StoreRefusal(PermanentError):  # noqa: N818 - a refusal is an answer, not a breakdown
    """The store said no; `key` says about which object.

    Args:
        key: The object.
        message: Why.
    """

    def __init__(self, key: Key, message: str) -> None:
        super().__init__(message)
        self.key = key


class NotFound(StoreRefusal):
    """There is no such object."""

    reason = "NotFound"

    def __init__(self, key: Key) -> None:
        super().__init__(key, f'{key.kind} "{key.name}" not found')


class AlreadyExists(StoreRefusal):
    """An object of this name is there already."""

    reason = "AlreadyExists"

    def __init__(self, key: Key) -> None:
        super().__init__(key, f'{key.kind} "{key.name}" already exists')


class VersionConflict(StoreRefusal):
    """The object has changed since it was read, or is another one of that name."""

    reason = "Conflict"


class HistoryLost(PermanentError):  # noqa: N818 - as above
    """The changes since that version are not kept any more: list again.

    Args:
        asked: The version that was asked for.
        oldest: The oldest version that can be asked for.
    """

    reason = "Expired"

    def __init__(self, asked: int, oldest: int) -> None:
        super().__init__(f"too old resource version: {asked} ({oldest})")
        self.asked = asked
        self.oldest = oldest
