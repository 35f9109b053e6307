"""An overlay's inputs: their key says whether a push concerns it, without starting a renderer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gitopsd.adapters.kustomize.inputs import InputFinder, Inputs
from gitopsd.adapters.kustomize.trees import Entry, Tree, Trees
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.errors import TemporaryError
from gitopsd.ports import InputSet, Rejection
from tests.support.overlays import BASE, CONFIG, DEPLOYMENT, OVERLAYS, SERVICE
from tests.support.rendering import URL, Workshop, find_kubectl
from tests.support.repositories import Files

OVERLAY: Files = {
    **BASE,
    "component/kustomization.yaml": (
        "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nnamePrefix: c-\n"
    ),
    "overlay/kustomization.yaml": (
        "resources: [../base, extra.yaml]\ncomponents: [../component]\n"
        "patches: [{path: patch.yaml}]\nconfigMapGenerator: [{name: page, files: [page.html]}]\n"
    ),
    "overlay/extra.yaml": CONFIG.replace("settings", "extra"),
    "overlay/patch.yaml": DEPLOYMENT,
    "overlay/page.html": "<p>one</p>\n",
    "overlay/unused.yaml": SERVICE,
    "other/kustomization.yaml": "resources: [../base]\n",
}


async def _key(workshop: Workshop, commit: CommitSha, path: str = "overlay") -> str:
    inputs = await workshop.find_inputs(commit, path)
    assert isinstance(inputs, InputSet), inputs
    return inputs.key


@pytest.fixture
async def recorded(tmp_path: Path) -> AsyncIterator[tuple[Workshop, Path]]:
    """A workshop whose kubectl makes an entry in a directory each time it renders."""
    runs = tmp_path / "runs"
    runs.mkdir()
    program = tmp_path / "kubectl"
    program.write_text(
        f'#!/bin/sh\n[ "$1" = kustomize ] && mkdir {runs}/$$\nexec {find_kubectl()} "$@"\n',
        encoding="utf-8",
    )
    program.chmod(0o755)
    workshop = Workshop(tmp_path, program)
    yield workshop, runs
    await workshop.close()


async def test_inputs_are_exactly_the_named_files(workshop: Workshop) -> None:
    """Every file that any field names is an input, and no other file is."""
    inputs = await workshop.find_inputs(workshop.commit(OVERLAY))

    assert isinstance(inputs, InputSet)
    assert set(inputs.files) == {
        *(path for path in OVERLAY if not path.startswith("other/")),
    } - {"overlay/unused.yaml"}


async def test_push_outside_the_inputs_starts_no_renderer(
    recorded: tuple[Workshop, Path],
) -> None:
    """A push that touches other files has the same key; the stored render answers it."""
    workshop, runs = recorded
    first = workshop.commit(OVERLAY)
    rendered = await workshop.render_set(first)
    second = workshop.commit({"overlay/unused.yaml": CONFIG, "docs/words.md": "more\n"})

    assert await _key(workshop, second) == await _key(workshop, first)
    again = await workshop.render_set(second)

    assert again.digest == rendered.digest
    assert len(list(runs.iterdir())) == 1


async def test_looking_for_inputs_starts_no_renderer(recorded: tuple[Workshop, Path]) -> None:
    """Inputs of good and refused overlays are found without kustomize."""
    workshop, runs = recorded
    good = workshop.commit(OVERLAY)
    bad = workshop.commit({"overlay/kustomization.yaml": "resources: [https://a.test/x]\n"})

    await _key(workshop, good)
    assert isinstance(await workshop.find_inputs(bad), Rejection)

    assert list(runs.iterdir()) == []


@pytest.mark.parametrize(
    "path",
    [
        "overlay/kustomization.yaml",
        "overlay/extra.yaml",
        "overlay/patch.yaml",
        "overlay/page.html",
        "base/kustomization.yaml",
        "base/deployment.yaml",
        "component/kustomization.yaml",
    ],
)
async def test_change_of_an_input_changes_the_key(path: str, workshop: Workshop) -> None:
    """Any byte of any input makes another key; putting it back makes the first one again."""
    first = workshop.commit(OVERLAY)
    content = OVERLAY[path]
    assert isinstance(content, str)
    key = await _key(workshop, first)

    changed = await _key(workshop, workshop.commit({path: f"{content}# changed\n"}))
    restored = await _key(workshop, workshop.commit({path: content}))

    assert changed != key
    assert restored == key


async def test_key_depends_on_the_overlay(workshop: Workshop) -> None:
    """Two overlays with equal files have keys of their own."""
    same = {f"{place}/kustomization.yaml": "resources: [../base]\n" for place in ("one", "two")}
    commit = workshop.commit({**BASE, **same})

    assert await _key(workshop, commit, "one") != await _key(workshop, commit, "two")


async def test_what_was_missing_counts_when_it_comes(workshop: Workshop) -> None:
    """A missing input is looked for again in each commit, wherever it was to lie."""
    files = {"overlay/kustomization.yaml": "resources: [../late]\n"}
    missing = await workshop.find_inputs(workshop.commit(files))
    late = {"late/kustomization.yaml": "resources: [s.yaml]\n", "late/s.yaml": SERVICE}

    found = await workshop.find_inputs(workshop.commit(late))

    assert isinstance(missing, Rejection)
    assert isinstance(found, InputSet)


async def test_second_kustomization_counts_when_it_comes(workshop: Workshop) -> None:
    """A file that nothing names can still matter: a second kustomization is seen at once."""
    before = await workshop.find_inputs(workshop.commit(OVERLAY))
    after = await workshop.find_inputs(workshop.commit({"base/kustomization.yml": "{}\n"}))

    assert isinstance(before, InputSet)
    assert isinstance(after, Rejection)
    assert after.reason == "TwoKustomizations"


async def test_file_that_shadows_a_directory_counts(workshop: Workshop) -> None:
    """Kustomize takes a file before a directory, and so does the walk in the next commit."""
    files = {**BASE, "overlay/kustomization.yaml": "resources: [sub]\n"}
    nested = {"overlay/sub/kustomization.yaml": "resources: [../../base]\n"}
    directory = await workshop.find_inputs(workshop.commit({**files, **nested}))
    removed = workshop.commit({"overlay/sub/kustomization.yaml": None, "overlay/sub": SERVICE})

    file = await workshop.find_inputs(removed)

    assert isinstance(directory, InputSet)
    assert isinstance(file, InputSet)
    assert set(file.files) == {"overlay/kustomization.yaml", "overlay/sub"}


async def test_unknown_commit_is_no_verdict(workshop: Workshop) -> None:
    """A commit that the mirror lacks says nothing about the overlay."""
    workshop.commit(OVERLAY)

    with pytest.raises(TemporaryError, match="does not hold commit"):
        await workshop.find_inputs(CommitSha("a" * 40))


@dataclass
class _CountingTree:
    """A tree that counts what is read from it."""

    tree: Tree
    reads: list[str]

    def find(self, path: str) -> Entry | None:
        """Look a path up."""
        return self.tree.find(path)

    def size(self, blob: str) -> int:
        """Tell a size."""
        return self.tree.size(blob)

    def read(self, blob: str) -> bytes:
        """Read a file, and count it."""
        self.reads.append(blob)
        return self.tree.read(blob)


@dataclass
class _CountingTrees:
    """Trees that count how often they are opened and read."""

    trees: Trees
    opened: int = 0
    reads: list[str] = field(default_factory=list)

    @contextmanager
    def open_tree(self, repo: RepoURL, sha: CommitSha) -> Iterator[Tree]:
        """Open a tree, and count it."""
        self.opened += 1
        with self.trees.open_tree(repo, sha) as tree:
            yield _CountingTree(tree, self.reads)


async def test_push_reads_only_what_it_changed(workshop: Workshop) -> None:
    """Of 60 overlays, a push that changes one reads one file and opens the commit twice."""
    trees = _CountingTrees(workshop.git)
    finder = InputFinder(trees, "a renderer")
    files = OVERLAYS["300 objects"]
    overlays = [f"apps/service-{number:02}" for number in range(60)]
    first = workshop.commit(files)
    before = {path: finder.find(URL, first, path) for path in overlays}
    trees.opened, trees.reads[:] = 0, []
    changed = "resources: [objects.yaml]\nnamespace: other\n"
    second = workshop.commit({"apps/service-07/kustomization.yaml": changed})

    after = {
        path: finder.recall(URL, second, path) or finder.find(URL, second, path)
        for path in overlays
    }

    different = [path for path in overlays if after[path] != before[path]]
    assert different == ["apps/service-07"]
    assert all(isinstance(inputs, Inputs) for inputs in after.values())
    assert len(trees.reads) == 1
    assert trees.opened <= 2
