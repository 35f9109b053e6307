"""Real kustomize on real Git objects; only the network between host and mirror is left out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.rendering import Workshop


@pytest.fixture
async def workshop(tmp_path: Path) -> AsyncIterator[Workshop]:
    """A repository and a renderer; nothing exported is left behind."""
    workshop = Workshop(tmp_path)
    yield workshop
    assert workshop.leftovers() == []
    await workshop.close()
    assert list(workshop.scratch.iterdir()) == []
