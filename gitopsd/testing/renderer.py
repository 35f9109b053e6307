"""A renderer in memory: overlays render to the objects their commit was made with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TypeAlias

from ryaml import loads  # type: ignore[attr-defined] # re-exported without saying so

from gitopsd.domain.manifests import Json, JsonObject, RenderedSet
from gitopsd.domain.sources import CommitSha, RepoURL
from gitopsd.errors import GitopsdError
from gitopsd.kube.canonical import digest_of, digest_of_set
from gitopsd.kube.images import find_images
from gitopsd.kube.marking import add_labels, find_pins, pin_images
from gitopsd.kube.ordering import sort_for_apply
from gitopsd.ports import Clock, InputSet, Rejection, RenderRequest
from gitopsd.testing.source_repository import Overlay, file_of

OverlayReader: TypeAlias = Callable[[RepoURL, CommitSha, str], Overlay | None]
"""`MemoryRepositories.overlay`: what an overlay of a commit renders to."""


FileReader: TypeAlias = Callable[[RepoURL, CommitSha, str], bytes | None]
"""`MemoryRepositories.file`: what another file of a commit holds."""

MOST_BYTES = 16_384


class MemoryRenderer:
    """Renders what the repositories in memory hold.

    Args:
        read_overlay: Where overlays come from, usually `MemoryRepositories.overlay`.
        clock: Waited on for `latency`; without one every answer is immediate.
        read_file: Where other files come from, usually `MemoryRepositories.file`; there are none
            when left out.

    Attributes:
        latency: How long each render takes.
        rendered: Requests that were rendered, in order.
    """

    def __init__(
        self,
        read_overlay: OverlayReader,
        clock: Clock | None = None,
        read_file: FileReader | None = None,
    ) -> None:
        self.latency = timedelta(0)
        self.rendered: list[RenderRequest] = []
        self._read_overlay = read_overlay
        self._read_file = read_file
        self._clock = clock
        self._failures: list[GitopsdError] = []

    def fail(self, error: GitopsdError, *, times: int = 1) -> None:
        """Answer the next renders with an error."""
        self._failures.extend([error] * times)

    async def fetch_inputs(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> InputSet | Rejection:
        """Tell the key of an overlay's inputs: equal overlays have equal keys."""
        overlay = self._read_overlay(repo, commit, path)
        if overlay is None:
            return _missing(path)
        if isinstance(overlay, Rejection):
            return overlay
        content = digest_of(list(overlay))
        return InputSet(key=digest_of([path, content]), files={file_of(path): content})

    async def fetch_document(
        self, repo: RepoURL, commit: CommitSha, path: str
    ) -> JsonObject | Rejection | None:
        """Read a small YAML file of a commit."""
        self._read_overlay(repo, commit, "")  # a commit that the mirror lacks is missed
        content = self._read_file(repo, commit, path) if self._read_file is not None else None
        if content is None:
            return None
        if len(content) > MOST_BYTES:
            return Rejection("TooLarge", f"{path}:1: it is longer than {MOST_BYTES} bytes")
        try:
            document: Json = loads(content.decode())
        except ValueError as error:
            return Rejection("BadYaml", f"{path}:1: it is not YAML: {error}")
        if not isinstance(document, Mapping):
            return Rejection("BadYaml", f"{path}:1: it must be one YAML document with fields")
        return document

    async def run_render(self, request: RenderRequest) -> RenderedSet | Rejection:
        """Render an overlay: its objects, labelled and pinned."""
        self.rendered.append(request)
        if self._clock is not None and self.latency:
            await self._clock.sleep(self.latency)
        if self._failures:
            raise self._failures.pop(0)
        overlay = self._read_overlay(request.repo, request.commit, request.path)
        if overlay is None:
            return _missing(request.path)
        if isinstance(overlay, Rejection):
            return overlay
        references = find_images(overlay)
        pins = find_pins(references, request.images)
        tags = find_pins(references, request.tags)
        marked = [pin_images(add_labels(obj, request.labels), pins, tags) for obj in overlay]
        return RenderedSet(
            digest=digest_of_set(marked),
            objects=sort_for_apply(marked),
            images=pins,
            renderer="memory",
        )


def _missing(path: str) -> Rejection:
    return Rejection("NoKustomization", f"{path}:1: the commit has no kustomization here")
