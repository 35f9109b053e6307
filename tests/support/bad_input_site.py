"""A service that is fed with bad input, beside an application that must not notice.

Each hostile row has an application of its own, which follows a branch of its own, so that rows do
not wait for each other. The application beside them is the site's, of ConfigMaps alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import itertools
import json
import re
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp

from benchmarks.memory import read_tree
from gitopsd.domain.releases import ApplicationName, StageKey, StageName
from gitopsd.domain.runs import Phase, Run
from gitopsd.domain.sources import RepoURL
from gitopsd.domain.work import Page
from gitopsd.sandbox.hosts.push_hooks import ZERO
from tests.support.repositories import MAIN, Content, Files
from tests.support.service_site import (
    PRODUCTION,
    REPOSITORY,
    STAGING,
    ServiceSite,
    config_map,
    run_site,
)

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

ROWS_REPOSITORY = "rows-deploy.git"
HEALED_WITHIN = timedelta(seconds=2)
_ENDED = (Phase.SUCCEEDED, Phase.FAILED, Phase.ERRORED, Phase.ABORTED)
_PEAK = re.compile(r"^VmHWM:\s+(\d+) kB$", re.MULTILINE)
_WEIGHED_EVERY_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Replied:
    """What a receiver answered.

    Attributes:
        status: HTTP status.
        guid: The delivery's key, as GitHub names it.
    """

    status: int
    guid: str


@dataclass
class BadInputSite:
    """The service under bad input.

    Attributes:
        site: The installation.
        rows: Names of the rows; each has an application.
        rest_megabytes: What the service's processes held before anything bad came.
        most_megabytes: The most that its processes were seen to hold at once since `forget_peaks`.
    """

    site: ServiceSite
    rows: Sequence[str]
    rest_megabytes: float = 0.0
    most_megabytes: float = 0.0
    _value: str = ""
    _weighed: float = 0.0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    # -- what is pushed

    async def push_good(self, *, ring: bool = True) -> str:
        """Push something new to the good application; returns what its ConfigMap is to hold."""
        self._value = f"value-{next(self._numbers)}"
        await self.site.push(self._value, config_map("settings", value=self._value), ring=ring)
        return self._value

    async def release_good(self) -> None:
        """Push something new to the good application and wait until it is in production."""
        await self.until_live(await self.push_good())

    async def push_beside(self, files: Files) -> str:
        """Push files to the good repository without changing what its overlays read."""
        manifest = config_map("settings", value=self._value)
        return await self.site.push("beside", manifest, beside=files)

    async def head(self) -> str:
        """Tell where the good repository's branch points."""
        return str(self.site.host.create(REPOSITORY).head(MAIN))

    async def until_looked_at(self, sha: str) -> None:
        """Wait until the service has seen a commit of the good repository."""
        repo, ref = RepoURL(self.site.host.address(REPOSITORY)), MAIN

        async def looked_at() -> bool:
            self._glance()
            state = await self.site.read(lambda tx: tx.refs.get(repo, ref))
            return state is not None and state.head == sha

        await self.site.until(looked_at, f"{sha} is looked at")

    async def until_live(self, value: str) -> None:
        """Wait until the good application is released to production with a value."""

        def there() -> bool:
            self._glance()
            held = self.site.live(PRODUCTION).get("configmaps/settings", {}).get("data", {})
            return bool(held.get("value") == value)

        await self.site.until(there, f"{value} in production")

    async def push_row(self, name: str, files: Files) -> None:
        """Push a hostile repository to the branch of its row."""
        ref = f"refs/heads/{_slug(self.rows, name)}"
        repository = self.site.host.create(ROWS_REPOSITORY)
        sha = await asyncio.to_thread(repository.commit, files, ref=ref, parent=None)
        assert await self.site.host.send_push(ROWS_REPOSITORY, ref, ZERO, sha) == 202

    async def until_row_ended(self, name: str, within: timedelta) -> tuple[Run, float]:
        """Wait until a row's only run ended; returns it with the seconds that took."""
        application = ApplicationName(f"{_slug(self.rows, name)}-{self.site.suffix}")
        key = StageKey(application, StageName("only"))
        started = time.monotonic()
        found: list[Run] = []

        async def ended() -> bool:
            self._glance()
            found[:] = await self.site.read(lambda tx: tx.runs.page(Page(2), stage=key))
            return bool(found) and found[0].phase in _ENDED

        await self.site.until(ended, f"the run of {name!r} ended", within)
        assert len(found) == 1
        return found[0], time.monotonic() - started

    # -- what is sent to receivers

    async def send(
        self,
        body: bytes,
        *,
        event: str = "push",
        receiver: str = "github",
        signature: Callable[[bytes], str | None] | None = None,
        headers: Mapping[str, str] | None = None,
        guid: str = "",
    ) -> Replied:
        """Send one delivery, signed unless said otherwise; waits while there are too many."""
        guid = guid or str(uuid.uuid4())
        signed = self.sign(body) if signature is None else signature(body)
        sent = {"Content-Type": "application/json", "X-GitHub-Delivery": guid}
        if event:
            sent["X-GitHub-Event"] = event
        if signed is not None:
            sent["X-Hub-Signature-256"] = signed
        sent |= headers or {}
        status = 429
        async with aiohttp.ClientSession() as session:

            async def answered() -> bool:
                nonlocal status
                url = f"{self.site.addresses['api']}/hooks/{receiver}"
                async with session.post(url, data=io.BytesIO(body), headers=sent) as answer:
                    status = answer.status
                return status != 429

            await self.site.until(answered, "a place among the requests")
        self.weigh()
        return Replied(status, guid)

    async def send_large(self, size: int, *, chunked: bool) -> int:
        """Send zeros that nobody asked for until there is an answer; returns its status."""
        parts = urlsplit(self.site.addresses["api"])
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        length = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {size}"
        writer.write(f"POST /hooks/github HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
        try:
            for _ in range(size // 0x10000 if chunked else 0):
                writer.write(chunk)
                await writer.drain()
            return int((await reader.readline()).split()[1])
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    def sign(self, body: bytes) -> str:
        """Sign as GitHub does."""
        return sign(self.site.secret, body)

    async def deliveries(self) -> dict[str, dict[str, Any]]:
        """List what is stored, by id, from the API."""
        found: dict[str, dict[str, Any]] = {}
        cursor = ""
        while True:
            path = f"/api/v1/deliveries?limit=100{cursor}"
            page = await self.site.call("GET", path)
            for item in page["items"]:
                found[item["id"]] = item
            if not page["next"]:
                return found
            cursor = f"&before={page['next']}"

    async def refused(self) -> int:
        """Read how many deliveries were refused for their signature."""
        return int((await self.site.call("GET", "/api/v1/deliveries"))["refused"].get("github", 0))

    async def until_worked_on(self, before: Mapping[str, object]) -> list[dict[str, Any]]:
        """Wait until all that came since is Done or DeadLettered; returns it as the API does."""
        found: list[dict[str, Any]] = []

        async def worked_on() -> bool:
            self._glance()
            stored = await self.deliveries()
            found[:] = [item for name, item in stored.items() if name not in before]
            return all(item["state"] != "Stored" for item in found)

        await self.site.until(worked_on, "the deliveries are worked on")
        return found

    # -- what is seen

    async def health(self) -> dict[str, Any]:
        """Ask ``/health``."""
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.site.addresses['api']}/health") as answer,
        ):
            found: dict[str, Any] = await answer.json()
            return found

    async def until_configuration(self, *, wrong: bool) -> list[dict[str, str]]:
        """Wait until the API says that something, or nothing, is wrong in the folder; says what."""
        said: list[dict[str, str]] = []

        async def told() -> bool:
            self._glance()
            said[:] = (await self.site.call("GET", "/api/v1/configuration"))["problems"]
            return bool(said) == wrong

        within = timedelta(seconds=10) if wrong else HEALED_WITHIN
        await self.site.until(told, f"the configuration is wrong: {wrong}", within)
        return said

    async def check_config(self) -> tuple[int, str]:
        """Run ``gitopsd check-config``; returns its exit code and what it printed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gitopsd", "check-config"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=self.site.environment,
        )
        printed, _ = await process.communicate()
        return process.returncode or 0, printed.decode()

    def log(self) -> str:
        """Read what the service logged."""
        return (self.site.directory / "gitopsd.log").read_text()

    def log_since(self, offset: int) -> list[dict[str, Any]]:
        """Read what the service logged after so many characters."""
        return [json.loads(line) for line in self.log()[offset:].splitlines()]

    def weigh(self) -> float:
        """Weigh the service's whole process tree, in MB of PSS; fails when the service ended."""
        service = self.site.service
        assert service is not None
        service.check()
        megabytes = sum(process.kilobytes for process in read_tree(service.pid)) / 1024
        self.most_megabytes = max(self.most_megabytes, megabytes)
        self._weighed = time.monotonic()
        return megabytes

    def _glance(self) -> None:
        """Weigh at every second or third look: each weighing walks all pages of each process."""
        if time.monotonic() >= self._weighed + _WEIGHED_EVERY_SECONDS:
            self.weigh()

    def forget_peaks(self) -> None:
        """Begin anew with the most that is held."""
        self.most_megabytes = 0.0
        (self._process / "clear_refs").write_text("5")  # proc(5): resets the peak resident size

    def peak_megabytes(self) -> float:
        """Tell the most that the service itself held, by the kernel's book."""
        found = _PEAK.search((self._process / "status").read_text())
        assert found is not None
        return int(found[1]) / 1024

    @property
    def _process(self) -> Path:
        service = self.site.service
        assert service is not None
        return Path(f"/proc/{service.pid}")


