"""A disk that is full: nothing is acknowledged that is not kept, and it is said what to do."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Iterator
from datetime import timedelta
from http import HTTPStatus
from pathlib import Path

import aiohttp
import pytest

from tests.support.deliveries import sign
from tests.support.demo_runs import run_demo, run_demo_to_its_end
from tests.support.processes import wait_until
from tests.support.repositories import MAIN
from tests.support.service_process import SECRET, Site
from tests.support.small_disk import SmallDisk, make_small_disk

BODY_BYTES = 20_000


@pytest.fixture(name="disk")
def make_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Sixteen megabytes."""
    directory = tmp_path / "disk"
    directory.mkdir()
    with make_small_disk(directory, 16) as disk:
        yield disk


@pytest.fixture(name="site")
def make_site(tmp_path: Path, disk: SmallDisk) -> Iterator[Site]:
    """An installation whose data directory is on the small disk."""
    site = Site.make(tmp_path)
    site.prefix = disk.prefix
    yield site
    site.stop_all()


async def deliver(site: Site, api: str, number: int) -> int:
    """Send the signed webhook of a push of some size; returns the answer's status."""
    after = f"{number:040x}"
    described = {"clone_url": str(site.repository.path), "full_name": "shop"}
    content = {"ref": MAIN, "before": "0" * 40, "after": after, "repository": described}
    body = json.dumps({**content, "padding": "x" * BODY_BYTES}).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "push",
        "X-GitHub-Delivery": after,
        "X-Hub-Signature-256": sign(SECRET.encode(), body),
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{api}/hooks/github", data=body, headers=headers) as answer,
    ):
        return answer.status


async def count_deliveries(api: str, disk: SmallDisk) -> int:
    """Count what is stored, as the API tells it."""
    token = (disk.seen_from_here / "data" / "admin.token").read_text().strip()
    async with (
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}) as session,
        session.get(f"{api}/api/v1/deliveries?limit=200") as answer,
    ):
        return len((await answer.json())["items"])


async def test_a_full_disk_refuses_deliveries_until_there_is_room(
    site: Site, disk: SmallDisk
) -> None:
    """A delivery is answered 202 and kept, or 503 and not; with room it goes on by itself."""
    started = await asyncio.to_thread(site.start, "serve", GITOPSD_DATA_DIR=str(disk.path / "data"))
    api = str(started["api"])
    assert await deliver(site, api, 1) == HTTPStatus.ACCEPTED

    disk.fill()
    # What the database has reserved already may take a few more.
    answers = [await deliver(site, api, number) for number in range(2, 30)]
    kept = answers.count(HTTPStatus.ACCEPTED)
    assert set(answers) <= {HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE}
    assert answers[-1] == HTTPStatus.SERVICE_UNAVAILABLE
    async with aiohttp.ClientSession() as session, session.get(f"{api}/health/live") as answer:
        assert answer.status == HTTPStatus.OK

    disk.make_room()
    assert await deliver(site, api, 100) == HTTPStatus.ACCEPTED
    assert await count_deliveries(api, disk) == 1 + kept + 1
    assert await asyncio.to_thread(site.stop) == 0
    assert "Traceback" not in site.log().read_text()


@pytest.mark.parametrize("free", [0, 40_000])
def test_a_service_that_starts_on_a_full_disk_says_so(
    site: Site, disk: SmallDisk, free: int
) -> None:
    """It ends at once and says what is full, when it cannot begin and when it cannot go on."""
    data = disk.path / "data"
    (disk.seen_from_here / "data").mkdir(mode=0o700)
    disk.fill(free)
    done = site.run("serve", environment={"GITOPSD_DATA_DIR": str(data)})

    assert done.returncode == 2
    assert str(data) in done.stderr
    assert "Make room" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.timeout(120)
def test_a_demo_on_a_full_disk_says_so_at_once(tmp_path: Path) -> None:
    """It starts nothing, and names the variable that chooses another disk."""
    directory = tmp_path / "tmp"
    directory.mkdir()
    with make_small_disk(directory, 64) as disk:
        done = run_demo_to_its_end(
            "--headless", "--json", environment={"TMPDIR": str(directory)}, prefix=disk.prefix
        )
    last = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, last["ok"]) == (1, False)
    assert f"{directory} has 64 MiB free" in done.stderr
    assert "export TMPDIR=/var/tmp" in done.stderr


@pytest.mark.timeout(120)
def test_a_demo_whose_disk_fills_up_says_so_at_once() -> None:
    """A disk that fills while a scenario plays ends it as not ok, within seconds."""
    with (
        tempfile.TemporaryDirectory(prefix="d-") as name,
        make_small_disk(Path(name), 256) as disk,
        run_demo("--headless", "--json", prefix=disk.prefix, TMPDIR=name) as demo,
    ):
        wait_until(
            lambda: "git push" in demo.said,
            what="a scenario to play",
            within=timedelta(seconds=60),
            servers=[demo.process],
        )
        disk.fill()
        code, last = demo.wait(timedelta(seconds=30))
        assert (code, last["ok"]) == (1, False)
        assert "gitopsd demo: good-release: the disk of " in demo.said
        assert "export TMPDIR=/var/tmp" in demo.said
