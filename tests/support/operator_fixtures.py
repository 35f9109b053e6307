"""Fixtures: the systems' custom kinds, the operators behind them, and volumes, for any suite.

Registered as a pytest plug-in in ``tests/conftest.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.control_plane import ControlPlane
    from tests.support.operators import Operators
    from tests.support.volumes import VolumeProvisioner


@pytest.fixture(scope="session")
def system_kinds(control_plane: ControlPlane) -> ControlPlane:
    """The session's cluster, with the definitions of ``tests/fixtures/crds`` established."""
    from tests.support.operators import install_definitions  # noqa: PLC0415 - unit tests do without

    install_definitions(control_plane)
    return control_plane


@pytest.fixture
def operators(system_kinds: ControlPlane) -> Iterator[Operators]:
    """Operators that make every object of those kinds ready; see `tests.support.operators`."""
    from tests.support.operators import Operators  # noqa: PLC0415 - unit tests do without

    with Operators.start(system_kinds.client) as running:
        yield running


@pytest.fixture
def volumes(control_plane: ControlPlane, tmp_path: Path) -> Iterator[VolumeProvisioner]:
    """Volumes for claims that name no class; see `tests.support.volumes`."""
    from tests.support.volumes import VolumeProvisioner  # noqa: PLC0415 - unit tests do without

    with VolumeProvisioner.start(control_plane.client, tmp_path / "volumes") as running:
        yield running
