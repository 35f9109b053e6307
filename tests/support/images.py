"""Builds tiny OCI images in memory; `tests.support.registry` pushes them.

How a release behaves is written in its image and nowhere else: a crash, a health answer or a slow
start travels inside the image's config (label ``gitopsd.io/serve``, run by the node agent in its
own process) or inside its layer (``/app/app.py``, run as a child process). Both read the same
format, documented in `gitopsd.sandbox.behaviour`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from gitopsd.sandbox.behaviour import SERVE_LABEL
from gitopsd.sandbox.hosts.image_making import (
    CONFIG_TYPE,
    CREATED,
    LAYER_TYPE,
    MANIFEST_TYPE,
    VERSION_LABEL,
    Blob,
    Image,
    Program,
    make_image,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "CONFIG_TYPE",
    "LAYER_TYPE",
    "MANIFEST_TYPE",
    "SERVE_LABEL",
    "VERSION_LABEL",
    "Blob",
    "Image",
]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
REVISION_LABEL = "org.opencontainers.image.revision"
DEFAULT_PORT = 8080

Runtime = Literal["served", "process"]
Behaviour = dict[str, object]


def build_image(
    *,
    version: str,
    behaviour: Behaviour,
    runtime: Runtime = "served",
    entrypoint: Sequence[str] = (),
    files: Mapping[str, bytes] | None = None,
    labels: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    created: str = CREATED,
) -> Image:
    """Build any image. The same arguments give the same digest.

    Args:
        version: Goes into the version label and the environment variable ``IMAGE_VERSION``.
        behaviour: What the image does when it runs.
        runtime: ``served`` runs inside the node agent and costs no process; ``process`` runs
            ``/app/app.py`` as a child.
        entrypoint: Another command for a process image, e.g. ``["python3", "/app/other.py"]``.
        files: More files of the layer, by absolute path.
        labels: More labels, e.g. the revision label.
        env: Environment of the image.
        created: When it says that it was built.
    """
    contents, program = dict(files or {}), None
    if runtime == "process":
        contents["/app/behaviour.json"] = json.dumps(behaviour, sort_keys=True).encode()
        contents["/app/app.py"] = Path(__file__).with_name("image_app.py").read_bytes()
        program = Program(list(entrypoint) or ["python3", "/app/app.py"], "/app")
    return make_image(
        version=version,
        behaviour=behaviour,
        program=program,
        files=contents,
        labels=labels,
        env=env,
        created=created,
    )


def build_index(*images: Image, platforms: Sequence[str] = ("linux/amd64",)) -> Image:
    """Build an index over images that are pushed by themselves, one for each platform."""
    entries = []
    for image, platform in zip(images, platforms, strict=True):
        system, _, machine = platform.partition("/")
        named = {"os": system, "architecture": machine}
        entries.append({**image.manifest.descriptor, "platform": named})
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": entries}
    return Image(Blob(json.dumps(index, sort_keys=True).encode(), INDEX_TYPE), ())


def web_image(
    version: str,
    *,
    runtime: Runtime = "served",
    port: int = DEFAULT_PORT,
    health: object | None = None,
    health_statuses: Sequence[int] = (200,),
    ready_statuses: Sequence[int] = (200,),
    smoke_statuses: Sequence[int] = (200,),
    revision: str | None = None,
    **behaviour: object,
) -> Image:
    """A web service: JSON at ``/health``, ``/ready``, ``/smoke``, ``/env`` and ``/``.

    Args:
        version: What ``/health`` reports as its version.
        runtime: See `build_image`.
        port: Where it listens on the pod's address.
        health: Body of ``/health`` instead of ``{"status": "healthy", "version": version}``.
        health_statuses: Status of the first, second, ... answer at ``/health``; the last stays.
        ready_statuses: The same for ``/ready``, meant for the readiness probe.
        smoke_statuses: The same for ``/smoke``, meant for the release's own checks.
        revision: Commit the image was built from, as its label says.
        behaviour: Any other key of the format: ``exits``, ``listenAfterSeconds``, ``onTerm``,
            ``requireEnv``, ``log``, ``memoryMebibytes``, ``exec``.
    """
    body = {"status": "healthy", "version": version} if health is None else health
    routes: list[dict[str, object]] = [
        {"path": "/health", "statuses": list(health_statuses), "json": body},
        {"path": "/ready", "statuses": list(ready_statuses), "json": {"ready": True}},
        {"path": "/smoke", "statuses": list(smoke_statuses), "json": {"smoke": version}},
        {"path": "/env", "json": {"message": "$(MESSAGE)", "pod": "$(HOSTNAME)"}},
        {"path": "/", "text": f"web {version}\n"},
    ]
    document: Behaviour = {
        "log": [f"web {version} starts"],
        "ports": [port],
        "routes": routes,
        **behaviour,
    }
    labels = {} if revision is None else {REVISION_LABEL: revision}
    return build_image(version=version, behaviour=document, runtime=runtime, labels=labels)


def crashing_image(
    version: str,
    *,
    code: int = 1,
    line: str = "fatal: cannot start",
    after_seconds: float = 0,
    runtime: Runtime = "served",
) -> Image:
    """Writes `line` to its log and exits with `code`, at its start or after some seconds."""
    rule = {"code": code, "afterSeconds": after_seconds, "log": [line]}
    return web_image(version, runtime=runtime, exits=[rule])


def crashing_when(
    version: str,
    variable: str,
    value: str,
    *,
    code: int = 1,
    line: str = "fatal: bad setting",
    runtime: Runtime = "served",
) -> Image:
    """Works, but crashes at its start when its environment has ``variable=value``."""
    rule = {"code": code, "log": [line], "whenEnv": {variable: value}}
    return web_image(version, runtime=runtime, exits=[rule])


def never_ready_image(version: str, *, runtime: Runtime = "served") -> Image:
    """Runs and listens, but answers 503 at ``/ready`` and ``/health`` for ever."""
    return web_image(
        version,
        runtime=runtime,
        health={"status": "starting", "version": version},
        health_statuses=[503],
        ready_statuses=[503],
    )


def wrong_json_image(version: str, *, runtime: Runtime = "served") -> Image:
    """Ready, and ``/health`` answers 200 with a status that is not ``healthy``."""
    return web_image(version, runtime=runtime, health={"status": "degraded", "version": version})


def smoke_failing_image(version: str, *, runtime: Runtime = "served") -> Image:
    """Ready and healthy, but ``/smoke`` answers 500: only the release's own checks notice."""
    return web_image(version, runtime=runtime, smoke_statuses=[500])


