"""A child that was started ahead renders the same, and is gone when nobody needs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.kustomize.exporting import Scratch
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.adapters.kustomize.running import Child, start_kustomize
from gitopsd.adapters.kustomize.warming import WARM_NAME, WarmUp
from gitopsd.domain.manifests import RenderedSet
from gitopsd.domain.sources import CommitSha
from gitopsd.ports import Rejection, RenderRequest
from tests.support.overlays import BASE, CONFIG, OVERLAY_PATHS, OVERLAYS, SERVICE
from tests.support.processes import wait_until
from tests.support.rendering import LABELS, URL, Workshop

TOP_ONLY = {"openapi"}
FILES = {**BASE, "overlay/kustomization.yaml": "resources: [../base]\n"}


class Warm:
    """A renderer whose next render is done by a child that was started ahead.

    Args:
        workshop: What it reads.
    """

    def __init__(self, workshop: Workshop) -> None:
        self.renderer = KustomizeRenderer(workshop.git, scratch=workshop.scratch, warm_seconds=30)

    async def render(self, commit: CommitSha, path: str = "overlay") -> RenderedSet | Rejection:
        """Start a child ahead, and render."""
        self.renderer.expect()
        return await self.renderer.run_render(RenderRequest(URL, commit, path, labels=LABELS))


class Sleepers:
    """Starts children that wait for ever, and counts those that are gone with their files."""

    def __init__(self) -> None:
        self._started: list[tuple[Path, Child]] = []

    async def start(self, home: Path, directory: Path) -> Child:
        """Start one; ``directory`` is what it would build."""
        assert directory.is_relative_to(home)
        child = await start_kustomize(("sleep", "60"), home)
        self._started.append((home, child))
        return child

    @property
    def gone(self) -> int:
        """How many were started and left neither a process nor a file."""
        return sum(not child.runs and not home.exists() for home, child in self._started)


@pytest.fixture
async def warm(workshop: Workshop) -> AsyncIterator[Warm]:
    """A renderer that starts children ahead."""
    warm = Warm(workshop)
    yield warm
    await warm.renderer.close()


@pytest.mark.parametrize("name", OVERLAYS)
async def test_every_overlay_renders_the_same(name: str, workshop: Workshop, warm: Warm) -> None:
    """What comes through the gate is byte for byte what comes the ordinary way."""
    commit, path = workshop.commit(OVERLAYS[name]), OVERLAY_PATHS.get(name, "overlay")
    ordinary = await workshop.render_set(commit, path)

    rendered = await warm.render(commit, path)

    assert rendered == ordinary
    assert warm.renderer.warm_renders == (name not in TOP_ONLY)


async def test_broken_overlay_is_told_as_ever(workshop: Workshop, warm: Warm) -> None:
    """A build that fails behind the gate is judged by a child of the ordinary kind."""
    files = {"overlay/kustomization.yaml": "resources: [a.yaml]\n", "overlay/a.yaml": "a: b\n"}
    commit = workshop.commit(files)

    rejection = await warm.render(commit)

    assert rejection == await workshop.refuse(commit)
    assert warm.renderer.warm_renders == 0


async def test_refused_export_leaves_nothing(workshop: Workshop, warm: Warm) -> None:
    """An overlay that is refused while it is exported leaves neither child nor files."""
    pointer = "version https://git-lfs.github.com/spec/v1\n"
    files = {"overlay/kustomization.yaml": "resources: [a.yaml]\n", "overlay/a.yaml": pointer}

    rejection = await warm.render(workshop.commit(files))

    assert isinstance(rejection, Rejection)
    assert rejection.reason == "LargeFilePointer"
    assert workshop.leftovers() == []


async def test_object_of_that_name_is_not_lost(workshop: Workshop, warm: Warm) -> None:
    """Somebody's own object that is called like ours is rendered, by the ordinary way."""
    files = {
        "overlay/kustomization.yaml": "resources: [a.yaml]\n",
        "overlay/a.yaml": CONFIG.replace("settings", WARM_NAME),
    }

    rendered = await warm.render(workshop.commit(files))

    assert isinstance(rendered, RenderedSet)
    assert len(rendered.objects) == 1


async def test_component_is_rendered_the_ordinary_way(workshop: Workshop, warm: Warm) -> None:
    """What cannot be a base, but can be built, is built."""
    head = "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\n"
    files = {
        "overlay/kustomization.yaml": f"{head}resources: [a.yaml]\n",
        "overlay/a.yaml": SERVICE,
    }

    rendered = await warm.render(workshop.commit(files))

    assert isinstance(rendered, RenderedSet)
    assert warm.renderer.warm_renders == 0


@pytest.mark.parametrize("seconds", [0.2, 0.000_1], ids=["waiting", "still-starting"])
async def test_nobody_waits_for_long(tmp_path: Path, seconds: float) -> None:
    """A child that is not needed ends by itself with its files, and the next push gets another."""
    sleepers = Sleepers()
    warm_up = WarmUp(sleepers.start, Scratch(tmp_path), seconds)

    for number in range(2):
        warm_up.expect()
        await asyncio.to_thread(
            wait_until,
            lambda number=number: sleepers.gone == number + 1,  # type: ignore[misc] # mypy cannot infer a lambda's default
            what=f"the end of child {number}",
            within=timedelta(seconds=4),
        )

    await warm_up.close()
    assert sleepers.gone == 2


async def test_expecting_twice_starts_one_child(workshop: Workshop, warm: Warm) -> None:
    """However often a render is announced, one child waits."""
    for _ in range(5):
        warm.renderer.expect()

    await warm.render(workshop.commit(FILES))

    assert warm.renderer.warm_renders == 1
    assert workshop.leftovers() == []


async def test_parallel_renders_share_nothing(workshop: Workshop, warm: Warm) -> None:
    """Of several renders at once one goes through the gate, and all come out right."""
    files = {
        f"overlay-{number}/kustomization.yaml": f"namespace: n{number}\nresources: [../base]\n"
        for number in range(4)
    }
    commit = workshop.commit({**BASE, **files})
    warm.renderer.expect()

    sets = await asyncio.gather(*(warm.render(commit, f"overlay-{number}") for number in range(4)))

    found = [
        str(rendered.objects[0]["metadata"]) for rendered in sets if hasattr(rendered, "objects")
    ]
    assert [f"'namespace': 'n{number}'" in text for number, text in enumerate(found)] == [True] * 4


async def test_closing_ends_what_waits(workshop: Workshop, warm: Warm) -> None:
    """A renderer that is closed leaves no child and no file, twice as well as once."""
    warm.renderer.expect()

    await warm.renderer.close()
    await warm.renderer.close()

    assert list(workshop.scratch.iterdir()) == []
