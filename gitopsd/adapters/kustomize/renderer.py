"""The port `Renderer`: inputs from the Git tree, objects from real kustomize, marks from us."""

from __future__ import annotations

import asyncio
import os
import shutil
import zlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias, TypeVar

import orjson

from gitopsd.adapters.kustomize.complaints import explain_duplicate, explain_failure
from gitopsd.adapters.kustomize.discovery import (
    KustomizeProgram,
    find_confinement,
    find_program,
)
from gitopsd.adapters.kustomize.exporting import MAX_OBJECTS, Scratch, export, too_many_objects
from gitopsd.adapters.kustomize.inputs import InputFinder, Inputs
from gitopsd.adapters.kustomize.output import OutputError, parse_output
from gitopsd.adapters.kustomize.refusals import Place, RefusedError
from gitopsd.adapters.kustomize.running import (
    MAX_OUTPUT_BYTES,
    Child,
    Finished,
    start_kustomize,
)
from gitopsd.adapters.kustomize.single_files import read_document
from gitopsd.adapters.kustomize.trees import Trees
from gitopsd.adapters.kustomize.walker import KUSTOMIZATION_NAMES
from gitopsd.adapters.kustomize.warming import (
    WarmChild,
    WarmUp,
    is_warmable,
    without_warm_up,
)
from gitopsd.domain.manifests import JsonObject, RenderedSet
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.errors import TemporaryError
from gitopsd.kube.canonical import digest_of_set
from gitopsd.kube.images import find_images
from gitopsd.kube.marking import add_labels, find_pins, pin_images
from gitopsd.kube.ordering import sort_for_apply
from gitopsd.ports import InputSet, Rejection, RenderRequest

DEADLINE = timedelta(seconds=60)
WARM_SECONDS = 15.0
AGAIN_SECONDS = 1.0
MAX_CACHE_BYTES = 8 << 20
_OUT_OF_MEMORY = ("out of memory", "cannot allocate memory", "failed to reserve")

_T = TypeVar("_T")
Objects: TypeAlias = tuple[JsonObject, ...]


@dataclass(frozen=True, slots=True)
class _Ready:
    """What was found out when the first overlay was asked about."""

    program: KustomizeProgram
    confinement: tuple[str, ...]
    finder: InputFinder


