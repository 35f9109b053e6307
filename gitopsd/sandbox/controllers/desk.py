"""Carries the writes of plans out in the store, as the manager that a controller writes as."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Protocol

from gitopsd.sandbox.api.deletion import DeleteOptions
from gitopsd.sandbox.api.keys import Key, NotFound, StoreRefusal, VersionConflict
from gitopsd.sandbox.api.storage import GENERATED_LETTERS, LONGEST_GENERATED_BASE, NAME_LETTERS
from gitopsd.sandbox.controllers.admission import AdmissionRefusal
from gitopsd.sandbox.controllers.conditions import (
    TRUE,
    conditions_of,
    make_condition,
    set_in_place,
)
from gitopsd.sandbox.controllers.facts import (
    POD,
    Announcement,
    Bind,
    Create,
    Delete,
    Refusal,
    Replace,
    Write,
)
from gitopsd.sandbox.controllers.reading import (
    is_deleted,
    name_of,
    namespace_of,
    uid_of,
    with_spec,
    with_status,
)
from gitopsd.sandbox.fields import object_at, text_at
from gitopsd.sandbox.objects.status_errors import StatusError
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.storage import ObjectStore
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.controllers.event_journal import EventJournal
    from gitopsd.sandbox.controllers.facts import Resource


class Admit(Protocol):
    """Asked before a new object is stored."""

    def __call__(self, key: Key, item: JsonObject) -> None:
        """Let it be made.

        Raises:
            AdmissionRefusal: It may not be made.
        """
        ...


class Desk:
    """Carries out writes, one after the other; what the API refuses comes back as a value.

    Args:
        store: Where to.
        journal: Takes the Events.
        admit: Asked about every object before it is made.
        clock: Dates bindings.
    """

    def __init__(
        self, store: ObjectStore, journal: EventJournal, *, admit: Admit, clock: Clock
    ) -> None:
        self._store = store
        self._journal = journal
        self._admit = admit
        self._clock = clock

    def carry_out(self, write: Write, *, component: str, manager: str) -> Refusal | None:
        """Do one thing.

        Args:
            write: What.
            component: Who tells of it in Events.
            manager: Field manager of the change.

        Returns:
            The refusal; None when it was done, or when what should go is gone already.
        """
        try:
            done = self._do(write, manager)
        except NotFound:
            # What should be deleted or changed is gone: the next look goes by what is there.
            return None
        except (StoreRefusal, StatusError) as refusal:
            return self._refused(write, refusal, component)
        self._tell(_announcement(write), component, name=done)
        return None

    def _do(self, write: Write, manager: str) -> str:
        match write:
            case Announcement():
                return name_of(write.about)
            case Create():
                return self._create(write, manager)
            case Replace():
                item = write.manifest
                expected = text_at(item, "metadata", "resourceVersion")
                subresource = write.subresource
                self._store.update(
                    _key(write.resource, item),
                    item,
                    expected=expected,
                    # Nobody comes to own what finalizing a namespace takes away.
                    manager="" if subresource == "finalize" else manager,
                    subresource=subresource,
                )
                return name_of(item)
            case Delete():
                item = write.target
                options = DeleteOptions(
                    uid=uid_of(item),
                    propagation=write.propagation,
                    grace_seconds=0 if write.at_once else None,
                )
                self._store.delete(_key(write.resource, item), options)
                return name_of(item)
            case Bind():
                self._bind(write)
                return name_of(write.pod)

    def _create(self, write: Create, manager: str) -> str:
        key = _key(write.kind.resource, write.manifest)
        kind = write.kind
        item: JsonObject = {"apiVersion": kind.api_version, "kind": kind.kind, **write.manifest}
        if not key.name:
            key = key._replace(name=generated_name(text_at(item, "metadata", "generateName")))
        self._admit(key, item)
        return name_of(self._store.create(key, item, manager=manager))

    def _bind(self, write: Bind) -> None:
        """As the API server's binding: only a pod that has no node yet, and its condition."""
        key = _key(POD.resource, write.pod)
        pod = self._store.get(key)
        if pod is None or uid_of(pod) != uid_of(write.pod):
            raise NotFound(key)
        if text_at(pod, "spec", "nodeName") or is_deleted(pod):
            said = f'Operation cannot be fulfilled on pods/binding "{key.name}": '
            raise VersionConflict(key, f"{said}pod {key.name} is already assigned to a node")
        now = stamp(self._clock.now())
        condition = {
            **make_condition("PodScheduled", TRUE, "", "", now),
            "lastProbeTime": None,
        }
        kept = {name: value for name, value in condition.items() if value != ""}
        conditions = set_in_place(conditions_of(pod), kept)
        status = {**object_at(pod, "status"), "conditions": conditions}
        bound = with_status(with_spec(pod, {"nodeName": write.node}), status)
        self._store.update(key, bound)

    def _refused(
        self, write: Write, refusal: StoreRefusal | StatusError, component: str
    ) -> Refusal:
        ends = isinstance(refusal, AdmissionRefusal) and refusal.namespace_ends
        message = str(refusal)
        news = write.refused if isinstance(write, Create | Delete) else None
        if not ends:
            self._tell(news, component, problem=message)
        return Refusal(write, refusal.reason, message, namespace_ends=ends)

    def _tell(
        self, news: Announcement | None, component: str, *, name: str = "", problem: str = ""
    ) -> None:
        if news is not None:
            said = news.message.replace("{name}", name).replace("{problem}", problem)
            self._journal.note(news, said, component)


def generated_name(base: str) -> str:
    """A name that begins as wanted and ends by chance."""
    letters = (secrets.choice(NAME_LETTERS) for _ in range(GENERATED_LETTERS))
    return base[:LONGEST_GENERATED_BASE] + "".join(letters)


def _key(resource: Resource, item: JsonObject) -> Key:
    return Key(*resource, namespace_of(item), name_of(item))


def _announcement(write: Write) -> Announcement | None:
    return write if isinstance(write, Announcement) else write.done
