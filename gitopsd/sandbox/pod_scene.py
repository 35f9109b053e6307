"""What the containers of one pod share, and how they speak of themselves in Events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitopsd.sandbox.fields import object_at, text_at

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.environment import Lookup, PodAddress
    from gitopsd.sandbox.events import EventRecorder


@dataclass(slots=True)
class PodScene:
    """One pod as its containers see it.

    Attributes:
        object: The pod as it was last seen.
        address: Its addresses.
        directory: Its private directory.
        lookup: Fetches ConfigMaps and Secrets of its namespace.
        changed: To be called after each change of a record.
        grace: How long its containers may take to stop.
        volumes: Its volumes, once they are made.
    """

    object: JsonObject
    address: PodAddress
    directory: Path
    lookup: Lookup
    changed: Callable[[], None]
    grace: timedelta
    volumes: dict[str, Path] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The pod's name."""
        return text_at(self.object, "metadata", "name")

    @property
    def title(self) -> str:
        """The pod as the kubelet's messages name it: ``name_namespace(uid)``."""
        meta = object_at(self.object, "metadata")
        return f"{self.name}_{text_at(meta, 'namespace')}({text_at(meta, 'uid')})"


@dataclass(frozen=True, slots=True)
class ContainerNotes:
    """Notes Events about one container."""

    recorder: EventRecorder
    scene: PodScene
    container: str

    def normal(self, reason: str, message: str) -> None:
        """Something expected."""
        self.recorder.normal(self.scene.object, reason, message, container=self.container)

    def warning(self, reason: str, message: str) -> None:
        """Something a person may have to look at."""
        self.recorder.warning(self.scene.object, reason, message, container=self.container)
