"""The objects of one simulated cluster, in memory, behind one global resource version.

Objects are JSON with ``apiVersion`` and ``kind``, and are never changed in place: a write stores a
new object, and what was read before stays as it was. Everything is synchronous and belongs to one
event loop, so that reading and writing without an ``await`` in between is atomic.

Controllers work on it directly::

    with store.subscribe(Kind("apps", "deployments"), since=0) as feed:
        for change in await feed.wait():
            store.modify(change.key, count_replicas, manager=NAME, subresource="status")
"""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gitopsd.sandbox.api.deletion import DeleteOptions, is_deleted, is_held, mark_deleted
from gitopsd.sandbox.api.generation import next_generation, starts_generation
from gitopsd.sandbox.api.history import KEPT_CHANGES, Action, Change, Feed, History
from gitopsd.sandbox.api.keys import (
    AlreadyExists,
    HistoryLost,
    Key,
    Kind,
    NotFound,
    VersionConflict,
)
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.clock import Clock

Select = Callable[["JsonObject"], bool]
# Kubernetes' own letters for generated names: no vowels, nothing that reads like another letter.
NAME_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
GENERATED_LETTERS = 5
LONGEST_GENERATED_BASE = 58
# Who an object is stays as it was created, whatever an update says.
KEPT_METADATA = ("uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


@dataclass(frozen=True, slots=True)
class Write:
    """A write by a named manager, before it is stored.

    Attributes:
        key: The object.
        before: As it is stored now; None when it is created.
        after: As it shall be.
        manager: Who writes.
        subresource: ``status``, ``scale`` and the like; empty for the object itself.
    """

    key: Key
    before: JsonObject | None
    after: JsonObject
    manager: str
    subresource: str


class Stamp(Protocol):
    """Completes a write by a named manager: defaults, managed fields."""

    def __call__(self, write: Write) -> JsonObject:
        """The object to store."""
        ...


@dataclass(frozen=True, slots=True)
class Listing:
    """Objects of a collection in the order of their keys, and the version they are at."""

    items: tuple[JsonObject, ...]
    version: int


class ObjectStore:
    """Every object of the cluster.

    Args:
        clock: Time.
        keep: How many changes are kept for watches that come back.
        stamp: Completes writes that name a manager; None stores them as they are.
        version: The version to begin after. A server that begins anew begins above where it ended,
            so that clients which saw more than there is now are told to list again.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        keep: int = KEPT_CHANGES,
        stamp: Stamp | None = None,
        version: int = 0,
    ) -> None:
        self._clock = clock
        self._stamp = stamp
        self._history = History(keep, version)
        self._version = version
        self._objects: dict[Kind, dict[tuple[str, str], JsonObject]] = {}

    @property
    def version(self) -> int:
        """The version of the last write."""
        return self._version

    @property
    def history(self) -> History:
        """The changes that are still kept."""
        return self._history

    def get(self, key: Key) -> JsonObject | None:
        """One object; None when there is none."""
        return self._objects.get(key.kind, {}).get((key.namespace, key.name))

    def list(
        self,
        kind: Kind,
        namespace: str = "",
        *,
        select: Select | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> Listing:
        """The objects of a collection.

        Args:
            kind: The collection.
            namespace: Only of this namespace; empty: of all.
            select: Only what this says true to.
            labels: Only what carries these labels.
        """
        found = sorted(self._objects.get(kind, {}).items())
        items = (
            obj
            for (place, _), obj in found
            if (not namespace or place == namespace)
            and (labels is None or _carries(obj, labels))
            and (select is None or select(obj))
        )
        return Listing(tuple(items), self._version)

    def list_at(self, kind: Kind, version: int) -> tuple[tuple[tuple[str, str], JsonObject], ...]:
        """A whole collection as it was at an earlier version, with (namespace, name) of each.

        Raises:
            HistoryLost: The changes since then are not kept any more.
        """
        objects = dict(self._objects.get(kind, {}))
        for change in reversed(tuple(self._history.since(version))):
            if change.key.kind != kind:
                continue
            place = (change.key.namespace, change.key.name)
            if change.before is None:
                objects.pop(place, None)
            else:
                objects[place] = change.before
        return tuple(sorted(objects.items()))

    def kinds(self) -> tuple[Kind, ...]:
        """Every collection that has an object."""
        return tuple(kind for kind, objects in self._objects.items() if objects)

    def create(
        self, key: Key, obj: JsonObject, *, manager: str = "", dry_run: bool = False
    ) -> JsonObject:
        """Store a new object, with uid, creation time and version; a name may be generated.

        A uid and a creation time that the object has already are kept: requests lose theirs before.

        Args:
            key: Where; an empty name is made from ``metadata.generateName``.
            obj: What, with ``apiVersion`` and ``kind``.
            manager: Who writes; empty: the object is complete.
            dry_run: Return what would be stored, and store nothing.

        Raises:
            StoreRefusal: The stamp refuses it.
            AlreadyExists: An object of this name is there.
        """
        meta: dict[str, Json] = dict(object_at(obj, "metadata"))
        if not key.name:
            key = key._replace(name=generate_name(text_at(meta, "generateName")))
        if self.get(key) is not None:
            raise AlreadyExists(key)
        meta["name"] = key.name
        if key.namespace:
            meta["namespace"] = key.namespace
        meta.setdefault("uid", str(uuid.uuid4()))
        meta.setdefault("creationTimestamp", stamp(self._clock.now()))
        meta.pop("resourceVersion", None)
        new: JsonObject = {**obj, "metadata": meta}
        if manager and self._stamp is not None:
            new = self._stamp(Write(key, None, new, manager, ""))
        new = _at_generation(new, 1 if starts_generation(key.kind) else 0)
        return new if dry_run else self._write(Action.ADDED, key, new, None)

    def update(
        self,
        key: Key,
        obj: JsonObject,
        *,
        expected: str = "",
        manager: str = "",
        subresource: str = "",
        dry_run: bool = False,
    ) -> JsonObject:
        """Replace an object; one that is marked deleted and held no longer goes.

        An update that changes nothing writes nothing. With a manager, the store's stamp sees to it
        that only the part which the subresource means is written; without a stamp, the store itself
        keeps spec and labels where the status is written.

        Args:
            key: Which.
            obj: As it shall be.
            expected: Only while the object is at this resourceVersion; empty: at any.
            manager: Who writes; empty: the object is complete.
            subresource: Which part is written; empty for the object itself.
            dry_run: Return what would be stored, and store nothing.

        Raises:
            NotFound: There is none.
            VersionConflict: It is at another version.
        """
        before = self.get(key)
        if before is None:
            raise NotFound(key)
        if expected and expected != text_at(before, "metadata", "resourceVersion"):
            raise VersionConflict(key, _said_conflict(key))
        meta = {**object_at(obj, "metadata"), "name": key.name}
        for name in (*KEPT_METADATA, "resourceVersion"):
            meta.pop(name, None)
            if name in object_at(before, "metadata"):
                meta[name] = object_at(before, "metadata")[name]
        new: JsonObject = {**obj, "metadata": meta}
        if manager and self._stamp is not None:
            new = self._stamp(Write(key, before, new, manager, subresource))
        elif subresource == "status" and self._stamp is None:
            new = _with_status_only(before, new)
        new = _at_generation(new, next_generation(key.kind, before, new, subresource))
        return self._replace(key, before, new, dry_run=dry_run)

    def modify(
        self,
        key: Key,
        change: Callable[[JsonObject], JsonObject | None],
        *,
        manager: str = "",
        subresource: str = "",
    ) -> JsonObject | None:
        """Read, change and store in one go.

        Args:
            key: Which.
            change: Gets the object as it is and returns it as it shall be; None: leave it.
            manager: As for `update`.
            subresource: As for `update`.

        Returns:
            The object as it is afterwards; None when there is none.
        """
        before = self.get(key)
        wanted = None if before is None else change(before)
        if wanted is None:
            return before
        return self.update(key, wanted, manager=manager, subresource=subresource)

    def delete(
        self, key: Key, options: DeleteOptions | None = None, *, dry_run: bool = False
    ) -> JsonObject:
        """Delete an object, or mark it deleted while a finalizer or a grace period holds it.

        Returns:
            The object as it was last, or as it is marked now (`is_held` tells which).

        Raises:
            NotFound: There is none.
            VersionConflict: A precondition does not hold.
        """
        options = options or DeleteOptions()
        before = self.get(key)
        if before is None:
            raise NotFound(key)
        _check_preconditions(key, before, options)
        marked = mark_deleted(key, before, options, self._clock.now())
        return self._replace(key, before, marked, dry_run=dry_run)

    def subscribe(self, *kinds: Kind, since: int | None = None, limit: int | None = None) -> Feed:
        """Follow collections (none named: all) from now on, or after a version; 0: everything.

        Since 0 the objects that exist now come first, each as one that was added.

        Args:
            kinds: Which collections.
            since: A version as `version` or a `Listing` gave it; None: now.
            limit: How many changes may wait unread before the feed is broken off.

        Raises:
            HistoryLost: The changes since then are not kept any more, or the version lies ahead:
                it was seen in a cluster that is no more.
        """
        wanted = frozenset(kinds) or None
        if since is not None and since > self._version:
            raise HistoryLost(since, self._version)
        if since != 0:
            return self._history.follow(wanted, limit, since)
        feed = self._history.follow(wanted, limit, None)
        for kind in sorted(wanted or self.kinds()):
            for (namespace, name), obj in sorted(self._objects.get(kind, {}).items()):
                key = Key(*kind, namespace, name)
                feed.tell(Change(Action.ADDED, key, obj, None, self._version))
        return feed

    def _replace(
        self, key: Key, before: JsonObject, new: JsonObject, *, dry_run: bool
    ) -> JsonObject:
        gone = is_deleted(new) and not is_held(key.kind, new)
        if dry_run or (new == before and not gone):
            return new
        return self._write(Action.DELETED if gone else Action.MODIFIED, key, new, before)

    def _write(
        self, action: Action, key: Key, new: JsonObject, before: JsonObject | None
    ) -> JsonObject:
        self._version += 1
        meta = {**object_at(new, "metadata"), "resourceVersion": str(self._version)}
        stored: JsonObject = {**new, "metadata": meta}
        objects = self._objects.setdefault(key.kind, {})
        if action is Action.DELETED:
            del objects[(key.namespace, key.name)]
        else:
            objects[(key.namespace, key.name)] = stored
        self._history.append(Change(action, key, stored, before, self._version))
        return stored


def _at_generation(obj: JsonObject, generation: int) -> JsonObject:
    meta: dict[str, Json] = dict(object_at(obj, "metadata"))
    meta.pop("generation", None)
    if generation:
        meta["generation"] = generation
    return {**obj, "metadata": meta}


def _carries(obj: JsonObject, labels: Mapping[str, str]) -> bool:
    carried = object_at(obj, "metadata", "labels")
    return all(carried.get(name) == value for name, value in labels.items())


def generate_name(base: str) -> str:
    """A name that begins with `base` and that nobody has, as far as chance goes."""
    letters = (secrets.choice(NAME_LETTERS) for _ in range(GENERATED_LETTERS))
    return base[:LONGEST_GENERATED_BASE] + "".join(letters)


def _with_status_only(before: JsonObject, new: JsonObject) -> JsonObject:
    kept = {name: value for name, value in before.items() if name not in {"metadata", "status"}}
    meta = dict(object_at(new, "metadata"))
    for name in ("labels", "generation", "finalizers", "ownerReferences"):
        meta.pop(name, None)
        if name in object_at(before, "metadata"):
            meta[name] = object_at(before, "metadata")[name]
    written: dict[str, Json] = {**kept, "metadata": meta}
    if "status" in new:
        written["status"] = new["status"]
    return written


def _check_preconditions(key: Key, obj: JsonObject, options: DeleteOptions) -> None:
    for name, wanted, field in (
        ("UID", options.uid, "uid"),
        ("ResourceVersion", options.version, "resourceVersion"),
    ):
        found = text_at(obj, "metadata", field)
        if wanted and wanted != found:
            said = (
                f'Operation cannot be fulfilled on {key.kind} "{key.name}": the {name} in the '
                f"precondition ({wanted}) does not match the {name} in record ({found}). "
                "The object might have been deleted and then recreated"
            )
            raise VersionConflict(key, said)


def _said_conflict(key: Key) -> str:
    return (
        f'Operation cannot be fulfilled on {key.kind} "{key.name}": the object has been modified; '
        "please apply your changes to the latest version and try again"
    )
