"""``gitopsd serve`` where the first admin token is given: nothing is made, nothing is shown."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.service_process import Site

FILE = "GITOPSD_FIRST_TOKEN_FILE"


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """An installation, taken down at the end."""
    site = Site.make(tmp_path)
    yield site
    site.stop_all()


async def may(api: str, token: str) -> int:
    """Ask for what only an admin may see."""
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{api}/api/v1/tokens") as answer,
    ):
        return answer.status


async def test_it_is_never_printed_and_a_restart_keeps_it(site: Site) -> None:
    """Nothing lies beside the database, the log names the place only, and the CLI finds it."""
    token, file = secrets.token_hex(32), site.directory / "first"
    file.write_text(f"{token}\n")
    settings = {FILE: str(file)}
    statuses, listed = [], []
    for _ in range(2):
        info = await asyncio.to_thread(site.start, "serve", **settings)
        statuses.append(await may(info["api"], token))
        ran = await asyncio.to_thread(site.run, "token", "list", "-o", "json", environment=settings)
        listed.append([one["subject"] for one in json.loads(ran.stdout)["items"]])
        await asyncio.to_thread(site.stop)
    log = site.log().read_text()

    assert statuses == [200, 200]
    assert listed == [["admin"], ["admin"]]
    assert log.count(f"The first admin token is the one in {file}") == 1
    assert token not in log
    assert not (site.directory / "data" / "admin.token").exists()


async def test_its_hash_is_enough(site: Site) -> None:
    """What the file holds lets nobody in, and the command line says so."""
    token, file = secrets.token_hex(32), site.directory / "first"
    hashed = "sha256:" + hashlib.sha256(token.encode()).hexdigest()
    file.write_text(hashed)
    info = await asyncio.to_thread(site.start, "serve", **{FILE: str(file)})
    statuses = [await may(info["api"], word) for word in (token, hashed)]
    ran = await asyncio.to_thread(site.run, "get", environment={FILE: str(file)})

    assert statuses == [200, 401]
    assert ran.returncode == 2
    assert "holds only the hash of the first admin token; set GITOPSD_TOKEN" in ran.stderr


async def test_all_replicas_know_the_same_one(site: Site, postgres_url: str) -> None:
    """Whichever came up first: with parts, no token lies in one pod's directory."""
    token, file = secrets.token_hex(32), site.directory / "first"
    file.write_text(token)
    settings = {FILE: str(file), "GITOPSD_DATABASE_URL": postgres_url}
    fronts = await asyncio.gather(
        *(
            asyncio.to_thread(site.start, "serve", "--no-worker", data=data, **settings)
            for data in ("one", "two")
        )
    )

    assert [await may(front["api"], token) for front in fronts] == [200, 200]
    assert [list(site.directory.glob(f"{data}/admin.token")) for data in ("one", "two")] == [[], []]


@pytest.mark.parametrize("content", [None, "changeme", ""])
def test_a_file_that_cannot_be_used_stops_the_start(site: Site, content: str | None) -> None:
    """Exit code 2 and the file; rather no service than one that anybody may command."""
    file = site.directory / "first"
    if content is not None:
        file.write_text(content)
    ran = site.run("serve", environment={FILE: str(file)})

    assert ran.returncode == 2
    assert str(file) in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (site.directory / "data" / "admin.token").exists()
