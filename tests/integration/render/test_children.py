"""The renderer's child: what it is given, how it is ended, and what its end means."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.kustomize.discovery import find_confinement, find_program
from gitopsd.adapters.kustomize.exporting import Scratch
from gitopsd.adapters.kustomize.renderer import KustomizeRenderer
from gitopsd.adapters.kustomize.running import run_kustomize
from gitopsd.domain.manifests import RenderedSet
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import Rejection, RenderRequest
from tests.support.git_processes import is_running
from tests.support.hostile_overlays import BOMB
from tests.support.overlays import SERVICE
from tests.support.processes import wait_until
from tests.support.rendering import LABELS, URL, Workshop, find_kubectl

FILES = {"overlay/kustomization.yaml": "resources: [s.yaml]\n", "overlay/s.yaml": SERVICE}
RenderWith = Callable[..., Awaitable[RenderedSet | Rejection]]


@pytest.fixture
async def render_with(workshop: Workshop, tmp_path: Path) -> AsyncIterator[RenderWith]:
    """Renders a good overlay with a program of the test's instead of kustomize."""
    renderers = []
    commit = workshop.commit(FILES)

    async def render(script: str, seconds: float = 20) -> RenderedSet | Rejection:
        program = tmp_path / "kustomize"
        body = f'#!/bin/sh\n[ "$1" = version ] && exec echo v5.0.0\n{script}\n'
        program.write_text(body, encoding="utf-8")
        program.chmod(0o755)
        renderer = KustomizeRenderer(
            workshop.git,
            binary=program,
            scratch=workshop.scratch,
            deadline=timedelta(seconds=seconds),
        )
        renderers.append(renderer)
        return await renderer.run_render(RenderRequest(URL, commit, "overlay", labels=LABELS))

    yield render
    for renderer in renderers:
        await renderer.close()


def _pids(directory: Path) -> list[int]:
    return [int(path.name) for path in directory.iterdir()]


async def _wait_until_gone(directory: Path) -> None:
    """Wait for the end of every process that made an entry in a directory; there must be one."""
    pids = _pids(directory)
    assert pids
    await asyncio.to_thread(
        wait_until,
        lambda: not any(is_running(pid) for pid in pids),
        what="the renderer's children to be gone",
        within=timedelta(seconds=5),
    )


async def test_environment_is_built_from_nothing(render_with: RenderWith) -> None:
    """The child sees no variable of this process, and home and temporary files are private."""
    rendered = await render_with(
        "echo apiVersion: v1; echo kind: ConfigMap; echo 'metadata: {name: environment}';"
        "echo data:; env | sed 's/=/: \"/; s/^/  /; s/$/\"/'"
    )

    assert isinstance(rendered, RenderedSet), rendered
    (found,) = rendered.objects
    data = found["data"]
    assert isinstance(data, dict)
    assert set(data) - {"PWD", "_", "SHLVL", "OLDPWD"} == {
        "PATH",
        "HOME",
        "TMPDIR",
        "KUBECONFIG",
        "KUBERC",
        "GIT_ALLOW_PROTOCOL",
        "GIT_CONFIG_NOSYSTEM",
        "GIT_CONFIG_GLOBAL",
        "GIT_TERMINAL_PROMPT",
        "GOGC",
        "GOMEMLIMIT",
        "LC_ALL",
    }
    assert data["PATH"] == "/usr/bin:/bin"
    assert data["GIT_ALLOW_PROTOCOL"] == "none"


async def test_only_inputs_are_exported(render_with: RenderWith) -> None:
    """The directory that kustomize sees holds the inputs, readable by nobody else."""
    rendered = await render_with(
        'cd "$3/.."; echo apiVersion: v1; echo kind: ConfigMap; echo "metadata: {name: files}";'
        "echo data:; find . -type f | sort | sed 's/^/  \"/; s/$/\": x/';"
        'echo "  mode: \\"$(stat -c %a "$HOME")\\""'
    )

    assert isinstance(rendered, RenderedSet), rendered
    data = rendered.objects[0]["data"]
    assert isinstance(data, dict)
    assert set(data) == {"./overlay/kustomization.yaml", "./overlay/s.yaml", "mode"}
    assert data["mode"] == "700"


async def test_starved_child_is_no_verdict(render_with: RenderWith, tmp_path: Path) -> None:
    """A child that gets no CPU within its time is ended, and says nothing about the overlay."""
    pids = tmp_path / "pids"
    pids.mkdir()

    with pytest.raises(TemporaryError) as caught:
        await render_with(f"mkdir {pids}/$$; sleep 60", seconds=0.5)

    assert caught.value.reason == "RendererStarved"
    await _wait_until_gone(pids)


async def test_endless_child_is_a_verdict(render_with: RenderWith, tmp_path: Path) -> None:
    """A child that works until its time is up is ended with its children; that is a verdict."""
    pids = tmp_path / "pids"
    pids.mkdir()

    rejection = await render_with(
        f"mkdir {pids}/$$; sleep 60 & mkdir {pids}/$!; while :; do :; done", seconds=3
    )

    assert isinstance(rejection, Rejection)
    assert rejection.reason == "RenderTimeout"
    assert rejection.message.startswith("overlay/kustomization.yaml:1: ")
    await _wait_until_gone(pids)