class KustomizeRenderer:
    """Renders overlays with real kustomize, each in a child of its own.

    Args:
        trees: Where commits are read.
        binary: A kustomize or kubectl program; found in PATH or beside Python when left out.
        scratch: Where files are exported to; memory when there is enough of it.
        deadline: How long one render may take.
        parallel: How many renders run at once; one a core when left out.
        warm_seconds: How long a child that was started ahead waits for work; 0 starts none.

    Attributes:
        warm_renders: How many renders a child did that was started ahead.
    """

    def __init__(
        self,
        trees: Trees,
        *,
        binary: Path | None = None,
        scratch: Path | None = None,
        deadline: timedelta = DEADLINE,
        parallel: int | None = None,
        warm_seconds: float = WARM_SECONDS,
    ) -> None:
        self.warm_renders = 0
        self._trees = trees
        self._binary = binary
        self._scratch = Scratch(scratch)
        self._deadline_seconds = deadline.total_seconds()
        self._slots = asyncio.Semaphore(parallel or os.cpu_count() or 1)
        self._starting = asyncio.Lock()
        self._ready: _Ready | None = None
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cached_bytes = 0
        self._warm_up = WarmUp(self._start, self._scratch, warm_seconds)

    def expect(self) -> None:
        """Hear that a render is likely soon: a child is started ahead. Never raises or waits."""
        self._warm_up.expect()

    async def fetch_inputs(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> InputSet | Rejection:
        """Walk an overlay's inputs in the Git tree; starts no renderer.

        Raises:
            TemporaryError: The mirror cannot be read now.
            PermanentError: There is no kustomize on this machine.
        """
        found = await self._find(repo, commit, path)
        return found if isinstance(found, Rejection) else found.input_set

    async def fetch_document(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> JsonObject | Rejection | None:
        """Read a small YAML file of a commit; starts no renderer.

        Raises:
            TemporaryError: The mirror cannot be read now.
        """
        return await asyncio.to_thread(read_document, self._trees, repo, commit, path)

    async def run_render(self, request: RenderRequest) -> RenderedSet | Rejection:
        """Render an overlay, label its objects and pin its images.

        Safe to repeat: equal inputs give equal bytes.

        Raises:
            TemporaryError: The renderer could not be started or was killed from outside.
            PermanentError: There is no kustomize on this machine.
        """
        inputs = await self._find(request.repo, request.commit, request.path)
        if isinstance(inputs, Rejection):
            return inputs
        objects = self._recall(inputs.input_set.key)
        if objects is None:
            try:
                objects = await self._build(request, inputs)
            except RefusedError as refused:
                return refused.rejection
            self._keep(inputs.input_set.key, objects)
        return self._mark(request, objects)

    async def close(self) -> None:
        """End what waits, remove what was exported. Safe to repeat: there is nothing left."""
        await self._warm_up.close()
        await asyncio.to_thread(self._scratch.close)

    async def _find(self, repo: RepoURL, commit: CommitSha, path: str) -> Inputs | Rejection:
        ready = await self._get_ready()
        known = ready.finder.recall(repo, commit, path)
        if known is not None:
            return known
        return await asyncio.to_thread(ready.finder.find, repo, commit, path)

    async def _get_ready(self) -> _Ready:
        if self._ready is None:
            async with self._starting:
                if self._ready is None:
                    program = await asyncio.to_thread(find_program, self._binary)
                    confinement = await asyncio.to_thread(find_confinement)
                    finder = InputFinder(self._trees, program.identity)
                    self._ready = _Ready(program, confinement, finder)
        return self._ready

    async def _start(self, home: Path, directory: Path) -> Child:
        ready = await self._get_ready()
        command = (*ready.confinement, *ready.program.command, str(directory))
        return await start_kustomize(command, home)

    async def _build(self, request: RenderRequest, inputs: Inputs) -> Objects:
        """Export, run, read: the only way that costs a process."""
        async with self._slots:
            try:
                taken = await self._warm_up.take() if is_warmable(inputs) else None
                if taken is not None:
                    objects = await self._build_warm(request, inputs, *taken)
                    if objects is not None:
                        self.warm_renders += 1
                        return objects
                return await self._build_cold(request, inputs)
            finally:
                # The next stage, or the next push, often follows; not at once, when what was
                # rendered is being applied.
                self._warm_up.expect(AGAIN_SECONDS)

    async def _build_warm(
        self, request: RenderRequest, inputs: Inputs, warm: WarmChild, gate: int
    ) -> Objects | None:
        """Let a waiting child build; None when it did not come to a good end."""
        overlay_file = _overlay_file(inputs)
        try:
            try:
                await asyncio.to_thread(self._export, request, inputs, overlay_file, warm.place)
                warm.release(gate, overlay_file.rpartition("/")[0])
            finally:
                os.close(gate)
            finished = await warm.child.finish(self._deadline_seconds)
            if finished.code or finished.overflowed:
                return None
            return without_warm_up(
                await asyncio.to_thread(_read, finished, warm.place, overlay_file, inputs)
            )
        finally:
            await self._warm_up.discard(warm)

    async def _build_cold(self, request: RenderRequest, inputs: Inputs) -> Objects:
        overlay_file = _overlay_file(inputs)
        place = await asyncio.to_thread(_write, self._scratch.make)
        try:
            await asyncio.to_thread(self._export, request, inputs, overlay_file, place)
            child = await self._start(place, (place / "files" / overlay_file).parent)
            finished = await child.finish(self._deadline_seconds)
            return await asyncio.to_thread(_read, finished, place, overlay_file, inputs)
        finally:
            await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def _export(
        self, request: RenderRequest, inputs: Inputs, overlay_file: str, place: Path
    ) -> None:
        with self._trees.open_tree(request.repo, request.commit) as tree:
            _write(lambda: export(tree, inputs, overlay_file, place / "files"))

    def _mark(self, request: RenderRequest, objects: Objects) -> RenderedSet:
        references = find_images(objects)
        pins = find_pins(references, request.images)
        tags = find_pins(references, request.tags)
        marked = [pin_images(add_labels(obj, request.labels), pins, tags) for obj in objects]
        identity = self._ready.program.identity if self._ready is not None else ""
        return RenderedSet(
            digest=digest_of_set(marked),
            objects=sort_for_apply(marked),
            images=pins,
            renderer=identity,
        )

    def _recall(self, key: str) -> Objects | None:
        packed = self._cache.get(key)
        if packed is None:
            return None
        self._cache.move_to_end(key)
        return tuple(orjson.loads(zlib.decompress(packed)))

    def _keep(self, key: str, objects: Objects) -> None:
        packed = zlib.compress(orjson.dumps(objects), level=1)
        self._cached_bytes += len(packed) - len(self._cache.pop(key, b""))
        self._cache[key] = packed
        while self._cached_bytes > MAX_CACHE_BYTES and self._cache:
            self._cached_bytes -= len(self._cache.popitem(last=False)[1])


def _write(action: Callable[[], _T]) -> _T:
    """Write to the scratch directory; a full one is no verdict about what is rendered."""
    try:
        return action()
    except OSError as error:
        message = f"the files of an overlay cannot be exported: {error}; make room there"
        raise TemporaryError(message, reason="NoScratch") from error


def _overlay_file(inputs: Inputs) -> str:
    """Name the overlay's own kustomization: the walk starts with it."""
    return next(iter(inputs.input_set.files), KUSTOMIZATION_NAMES[0])


def _read(finished: Finished, place: Path, overlay_file: str, inputs: Inputs) -> Objects:
    """Turn the end of a child into objects or a verdict."""
    root = place / "files"
    here = Place(overlay_file)
    if finished.overflowed:
        sentence = f"it renders to more than {MAX_OUTPUT_BYTES // 1_000_000} MB"
        raise RefusedError("OutputTooLarge", here, sentence)
    if finished.late or "SIGXCPU" in finished.complaint:
        raise RefusedError("RenderTimeout", here, "kustomize does not come to an end with it")
    if any(words in finished.complaint for words in _OUT_OF_MEMORY):
        raise RefusedError("RenderMemory", here, "kustomize needs more memory than is allowed")
    if finished.code < 0:
        message = f"kustomize was killed by signal {-finished.code}"
        raise TemporaryError(message, reason="RendererKilled")
    if finished.code:
        raise explain_failure(finished.complaint, root, overlay_file, inputs)
    try:
        return parse_output(finished.output, MAX_OBJECTS)
    except OutputError as error:
        if error.reason == "OutputTooLarge":
            raise too_many_objects(overlay_file) from error
        if error.key is not None:
            key = error.key
            raise explain_duplicate(key.kind, key.name, root, overlay_file, inputs) from error
        raise RefusedError(error.reason, here, error.sentence) from error