def sign(secret: str, body: bytes) -> str:
    """Sign a body as GitHub does."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _slug(rows: Sequence[str], name: str) -> str:
    return f"row-{rows.index(name)}"


@asynccontextmanager
async def run_bad_input_site(
    cluster: ControlPlane, registry: RegistryServer, directory: Path, rows: Sequence[str]
) -> AsyncIterator[BadInputSite]:
    """Run the service with an application for each row and a good one, already released once."""
    async with run_site(cluster, registry, directory, start=False) as site:
        site.host.create(ROWS_REPOSITORY)
        applications = directory / "config" / "applications"
        (applications / "shop.yaml").write_text(_describe_good(site))
        for name in rows:
            slug = _slug(rows, name)
            (applications / f"{slug}.yaml").write_text(_describe_row(site, slug))
        site.start()
        await site.ready()
        yard = BadInputSite(site, rows)
        await yard.release_good()
        yard.rest_megabytes = yard.weigh()
        yield yard


def _describe_good(site: ServiceSite) -> str:
    stages = "".join(
        f"    - {{name: {stage}, cluster: one, path: overlays/{stage}, after: {json.dumps(after)}, "
        f"namespace: {site.namespaces[stage]}}}\n"
        for stage, after in ((STAGING, []), (PRODUCTION, [STAGING]))
    )
    return (
        f"apiVersion: gitopsd.io/v1\nkind: Application\nmetadata: {{name: {site.application}}}\n"
        f"spec:\n  source: {{repoURL: {site.host.address(REPOSITORY)}, branch: main}}\n"
        f"  stages:\n{stages}"
    )


def _describe_row(site: ServiceSite, slug: str) -> str:
    return (
        f"apiVersion: gitopsd.io/v1\nkind: Application\nmetadata: {{name: {slug}-{site.suffix}}}\n"
        f"spec:\n  source: {{repoURL: {site.host.address(ROWS_REPOSITORY)}, branch: {slug}}}\n"
        "  stages:\n    - {name: only, cluster: one, path: overlay, "
        f"namespace: {site.namespaces[STAGING]}}}\n"
    )


def aim_at(files: Files, old: str, new: str) -> dict[str, Content]:
    """Replace an address in the files of a row."""
    return {
        path: content.replace(old, new) if isinstance(content, str) else content
        for path, content in files.items()
    }