def late_image(version: str, *, seconds: float, runtime: Runtime = "served") -> Image:
    """Refuses connections for `seconds`, then works."""
    return web_image(version, runtime=runtime, listenAfterSeconds=seconds)


def oom_image(version: str, *, after_seconds: float = 0) -> Image:
    """Ends with 137 as a container that the kernel killed for its memory."""
    rule = {"code": 137, "oomKilled": True, "afterSeconds": after_seconds}
    return web_image(version, exits=[rule])


def job_image(
    version: str,
    *,
    code: int = 0,
    lines: Sequence[str] = ("done",),
    seconds: float = 0,
    append_to: str | None = None,
    runtime: Runtime = "served",
) -> Image:
    """Runs once: logs `lines`, appends ``version`` to a file, exits with `code`.

    Args:
        version: What it appends; may hold ``$(NAME)`` of its environment.
        code: Exit code.
        lines: What it logs before it exits.
        seconds: How long it works.
        append_to: File that gets one line per start; may hold ``$(NAME)``.
        runtime: See `build_image`.
    """
    behaviour: Behaviour = {
        "exits": [{"code": code, "afterSeconds": seconds, "log": list(lines)}],
    }
    if append_to is not None:
        behaviour["append"] = {"path": append_to, "line": version}
    return build_image(version=version, behaviour=behaviour, runtime=runtime)
