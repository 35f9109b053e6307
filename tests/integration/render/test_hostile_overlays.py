"""What a repository must not do to the renderer: one row each, with the place that is told.

The same files beside a good overlay, outside its input set, change nothing for it.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gitopsd.adapters.kustomize.discovery import find_confinement
from gitopsd.adapters.kustomize.running import run_kustomize
from tests.support.hostile_overlays import ROWS
from tests.support.odd_servers import run_recorder
from tests.support.overlays import SERVICE
from tests.support.rendering import Workshop, find_kubectl

GOOD = {"good/kustomization.yaml": "resources: [service.yaml]\n", "good/service.yaml": SERVICE}


@pytest.mark.parametrize("name", ROWS)
async def test_hostile_input_is_refused_with_its_place(name: str, workshop: Workshop) -> None:
    """The overlay is refused for the right reason, and the sentence begins with path:line."""
    row = ROWS[name]

    rejection = await workshop.refuse(workshop.commit(row.files))

    assert (rejection.reason, rejection.message.partition(" ")[0]) == (row.reason, f"{row.place}:")
    assert len(rejection.message) < 600
    assert str(workshop.scratch) not in rejection.message


@pytest.mark.parametrize("name", ROWS)
async def test_hostile_files_outside_the_inputs_are_harmless(name: str, workshop: Workshop) -> None:
    """A good overlay has the same inputs, by the same key, beside the hostile files."""
    alone = workshop.commit(GOOD)
    beside = workshop.commit(ROWS[name].files)

    assert await workshop.find_inputs(beside, "good") == await workshop.find_inputs(alone, "good")


async def test_a_good_overlay_renders_amid_everything_hostile(workshop: Workshop) -> None:
    """With every hostile row in the same commit, a good overlay renders as if it were alone."""
    hostile = {
        f"row-{number}/{path}": content
        for number, row in enumerate(ROWS.values())
        for path, content in row.files.items()
    }

    rendered = await workshop.render_set(workshop.commit({**GOOD, **hostile}), "good")

    assert [obj["kind"] for obj in rendered.objects] == ["Service"]


async def test_no_network_is_behind_the_walk(tmp_path: Path) -> None:
    """Run directly on a remote base, kustomize reaches nobody wherever the kernel allows that."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    confinement = await asyncio.to_thread(find_confinement)
    async with run_recorder() as recorder:
        kustomization = f"resources: [{recorder.url}/x.yaml]\n"
        (overlay / "kustomization.yaml").write_text(kustomization, encoding="utf-8")

        command = (*confinement, str(find_kubectl()), "kustomize", str(overlay))
        finished = await run_kustomize(command, tmp_path, 30)

    assert finished.code != 0
    assert bool(recorder.received) == ("--net" not in confinement)
