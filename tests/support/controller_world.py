"""A store with the sandbox's controllers on it, in time that moves when told.

world = World()
world.make(DEPLOYMENT, "web", spec={...})
world.settle()                 # all that follows from it
world.start_pods()             # what a node would do
world.advance(minutes=10)      # time passes, and what is due is done
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from gitopsd.sandbox.api.deletion import DeleteOptions
from gitopsd.sandbox.api.keys import Key
from gitopsd.sandbox.api.storage import ObjectStore, Write
from gitopsd.sandbox.clock import Clock
from gitopsd.sandbox.controllers.admission import Admission, AdmissionRefusal
from gitopsd.sandbox.controllers.desk import Desk
from gitopsd.sandbox.controllers.event_journal import EventJournal
from gitopsd.sandbox.controllers.facts import EVENT, NODE, POD, Kind
from gitopsd.sandbox.controllers.facts import NAMESPACE as NAMESPACE_KIND
from gitopsd.sandbox.controllers.roster import WORKLOADS, every_controller
from gitopsd.sandbox.controllers.runner import ControllerRunner
from gitopsd.sandbox.status import stamp

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.controllers.runner import Controller

NAMESPACE = "shop"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


CERTIFICATE = "-----BEGIN CERTIFICATE-----\n"


class StillClock(Clock):
    """Time that stands until it is moved."""

    def __init__(self) -> None:
        """Begin at noon."""
        self.time = NOON

    def now(self) -> datetime:
        """The time."""
        return self.time


class World:
    """One cluster without an API server: its store, its controllers, and a hand for the rest."""

    def __init__(self, controllers: Sequence[Controller] = WORKLOADS) -> None:
        """Begin with nothing."""
        self.clock = StillClock()
        self.store = ObjectStore(self.clock, stamp=self._complete)
        self.forbidden = ""
        self.is_whole = controllers is not WORKLOADS
        journal = EventJournal(self.store, self.clock)
        desk = Desk(self.store, journal, admit=self._admit, clock=self.clock)
        self.runner = ControllerRunner(self.store, desk, controllers, self.clock)

    @classmethod
    def whole(cls) -> Self:
        """With every controller, a namespace and a node."""
        world = cls(every_controller(CERTIFICATE))
        world.make_namespace(NAMESPACE)
        world.make_node()
        world.settle()
        return world

    def make_namespace(self, name: str) -> None:
        """A namespace as the API makes it."""
        spec = {"finalizers": ["kubernetes"]}
        self.make(NAMESPACE_KIND, name, namespace="", spec=spec, status={"phase": "Active"})

    def _admit(self, key: Key, item: JsonObject) -> None:
        """As the API does; pods are refused while `forbidden` says why."""
        if self.is_whole:
            Admission(self.runner.facts)(key, item)
        if self.forbidden and key.kind == POD.resource:
            raise AdmissionRefusal(key, self.forbidden)

    def _complete(self, write: Write) -> JsonObject:
        """As the API does to what controllers write: a new pod waits."""
        if write.before is None and write.key.kind == POD.resource:
            return {**write.after, "status": {"phase": "Pending"}}
        return write.after

    def settle(self) -> int:
        """Let the controllers do all that is due."""
        return self.runner.settle(at_most=20_000)

    def advance(self, **duration: float) -> None:
        """Let time pass; what falls due on the way is done when it is due."""
        end = self.clock.time + timedelta(**duration)
        self.settle()
        while (due := self.runner.next_due()) is not None and due <= end:
            self.clock.time = max(due, self.clock.time)
            self.settle()
        self.clock.time = end
        self.settle()

    def make(
        self, kind: Kind, name: str, *, namespace: str = NAMESPACE, **fields: object
    ) -> dict[str, Any]:
        """Create an object and let the controllers notice; `metadata` is merged with its name."""
        said: Any = fields.pop("metadata", {})
        metadata = {"name": name, **said}
        given: dict[str, Any] = dict(fields)
        item = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **given}
        made = self.store.create(Key(*kind.resource, namespace, name), item)
        return dict(made)

    def get(self, kind: Kind, name: str, *, namespace: str = NAMESPACE) -> dict[str, Any]:
        """The object; it has to be there."""
        found = self.store.get(Key(*kind.resource, namespace, name))
        assert found is not None, f"{kind.kind} {namespace}/{name} is not there"
        return dict(found)

    def all(self, kind: Kind, namespace: str = NAMESPACE) -> list[dict[str, Any]]:
        """The objects of a kind, by name."""
        return [dict(item) for item in self.store.list(kind.resource, namespace).items]

    def change(
        self, kind: Kind, name: str, change: Callable[[dict[str, Any]], object], **where: str
    ) -> None:
        """Change an object as a person would: `change` gets a deep copy to work on."""
        item = copy.deepcopy(self.get(kind, name, **where))
        change(item)
        key = Key(*kind.resource, where.get("namespace", NAMESPACE), name)
        self.store.update(key, item)

    def delete(
        self, kind: Kind, name: str, *, namespace: str = NAMESPACE, propagation: str = ""
    ) -> None:
        """Ask for an object's deletion."""
        options = DeleteOptions(propagation=propagation)
        self.store.delete(Key(*kind.resource, namespace, name), options)

    def events(self, namespace: str = NAMESPACE) -> list[tuple[str, str, str]]:
        """Type, reason and message of each Event, in order."""
        found = self.store.list(EVENT.resource, namespace).items
        ordered = sorted(found, key=_event_order)
        return [(str(e["type"]), str(e["reason"]), str(e["message"])) for e in ordered]

    def reasons(self, namespace: str = NAMESPACE) -> list[str]:
        """The reasons of the Events, in order."""
        return [reason for _, reason, _ in self.events(namespace)]

    def make_node(self, name: str = "node-1", **fields: object) -> None:
        """A ready node with room."""
        room = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        status = {
            "capacity": room,
            "allocatable": room,
            "conditions": [{"type": "Ready", "status": "True"}],
        }
        fields.setdefault("metadata", {"labels": {"kubernetes.io/hostname": name}})
        self.make(NODE, name, namespace="", status=status, **fields)

    def set_pod(self, name: str, phase: str, *, ready: bool = False, **status: object) -> None:
        """Report a pod's status as its node would."""
        conditions = [
            {
                "type": "Ready",
                "status": str(ready),
                "lastTransitionTime": stamp(self.clock.now()),
            }
        ]

        def report(pod: dict[str, Any]) -> None:
            pod["spec"].setdefault("nodeName", "node-1")
            pod["status"] = {**pod["status"], "phase": phase, "conditions": conditions, **status}

        self.change(POD, name, report)

    def start_pods(self, *, ready: bool = True) -> None:
        """Every pod that waits runs; every pod that was told to go is gone."""
        self.settle()
        for pod in self.all(POD):
            name = pod["metadata"]["name"]
            if "deletionTimestamp" in pod["metadata"]:
                options = DeleteOptions(grace_seconds=0)
                self.store.delete(Key(*POD.resource, NAMESPACE, name), options)
            elif pod["status"]["phase"] == "Pending":
                self.set_pod(name, "Running", ready=ready)
        self.settle()

    def roll(self, *, ready: bool = True, rounds: int = 50) -> None:
        """Let pods start and go until nothing moves."""
        for _ in range(rounds):
            before = self.store.version
            self.start_pods(ready=ready)
            if self.store.version == before:
                return


def conditions(item: JsonObject) -> dict[str, tuple[str, str]]:
    """Status and reason of each condition."""
    status: Any = item.get("status", {})
    return {
        entry["type"]: (entry["status"], entry.get("reason", ""))
        for entry in status.get("conditions", [])
    }


def _event_order(event: JsonObject) -> int:
    metadata: Any = event["metadata"]
    return int(metadata["name"].rpartition(".")[2], 16)
