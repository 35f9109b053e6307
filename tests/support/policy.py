"""What each test directory may do: how long a test may take and which addresses it may reach.

The table is the whole policy. A test that needs longer says so with ``pytest.mark.timeout``; no
test reaches further than the addresses of its directory.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

LOOPBACK = ("127.0.0.0/8", "::1", "localhost")
"""Servers that tests start bind here, on a free port."""

NAMESPACES = ("10.0.0.0/8",)
"""Addresses inside network namespaces that the tests make for control planes and pods."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a test in one directory may do.

    Attributes:
        longest: A test with its fixtures that takes longer fails. A bound, not an aim.
        hosts: Addresses and networks it may connect to; empty means no network sockets at all.
    """

    longest: timedelta
    hosts: tuple[str, ...] = ()


DIRECTORIES = {
    "unit": Allowance(timedelta(seconds=5)),
    "house": Allowance(timedelta(seconds=60), LOOPBACK),
    "contracts": Allowance(timedelta(seconds=120), LOOPBACK + NAMESPACES),
    "integration": Allowance(timedelta(seconds=60), LOOPBACK + NAMESPACES),
    "cluster": Allowance(timedelta(seconds=300), LOOPBACK + NAMESPACES),
    "browser": Allowance(timedelta(seconds=300), LOOPBACK + NAMESPACES),
    "acceptance": Allowance(timedelta(seconds=600), LOOPBACK + NAMESPACES),
}


def select_allowance(path: Path, tests: Path) -> Allowance:
    """Returns what a test file may do, by the directory under ``tests`` it lies in.

    Raises:
        pytest.UsageError: When the directory is not in the table.
    """
    relative = path.relative_to(tests) if path.is_relative_to(tests) else path
    allowance = DIRECTORIES.get(relative.parts[0])
    if allowance is None:
        message = f"{path}: no policy for this directory; add a row to tests/support/policy.py"
        raise pytest.UsageError(message)
    return allowance


def apply_policy(items: list[pytest.Item], tests: Path) -> None:
    """Marks every test with its directory's time limit and network bounds.

    Virtual time passes on at once when a world in memory has nothing left to do; 42 empty turns of
    the loop before each moment took a fifth of such a test's processor time. Where real sockets
    answer meanwhile, the test says ``looptime(noop_cycles=...)``.
    """
    for item in items:
        virtual = list(item.iter_markers("looptime"))
        if virtual and not any("noop_cycles" in marker.kwargs for marker in virtual):
            item.add_marker(pytest.mark.looptime(noop_cycles=0))
        allowance = select_allowance(item.path, tests)
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(allowance.longest.total_seconds()))
        if allowance.hosts:
            item.add_marker(pytest.mark.allow_hosts(list(allowance.hosts)))
        else:
            item.add_marker(pytest.mark.disable_socket)
