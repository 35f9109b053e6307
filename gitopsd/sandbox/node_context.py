"""What every pod on a node shares: its settings and the services of the agent."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitopsd.sandbox.restarts import BackOffPolicy

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network
    from pathlib import Path

    import aiohttp

    from gitopsd.sandbox.api_client import ApiClient
    from gitopsd.sandbox.clock import Clock
    from gitopsd.sandbox.events import EventRecorder
    from gitopsd.sandbox.images import ImageStore


@dataclass(frozen=True, slots=True)
class NodeSettings:
    """How one node agent works.

    Attributes:
        name: The node's name.
        address: The node's address, where it serves logs.
        pods: Addresses for pods; each must be one that a program here may bind.
        registry: Base URL every image is pulled from; empty: the host each reference names.
        directory: Private directory for layers, volumes and programs.
        back_off: Waits between restarts and between pulls.
        probe_scale: Factor on the waits of probes; below 1 makes tests quick.
        mirrors: Base URL that images of a host are pulled from, by host; before `registry`.
    """

    name: str
    address: str
    pods: IPv4Network
    registry: str
    directory: Path
    back_off: BackOffPolicy = field(default_factory=BackOffPolicy)
    probe_scale: float = 1.0
    mirrors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NodeContext:
    """The services of the agent, as a pod uses them.

    Attributes:
        settings: How the node works.
        api: The API server.
        images: The node's images.
        events: Where Events are noted.
        session: For probes.
        clock: Time.
    """

    settings: NodeSettings
    api: ApiClient
    images: ImageStore
    events: EventRecorder
    session: aiohttp.ClientSession
    clock: Clock
