"""Custom kinds: served a moment after their definition came, and emptied before it goes.

Source of conditions and wordings: k8s.io/apiextensions-apiserver ``pkg/controller``.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.deletion import CLEANUP_FINALIZER, DEFINITIONS, is_deleted
from gitopsd.sandbox.api.history import Action
from gitopsd.sandbox.api.keys import Key, Kind, NotFound
from gitopsd.sandbox.fields import object_at, objects_at, text_at, texts_at
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Iterable

    from gitopsd.domain.manifests import Json, JsonObject
    from gitopsd.sandbox.api.history import Change
    from gitopsd.sandbox.api.served import ServedResources
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock

MANAGER = "kube-apiserver"
# A real server takes about as long; clients must be able to wait for it.
MOMENT = timedelta(milliseconds=50)
_ACCEPTED = ("NamesAccepted", "NoConflicts", "no conflicts found")
_ESTABLISHED = ("Established", "InitialNamesAccepted", "the initial names have been accepted")


class DefinitionKeeper:
    """Follows CustomResourceDefinitions."""

    def __init__(self, store: ObjectStore, served: ServedResources, clock: Clock) -> None:
        self._store = store
        self._served = served
        self._clock = clock

    async def run(self) -> None:
        """Establish new definitions and clear deleted ones away, for ever."""
        with self._store.subscribe(since=0) as feed:
            while True:
                changes = await feed.wait()
                if not _is_about_definitions(changes, self._cleared_kinds()):
                    continue
                self.accept()
                await self._clock.sleep(MOMENT)
                self.settle((*changes, *feed.take()))

    def accept(self) -> None:
        """Say of each new definition whether its names can be had. Safe to repeat."""
        for definition in self._store.list(DEFINITIONS).items:
            if not objects_at(definition, "status", "conditions"):
                self._accept(definition)

    def settle(self, changes: Iterable[Change] = ()) -> None:
        """Bring every definition as far as it can get now. Safe to repeat."""
        for change in changes:
            if change.key.kind == DEFINITIONS and change.action is Action.DELETED:
                self._served.remove_definition(change.object)
        self.accept()
        for definition in self._store.list(DEFINITIONS).items:
            if is_deleted(definition):
                self._clear(definition)
            elif not _is_established(definition):
                self._establish(definition)
            else:
                self._served.add_definition(definition)

    def _cleared_kinds(self) -> set[Kind]:
        return {_kind_of(item) for item in self._store.list(DEFINITIONS).items if is_deleted(item)}

    def _accept(self, definition: JsonObject) -> None:
        taken = self._conflict(definition)
        now = stamp(self._clock.now())
        conditions: list[Json]
        if taken:
            said = f'"{taken}" is already in use'
            conditions = [
                _condition("NamesAccepted", "NameConflict", said, now, "False"),
                _condition(
                    "Established", "NotAccepted", "not all names are accepted", now, "False"
                ),
            ]
        else:
            conditions = [
                _condition(*_ACCEPTED, now),
                _condition(
                    "Established",
                    "Installing",
                    "the initial names have been accepted",
                    now,
                    "False",
                ),
            ]
        names = object_at(definition, "spec", "names")
        accepted: JsonObject = {"plural": "", "kind": ""} if taken else names
        self._write(definition, {"conditions": conditions, "acceptedNames": accepted})

    def _establish(self, definition: JsonObject) -> None:
        if not _holds(definition, "NamesAccepted"):
            return
        now = stamp(self._clock.now())
        conditions = [
            item
            for item in objects_at(definition, "status", "conditions")
            if text_at(item, "type") != "Established"
        ]
        conditions.append(_condition(*_ESTABLISHED, now))
        self._served.add_definition(self._write(definition, {"conditions": conditions}))

    def _write(self, definition: JsonObject, status: JsonObject) -> JsonObject:
        return self._store.update(
            Key(*DEFINITIONS, "", _name(definition)),
            {**definition, "status": {**object_at(definition, "status"), **status}},
            manager=MANAGER,
            subresource="status",
        )

    def _conflict(self, definition: JsonObject) -> str:
        """A kind that another definition of the group has already."""
        kind, name = text_at(definition, "spec", "names", "kind"), _name(definition)
        return next(
            (
                kind
                for other in self._store.list(DEFINITIONS).items
                if _name(other) != name
                and _is_established(other)
                and text_at(other, "spec", "group") == text_at(definition, "spec", "group")
                and text_at(other, "spec", "names", "kind") == kind
            ),
            "",
        )

    def _clear(self, definition: JsonObject) -> None:
        kind = _kind_of(definition)
        for item in self._store.list(kind).items:
            meta = object_at(item, "metadata")
            if not is_deleted(item):
                self._store.delete(Key(*kind, text_at(meta, "namespace"), text_at(meta, "name")))
        if self._store.list(kind).items:
            return
        self._served.remove_definition(definition)
        meta = object_at(definition, "metadata")
        finalizers: list[Json] = [
            item for item in texts_at(meta, "finalizers") if item != CLEANUP_FINALIZER
        ]
        freed: JsonObject = {**definition, "metadata": {**meta, "finalizers": finalizers}}
        try:
            self._store.update(Key(*DEFINITIONS, "", _name(definition)), freed)
        except NotFound:
            return


def _is_about_definitions(changes: Iterable[Change], clearing: set[Kind]) -> bool:
    return any(item.key.kind == DEFINITIONS or item.key.kind in clearing for item in changes)


def _condition(name: str, reason: str, message: str, now: str, status: str = "True") -> JsonObject:
    return {
        "type": name,
        "status": status,
        "lastTransitionTime": now,
        "reason": reason,
        "message": message,
    }


def _is_established(definition: JsonObject) -> bool:
    return _holds(definition, "Established")


def _holds(definition: JsonObject, condition: str) -> bool:
    return any(
        text_at(item, "type") == condition and text_at(item, "status") == "True"
        for item in objects_at(definition, "status", "conditions")
    )


def _kind_of(definition: JsonObject) -> Kind:
    spec = object_at(definition, "spec")
    return Kind(text_at(spec, "group"), text_at(spec, "names", "plural"))


def _name(definition: JsonObject) -> str:
    return text_at(definition, "metadata", "name")