async def test_killed_child_is_no_verdict(render_with: RenderWith) -> None:
    """A child that something outside killed says nothing about the overlay."""
    with pytest.raises(TemporaryError) as caught:
        await render_with("kill -9 $$")

    assert caught.value.reason == "RendererKilled"


async def test_cancelled_render_leaves_no_child(render_with: RenderWith, tmp_path: Path) -> None:
    """A render that is cancelled takes its child with it."""
    pids = tmp_path / "pids"
    pids.mkdir()
    started = tmp_path / "started"
    os.mkfifo(started)
    reading = asyncio.create_task(asyncio.to_thread(started.read_bytes))
    rendering = asyncio.ensure_future(
        render_with(f"mkdir {pids}/$$; cat /dev/null > {started}; sleep 60")
    )
    await reading

    rendering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await rendering

    await _wait_until_gone(pids)


async def test_complaints_without_end_are_cut(render_with: RenderWith) -> None:
    """Ten megabytes on standard error end in one sentence."""
    rejection = await render_with("yes 'error: too much' | head -c 10000000 >&2; exit 1")

    assert isinstance(rejection, Rejection)
    assert len(rejection.message) < 600


async def test_secrets_of_a_dumped_object_are_not_told(render_with: RenderWith) -> None:
    """Kustomize dumps whole objects when it fails; their values are not in the sentence."""
    rejection = await render_with(
        'echo \'error: map[string]interface {}{"data":"hunter2"}: json: unsupported\' >&2; exit 1'
    )

    assert isinstance(rejection, Rejection)
    assert "hunter2" not in rejection.message
    assert "json: unsupported" in rejection.message


@pytest.mark.parametrize(
    "output,reason",
    [
        ("apiVersion: v1\nkind: ConfigMap\n", "InvalidObject"),
        ("- a\n", "InvalidObject"),
        ("a: [\n", "BadOutput"),
    ],
)
async def test_unusable_output_is_refused(
    output: str, reason: str, render_with: RenderWith
) -> None:
    """Output without an identity, or that is no YAML, never becomes a set."""
    rejection = await render_with(f"printf '%s' '{output}'")

    assert isinstance(rejection, Rejection)
    assert rejection.reason == reason


async def test_memory_is_bounded_behind_the_walk(tmp_path: Path) -> None:
    """Run directly on an alias bomb, kustomize ends by its limit, soon."""
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "kustomization.yaml").write_text("resources: [bomb.yaml]\n", encoding="utf-8")
    head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"
    (overlay / "bomb.yaml").write_text(f"{head}{BOMB}", encoding="utf-8")
    confinement = await asyncio.to_thread(find_confinement)

    command = (*confinement, str(find_kubectl()), "kustomize", str(overlay))
    finished = await run_kustomize(command, tmp_path, 30)

    assert finished.code != 0


async def test_missing_program_is_named(tmp_path: Path) -> None:
    """Without kustomize the error says which program was looked for and what to install."""
    with pytest.raises(PermanentError, match="nowhere does not exist; install kustomize"):
        await asyncio.to_thread(find_program, tmp_path / "nowhere")


def test_directories_of_dead_processes_are_removed(tmp_path: Path) -> None:
    """What a killed process left is removed by the next one; a living one's is not touched."""
    dead = tmp_path / "gitopsd-render-dead"
    (dead / "files").mkdir(parents=True)
    (dead / "lock").touch()
    living = Scratch(tmp_path)
    held = living.make()
    ours = Scratch(tmp_path)

    ours.make()

    assert not dead.exists()
    assert held.is_dir()
    living.close()
    ours.close()
    assert list(tmp_path.iterdir()) == []


def test_renders_that_begin_together_share_one_directory(tmp_path: Path) -> None:
    """However many are the first, there is one, and nothing of it stays."""
    scratch, together = Scratch(tmp_path), threading.Barrier(8)

    def make(_: int) -> Path:
        together.wait()
        return scratch.make()

    with ThreadPoolExecutor(8) as threads:
        made = list(threads.map(make, range(8)))

    assert len({path.parent for path in made}) == 1
    assert all(path.is_dir() for path in made)
    scratch.close()
    assert list(tmp_path.iterdir()) == []


async def test_a_child_that_starts_when_we_are_gone_does_nothing(tmp_path: Path) -> None:
    """A service that is killed while it starts a child leaves none behind, waiting for ever."""
    confinement = await asyncio.to_thread(find_confinement)
    began = tmp_path / "began"
    command = (*confinement, "/bin/mkdir", str(began))  # they may write to no file

    of_another = await asyncio.create_subprocess_exec(
        "/bin/sh", "-c", '"$@"; exit $?', "sh", *command
    )
    assert (await of_another.wait(), began.exists()) == (1, False)

    ours = await asyncio.create_subprocess_exec(*command)
    assert (await ours.wait(), began.exists()) == (0, True)
