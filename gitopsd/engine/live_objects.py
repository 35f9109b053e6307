"""Objects of a stage as they are now, and one reading of them that was begun ahead of its need."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from gitopsd.cluster_ports import LOCKED_OUT, ApiRefusal, Cluster
from gitopsd.domain.manifests import InventoryEntry, JsonObject, ObjectKey
from gitopsd.engine.refusals import sentence
from gitopsd.errors import GitopsdError

INVENTORY = "inventory"
"""Under this name is kept why the list of the objects, or all of them, could not be read."""


@dataclass(frozen=True, slots=True)
class LiveObjects:
    """What was read, and why the rest was not.

    Attributes:
        objects: Every object that was read, as it was.
        unread: One sentence for each that was not, by name.
    """

    objects: dict[ObjectKey, JsonObject] = field(default_factory=dict)
    unread: dict[str, str] = field(default_factory=dict)

    @property
    def is_listed(self) -> bool:
        """Whether it was known which objects there are, and that they could be asked for."""
        return INVENTORY not in self.unread

    async def read(self, cluster: Cluster, entry: InventoryEntry) -> None:
        """Read one object.

        Raises:
            TemporaryError: The cluster refuses our credential, or we its certificate.
        """
        name = str(entry.ref.key)
        try:
            live = await cluster.get(entry.ref)
        except GitopsdError as error:
            if error.reason in LOCKED_OUT:
                raise
            self.unread[name] = f"{name}: {error.message}"
            return
        if isinstance(live, ApiRefusal):
            self.unread[name] = sentence(entry.ref, live)
        elif live is None:
            self.unread[name] = f"{name}: it does not exist"
        else:
            self.objects[entry.ref.key] = live

    def name_rest(self, entries: Sequence[InventoryEntry]) -> None:
        """Name what there was no time for."""
        for entry in entries:
            name = str(entry.ref.key)
            if entry.ref.key not in self.objects and name not in self.unread:
                self.unread[name] = f"{name}: there was no time to read it"


@dataclass(frozen=True, slots=True)
class ReadAhead:
    """A reading that was begun before it is certain that anybody needs it.

    Whoever has it last ends it.

    Attributes:
        reading: Reads; it asks, and writes nothing.
        until: When it has ended by itself, and is too old; time of the event loop in seconds.
    """

    reading: asyncio.Task[LiveObjects]
    until: float

    @property
    def is_good(self) -> bool:
        """Whether it may be waited for instead of reading anew."""
        if self.reading.get_loop().time() >= self.until:
            return False
        if not self.reading.done():
            return True
        failed = self.reading.cancelled() or self.reading.exception() is not None
        return not failed and self.reading.result().is_listed

    async def stop(self) -> None:
        """End it, and wait until nothing of it runs. Safe to repeat."""
        self.reading.cancel()
        await asyncio.gather(self.reading, return_exceptions=True)
