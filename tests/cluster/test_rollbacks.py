"""Bad releases through the whole product, on a sandbox and on a real control plane.

Nothing is faked: see tests/support/rollback_site.py; a real Prometheus has the figures. One service
has an application for each scenario; what came of each is in ``build/rollback.json``.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.rollback_chains import play_chains
from tests.support.rollback_site import run_rollback_site
from tests.support.rollback_table import Outcome, Where, forget, played_on, record

if TYPE_CHECKING:
    from tests.support.cluster_access import ClusterAccess
    from tests.support.control_plane import ControlPlane
    from tests.support.node_agent import Node
    from tests.support.registry import RegistryServer
    from tests.support.sandbox_server import SandboxServer


async def play(
    cluster: ClusterAccess, registry: RegistryServer, directory: Path, where: Where
) -> None:
    """Play all scenarios of a place, tell what came of them, and hold that against the data."""
    forget(where)
    scenarios = played_on(where)
    assert len(scenarios) >= 8
    names = tuple(one.name for one in scenarios)
    outcomes: list[Outcome] = []
    async with run_rollback_site(cluster, registry, directory, where, names) as site:
        for outcomes_of in await asyncio.gather(site.play_at_once(), play_chains(site)):
            outcomes += outcomes_of
        outcomes += await site.play_without_the_world()
        outcomes += await site.play_with_deaths()
    for outcome in outcomes:
        record(outcome)

    restored = {outcome.scenario: outcome.restored for outcome in outcomes}
    assert restored == {one.name: one.restored for one in scenarios}
    assert all(outcome.target and outcome.seconds for outcome in outcomes if outcome.restored)


@pytest.mark.timeout(420)
async def test_bad_releases_on_a_control_plane(
    control_plane: ControlPlane, cluster_registry: RegistryServer, node: Node, tmp_path: Path
) -> None:
    """Every object is as before, or was left alone where a person is to decide."""
    await play(control_plane, cluster_registry, tmp_path / node.name, Where.CONTROL_PLANE)


@pytest.mark.timeout(420)
async def test_bad_releases_on_a_sandbox(
    sandbox_server: SandboxServer, sandbox_registry: RegistryServer, tmp_path: Path
) -> None:
    """The simulated cluster leads to the same."""
    await play(sandbox_server, sandbox_registry, tmp_path, Where.SANDBOX)
