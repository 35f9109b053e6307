"""Fixtures for tests that need a real control plane: one for the whole session.

Registered in ``tests/conftest.py``, so that the suites share it. Each test works in a namespace
of its own and cleans up what it makes outside of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.support.processes import wait_until

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    """A running control plane; see :mod:`tests.support.control_plane`."""
    from tests.support.control_plane import ControlPlane  # noqa: PLC0415 - unit tests do without

    with ControlPlane.start("session") as cluster:
        yield cluster


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a new namespace in which pods can be made; it is emptied after the test."""
    from tests.support.left_namespaces import clear_namespaces  # noqa: PLC0415 - as above

    client, since = control_plane.client, control_plane.audit_length()
    made = client.create("/api/v1/namespaces", {"metadata": {"generateName": "test-"}})
    name = str(made["metadata"]["name"])
    account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
    wait_until(
        lambda: client.answers(account),
        what=f"the default service account of {name}",
        within=timedelta(seconds=20),
        servers=tuple(control_plane.servers.values()),
    )
    yield name
    clear_namespaces(control_plane, since, name)
