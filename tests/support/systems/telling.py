"""Tells stories: plays a system's scenarios on a cluster, with a quick node of their own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.support.node_agent import start_node
from tests.support.systems.play import Verdict, play
from tests.support.systems.site import Surroundings, SystemSite, run_system

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    import pytest

    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer
    from tests.support.systems.story import SystemStory

PROBE_SCALE = 0.05
_NODE = 3


@dataclass(slots=True)
class Telling:
    """One story, as far as it has been told.

    Attributes:
        site: Where it is played.
        verdicts: What came of the scenarios that were played, by name.
    """

    site: SystemSite
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    _astray: str = ""

    def tell(self, name: str) -> Verdict:
        """Play everything up to a scenario, unless it has been; returns its verdict.

        After a scenario that went astray the others are not played.
        """
        for scenario in self.site.story.scenarios:
            if name in self.verdicts:
                break
            if scenario.name in self.verdicts:
                continue
            verdict = Verdict(self.site.story.name, scenario.name)
            self.verdicts[scenario.name] = verdict
            if self._astray:
                verdict.complaints.append(f"{self._astray} went astray, so this was not played")
                continue
            play(self.site, scenario, verdict)
            self._astray = "" if verdict.finished else scenario.name
        return self.verdicts[name]


@contextmanager
def tell(story: SystemStory, request: pytest.FixtureRequest) -> Iterator[Telling]:
    """Set a story's site up on the session's cluster, and take it down afterwards."""
    cluster: ControlPlane = request.getfixturevalue("control_plane")
    registry: RegistryServer = request.getfixturevalue("cluster_registry")
    directory: Path = request.getfixturevalue("tmp_path_factory").mktemp(story.name)
    with (
        _quick_node(cluster, registry, directory),
        run_system(story, Surroundings(cluster, registry), directory) as site,
    ):
        yield Telling(site)


@dataclass(slots=True)
class Teller:
    """Tells each story at most once, whatever the order of questions.

    Attributes:
        request: Asks for the session's cluster.
        told: Verdicts by system and scenario.
    """

    request: pytest.FixtureRequest
    told: dict[tuple[str, str], Verdict] = field(default_factory=dict)

    def verdict(self, story: SystemStory, scenario: str, wanted: Collection[str]) -> Verdict:
        """What came of a scenario.

        Args:
            story: Of which system.
            scenario: Which one.
            wanted: All scenarios of it that will be asked for; it is told up to the last.
        """
        if (story.name, scenario) not in self.told:
            last = [one.name for one in story.scenarios if one.name in wanted][-1]
            with tell(story, self.request) as telling:
                try:
                    telling.tell(last)
                finally:
                    found = telling.verdicts.items()
                    self.told |= {(story.name, name): one for name, one in found}
        return self.told[story.name, scenario]


@contextmanager
def _quick_node(cluster: ControlPlane, registry: RegistryServer, directory: Path) -> Iterator[None]:
    """Run a node for the block; others, whose probes take longer, get no pods meanwhile."""
    others = [node["metadata"]["name"] for node in cluster.client.get("/api/v1/nodes")["items"]]
    for name in others:
        _cordon(cluster, name, cordoned=True)
    node = start_node(cluster, registry.url, directory, number=_NODE, probe_scale=PROBE_SCALE)
    try:
        yield
    finally:
        node.stop()
        cluster.client.delete(f"/api/v1/nodes/{node.name}")
        for name in others:
            _cordon(cluster, name, cordoned=False)


def _cordon(cluster: ControlPlane, node: str, *, cordoned: bool) -> None:
    """Say whether a node gets new pods."""
    cluster.client.request(
        "PATCH",
        f"/api/v1/nodes/{node}",
        {"spec": {"unschedulable": cordoned}},
        content_type="application/merge-patch+json",
    )
