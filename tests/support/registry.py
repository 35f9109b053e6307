"""A real OCI registry (Debian's ``docker-registry``) for tests, and pushing images into it.

What is real: the server, its storage on disk, its answers and its error words. What is ours: a
client of a few requests that pushes the images of `tests.support.images`, so that no image tool
is needed.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from tests.support.images import Blob, Image

START_DEADLINE_SECONDS = 20.0
STOP_DEADLINE_SECONDS = 10.0
REQUEST_TIMEOUT = aiohttp.ClientTimeout(total=20)
PROGRAMS = ("docker-registry", "registry")
ACCEPT_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)


@dataclass(frozen=True, slots=True)
class PushedImage:
    """Where an image can be had after a push.

    Args:
        repository: Host and path without tag, e.g. ``127.0.0.1:4711/acme/web``.
        tag: The tag it was pushed under; empty when it was pushed by digest alone.
        digest: ``sha256:...`` of its manifest.
    """

    repository: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        """What people write in a manifest: by tag, or by digest when there is no tag."""
        return f"{self.repository}:{self.tag}" if self.tag else self.pinned

    @property
    def pinned(self) -> str:
        """The same image by digest."""
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Notifications:
    """Where the registry reports pushes: a URL and the static headers it sends along."""

    url: str
    headers: Mapping[str, str]


class Registry:
    """A running registry; made by `run_registry`."""

    def __init__(
        self, *, directory: Path, listen: str, notifications: Notifications | None
    ) -> None:
        self._directory = directory
        self._listen = listen
        self._notifications = notifications
        self._process: asyncio.subprocess.Process | None = None
        self._log_reader: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    @property
    def host(self) -> str:
        """``address:port``, the first part of every image reference here."""
        return self._listen

    @property
    def url(self) -> str:
        """Base URL; it speaks plain HTTP."""
        return f"http://{self._listen}"

    @property
    def log_file(self) -> Path:
        """Everything the server wrote, one JSON object a line."""
        return self._directory / "registry.log"

    async def start(self) -> None:
        """Start the server; after `stop` it comes back on the same port with the same content.

        Raises:
            RuntimeError: The program is not installed, or it ended or did not listen in time.
        """
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            message = "no registry program in PATH: run `sudo sh tools/install-servers.sh`"
            raise RuntimeError(message)
        config_file = self._write_config()
        self._process = await asyncio.create_subprocess_exec(
            *_dies_with_parent(),
            program,
            "serve",
            str(config_file),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={"PATH": os.defpath, "OTEL_TRACES_EXPORTER": "none"},
        )
        listening: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._log_reader = asyncio.create_task(self._read_log(listening))
        async with asyncio.timeout(START_DEADLINE_SECONDS):
            self._listen = await listening
        if self._session is None:
            self._session = aiohttp.ClientSession(timeout=REQUEST_TIMEOUT)

    async def stop(self) -> None:
        """Stop the server; what was pushed stays on disk. Safe to repeat: ended is ended."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(STOP_DEADLINE_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        if self._log_reader is not None:
            await self._log_reader
            self._log_reader = None

    async def close(self) -> None:
        """Stop the server and let go of the connections to it."""
        if self._session is not None:
            await self._session.close()
            self._session = None
        await self.stop()

    async def push(self, image: Image, name: str) -> PushedImage:
        """Push `image` under ``path:tag`` (or ``path`` alone: by digest, no tag is touched)."""
        path, _, tag = name.partition(":")
        for blob in image.blobs:
            await self._push_blob(path, blob)
        await self._push_manifest(path, image, tag or image.digest)
        return PushedImage(f"{self._listen}/{path}", tag, image.digest)

    async def tag(self, image: Image, name: str) -> PushedImage:
        """Move a tag to an image whose content is already there."""
        path, _, tag = name.partition(":")
        await self._push_manifest(path, image, tag)
        return PushedImage(f"{self._listen}/{path}", tag, image.digest)

    async def tags(self, path: str) -> list[str]:
        """The tags of one repository, sorted; empty when it is unknown."""
        async with self._client.get(f"{self.url}/v2/{path}/tags/list") as response:
            if response.status == 404:
                return []
            response.raise_for_status()
            document = await response.json()
        return sorted(document.get("tags") or [])

    async def digest(self, name: str) -> str | None:
        """The digest that ``path:tag`` points at; None when there is no such tag."""
        path, _, tag = name.partition(":")
        async with self._client.head(
            f"{self.url}/v2/{path}/manifests/{tag}", headers={"Accept": ACCEPT_MANIFESTS}
        ) as response:
            if response.status == 404:
                return None
            response.raise_for_status()
            return response.headers["Docker-Content-Digest"]

    async def delete(self, path: str, digest: str) -> None:
        """Delete a manifest with every tag that points at it."""
        async with self._client.delete(f"{self.url}/v2/{path}/manifests/{digest}") as response:
            response.raise_for_status()

    async def _push_blob(self, path: str, blob: Blob) -> None:
        blobs = f"{self.url}/v2/{path}/blobs"
        async with self._client.head(f"{blobs}/{blob.digest}") as response:
            if response.status == 200:
                return
        async with self._client.post(f"{blobs}/uploads/") as response:
            response.raise_for_status()
            location = response.headers["Location"]
        # The answer names the host it was asked by; only path and query are wanted.
        parts = urlsplit(location)
        query = f"{parts.query}&digest={blob.digest}" if parts.query else f"digest={blob.digest}"
        async with self._client.put(
            f"{self.url}{parts.path}?{query}",
            data=blob.content,
            headers={"Content-Type": "application/octet-stream"},
        ) as response:
            response.raise_for_status()

    async def _push_manifest(self, path: str, image: Image, target: str) -> None:
        async with self._client.put(
            f"{self.url}/v2/{path}/manifests/{target}",
            data=image.manifest.content,
            headers={"Content-Type": image.manifest.media_type},
        ) as response:
            if response.status != 201:
                message = f"push of {path}:{target}: {response.status} {await response.text()}"
                raise RuntimeError(message)

    @property
    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            message = "the registry is not running"
            raise RuntimeError(message)
        return self._session

    def _write_config(self) -> Path:
        self._directory.mkdir(parents=True, exist_ok=True)
        config_file = self._directory / "registry.json"
        # JSON is YAML, so the server's own configuration parser reads it.
        config_file.write_text(json.dumps(self._config()))
        return config_file

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self._directory / "content")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self._listen, "secret": "one process, one secret"},
        }
        if self._notifications is not None:
            config["notifications"] = {
                "endpoints": [
                    {
                        "name": "tests",
                        "url": self._notifications.url,
                        "headers": {
                            name: [value] for name, value in self._notifications.headers.items()
                        },
                        "timeout": "5s",
                        "threshold": 3,
                        "backoff": "1s",
                        "ignoredmediatypes": ["application/octet-stream"],
                    }
                ]
            }
        return config

    async def _read_log(self, listening: asyncio.Future[str]) -> None:
        process = self._process
        if process is None or process.stderr is None:
            return
        last = ""
        with self.log_file.open("ab") as log:
            async for line in process.stderr:
                log.write(line)
                last = line.decode(errors="replace")
                if not listening.done() and '"listening on ' in last:
                    said = str(json.loads(last)["msg"])
                    listening.set_result(said.removeprefix("listening on ").partition(",")[0])
        if not listening.done():
            listening.set_exception(RuntimeError(f"the registry ended at its start: {last}"))


def _dies_with_parent() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []


@contextlib.asynccontextmanager
async def run_registry(
    directory: Path, *, listen_host: str = "127.0.0.1", notifications: Notifications | None = None
) -> AsyncIterator[Registry]:
    """Run a registry on a free port of `listen_host`, its content under `directory`."""
    registry = Registry(directory=directory, listen=f"{listen_host}:0", notifications=notifications)
    try:
        await registry.start()
        yield registry
    finally:
        await registry.close()
