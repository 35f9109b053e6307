"""A real OCI registry (Debian's ``docker-registry``) for tests, and pushing images into it.

What is real: the server, its storage on disk, its answers and its error words. What is ours: a
client of a few requests that pushes the images of `tests.support.images`, so that no image tool
is needed.

`RegistryServer` is synchronous, for session fixtures and benchmarks; `run_registry` gives the same
in an asynchronous test, whose loop goes on while a request waits.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import http.client
import json
import re
import secrets
import shutil
import signal
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tests.support.processes import ServerProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from tests.support.images import Blob, Image

START_WITHIN = timedelta(seconds=20)
REQUEST_SECONDS = 20
PROGRAMS = ("docker-registry", "registry")
ACCEPT_MANIFESTS = (
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, "
    "application/vnd.docker.distribution.manifest.v2+json"
)
_LISTENING = re.compile(r'"msg":"listening on ([0-9.]+:[0-9]+)')


class RegistryError(Exception):
    """The registry is not there, or answered what it should not; the message holds its words."""


@dataclass(frozen=True, slots=True)
class PushedImage:
    """Where an image can be had after a push.

    Attributes:
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
    """Where the registry reports pushes: a URL and the static headers it sends along.

    Attributes:
        url: Address of the receiver.
        headers: Headers of each request.
        everything: Whether layers are reported too, which an operator usually leaves out.
    """

    url: str
    headers: Mapping[str, str]
    everything: bool = False


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class RegistryServer:
    """A registry in a process of its own; a context manager that starts and stops it.

    Attributes:
        directory: Where its content, configuration and log are.
        listen: ``address:port``; port 0 until it is started for the first time.
        notifications: Where it reports pushes, if anywhere.
        login: User and password that everybody must give (Basic); None for an open registry.
        auth: The part ``auth`` of its configuration, for another way to log in.
    """

    directory: Path
    listen: str = "127.0.0.1:0"
    notifications: Notifications | None = None
    login: tuple[str, str] | None = None
    auth: Mapping[str, object] | None = None
    _process: ServerProcess | None = field(default=None, init=False)

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def host(self) -> str:
        """``address:port``, the first part of every image reference here."""
        return self.listen

    @property
    def url(self) -> str:
        """Base URL; it speaks plain HTTP."""
        return f"http://{self.listen}"

    @property
    def log_file(self) -> Path:
        """Everything the server wrote, one JSON object a line."""
        return self.directory / "registry.log"

    def start(self) -> None:
        """Start the server; after `stop` it comes back on the same port with the same content.

        Call it from the main thread: the server is killed when the thread that started it ends.

        Raises:
            RegistryError: The program is not installed.
            ServerEndedError: It ended at its start.
            WaitTimeoutError: It did not listen in time.
        """
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            message = "no registry program in PATH: run `sudo sh tools/install-servers.sh`"
            raise RegistryError(message)
        self.directory.mkdir(parents=True, exist_ok=True)
        config_file = self.directory / "registry.json"
        # JSON is YAML, so the server's own configuration parser reads it.
        config_file.write_text(json.dumps(self._config()))
        begin = self.log_file.stat().st_size if self.log_file.exists() else 0
        command = [program, "serve", str(config_file)]
        process = ServerProcess.start("registry", command, self.log_file)
        self._process = process
        try:
            wait_until(
                lambda: self._heard(begin) is not None,
                what="the registry to listen",
                within=START_WITHIN,
                servers=(process,),
            )
        except BaseException:
            self.stop()
            raise
        self.listen = self._heard(begin) or self.listen

    def stop(self) -> None:
        """Stop the server; what was pushed stays on disk. Safe to repeat: ended is ended."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()

    def pause(self) -> None:
        """Let it hang, connections open: SIGSTOP."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on: SIGCONT."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.popen.send_signal(number)

    def push(self, image: Image, name: str) -> PushedImage:
        """Push `image` under ``path:tag`` (or ``path`` alone: by digest, no tag is touched)."""
        path, _, tag = name.partition(":")
        for blob in image.blobs:
            self._push_blob(path, blob)
        self._send(
            "PUT",
            f"/v2/{path}/manifests/{tag or image.digest}",
            {"Content-Type": image.manifest.media_type},
            image.manifest.content,
        )
        return PushedImage(f"{self.listen}/{path}", tag, image.digest)

    def tags(self, path: str) -> list[str]:
        """The tags of one repository, sorted; empty when it is unknown."""
        answer = self._send("GET", f"/v2/{path}/tags/list", missing=True)
        return [] if answer.status == 404 else sorted(json.loads(answer.body)["tags"] or [])

    def digest(self, name: str) -> str | None:
        """The digest that ``path:tag`` points at; None when there is no such tag."""
        path, _, tag = name.partition(":")
        url = f"/v2/{path}/manifests/{tag}"
        answer = self._send("HEAD", url, {"Accept": ACCEPT_MANIFESTS}, missing=True)
        return None if answer.status == 404 else answer.headers["docker-content-digest"]

    def manifest(self, name: str) -> bytes:
        """The manifest of ``path:tag`` or ``path@sha256:...``, byte for byte."""
        path, at, target = name.partition("@")
        if not at:
            path, _, target = name.partition(":")
        return self._send(
            "GET", f"/v2/{path}/manifests/{target}", {"Accept": ACCEPT_MANIFESTS}
        ).body

    def delete(self, path: str, digest: str) -> None:
        """Delete a manifest with every tag that points at it."""
        self._send("DELETE", f"/v2/{path}/manifests/{digest}")

    def mount(self, path: str, source: str, blob: Blob) -> int:
        """Mount a blob of another repository into ``path``; returns the status."""
        query = f"mount={blob.digest}&from={source}"
        return self._send("POST", f"/v2/{path}/blobs/uploads/?{query}").status

    def _push_blob(self, path: str, blob: Blob) -> None:
        blobs = f"/v2/{path}/blobs"
        if self._send("HEAD", f"{blobs}/{blob.digest}", missing=True).status == 200:
            return
        upload = urlsplit(self._send("POST", f"{blobs}/uploads/").headers["location"])
        query = f"{upload.query}&digest={blob.digest}".lstrip("&")
        content_type = {"Content-Type": "application/octet-stream"}
        self._send("PUT", f"{upload.path}?{query}", content_type, blob.content)

    def _send(
        self,
        verb: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        missing: bool = False,
    ) -> _Answer:
        """One request on a connection of its own; `missing` says that 404 is an answer."""
        with contextlib.closing(
            http.client.HTTPConnection(self.listen, timeout=REQUEST_SECONDS)
        ) as connection:
            connection.request(verb, path, body=body, headers={**(headers or {}), **self._pass()})
            response = connection.getresponse()
            lowered = {name.lower(): value for name, value in response.getheaders()}
            answer = _Answer(response.status, lowered, response.read())
        if answer.status >= 400 and not (missing and answer.status == 404):
            said = answer.body.decode(errors="replace")
            message = f"{verb} {path}: the registry answered {answer.status} {said}"
            raise RegistryError(message)
        return answer

    def _pass(self) -> dict[str, str]:
        """What the tests' own requests log in with."""
        if self.login is None:
            return {}
        pair = base64.b64encode(":".join(self.login).encode()).decode()
        return {"Authorization": f"Basic {pair}"}

    def _heard(self, begin: int) -> str | None:
        """Where it said it listens, in what it wrote since `begin`."""
        with self.log_file.open("rb") as log:
            log.seek(begin)
            found = _LISTENING.search(log.read().decode(errors="replace"))
        return found[1] if found else None

    def _config(self) -> dict[str, object]:
        config: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(self.directory / "content")},
                "delete": {"enabled": True},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.listen, "secret": secrets.token_hex(16)},
        }
        if self.notifications is not None:
            headers = {name: [value] for name, value in self.notifications.headers.items()}
            endpoint = {
                "name": "tests",
                "url": self.notifications.url,
                "headers": headers,
                "timeout": "5s",
                "threshold": 3,
                "backoff": "1s",
            }
            if not self.notifications.everything:
                endpoint["ignoredmediatypes"] = ["application/octet-stream"]
            config["notifications"] = {"endpoints": [endpoint]}
        if self.auth is not None:
            config["auth"] = self.auth
        if self.login is not None:
            users = self.directory / "htpasswd"
            users.write_text(f"{self.login[0]}:{_hash_password(self.login[1])}\n")
            config["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        return config


def _hash_password(password: str) -> str:
    """Hash a password with bcrypt, the only way that the registry knows; the C library does it."""
    library = ctypes.CDLL("libcrypt.so.1")
    library.crypt.restype = ctypes.c_char_p
    salt = f"$2b$04${secrets.token_hex(11)}"
    hashed = library.crypt(password.encode(), salt.encode())
    if not hashed or not hashed.startswith(b"$2b$"):
        raise RegistryError("the C library has no bcrypt")
    return str(hashed.decode())


class Registry:
    """The same for asynchronous tests; made by `run_registry`.

    Attributes:
        server: The registry itself.
    """

    def __init__(self, server: RegistryServer) -> None:
        self.server = server

    @property
    def host(self) -> str:
        """``address:port``, the first part of every image reference here."""
        return self.server.host

    @property
    def url(self) -> str:
        """Base URL; it speaks plain HTTP."""
        return self.server.url

    async def start(self) -> None:
        """Start it again on the same port, as after an outage."""
        self.server.start()

    async def stop(self) -> None:
        """Stop it, as in an outage; what was pushed stays."""
        self.server.stop()

    async def push(self, image: Image, name: str) -> PushedImage:
        """See `RegistryServer.push`."""
        return await asyncio.to_thread(self.server.push, image, name)

    async def tags(self, path: str) -> list[str]:
        """See `RegistryServer.tags`."""
        return await asyncio.to_thread(self.server.tags, path)

    async def digest(self, name: str) -> str | None:
        """See `RegistryServer.digest`."""
        return await asyncio.to_thread(self.server.digest, name)

    async def manifest(self, name: str) -> bytes:
        """See `RegistryServer.manifest`."""
        return await asyncio.to_thread(self.server.manifest, name)

    async def delete(self, path: str, digest: str) -> None:
        """See `RegistryServer.delete`."""
        await asyncio.to_thread(self.server.delete, path, digest)


@contextlib.asynccontextmanager
async def run_registry(
    directory: Path, *, listen_host: str = "127.0.0.1", notifications: Notifications | None = None
) -> AsyncIterator[Registry]:
    """Run a registry on a free port of `listen_host`, its content under `directory`."""
    with RegistryServer(directory, f"{listen_host}:0", notifications) as server:
        yield Registry(server)
