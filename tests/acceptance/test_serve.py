"""``gitopsd serve`` as people run it: start, first token, parts, a second process, its end."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from gitopsd import __version__
from tests.support.deliveries import sign
from tests.support.http_world import Document
from tests.support.processes import wait_until
from tests.support.redis import run_redis
from tests.support.repositories import MAIN
from tests.support.service_process import SECRET, Site

if TYPE_CHECKING:
    from gitopsd.domain.sources import CommitSha

BROKEN = {"overlays/staging/kustomization.yaml": "resources: [missing.yaml]\n"}


@pytest.fixture(name="site")
def make_site(tmp_path: Path) -> Iterator[Site]:
    """An installation, taken down at the end."""
    site = Site.make(tmp_path)
    yield site
    site.stop_all()


async def push(site: Site, api: str, after: CommitSha) -> int:
    """Send the signed webhook of a push."""
    body = json.dumps(
        {
            "ref": MAIN,
            "before": "0" * 40,
            "after": after,
            "repository": {"clone_url": str(site.repository.path), "full_name": "shop"},
        }
    ).encode()
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


async def ask(site: Site, api: str, path: str, data: str = "data") -> Document:
    """Read a resource with the first admin token."""
    token = (site.directory / data / "admin.token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{api}/api/v1{path}") as answer,
    ):
        assert answer.status == 200, await answer.text()
        return await answer.json()


def test_the_first_start_makes_a_token_and_says_where(site: Site) -> None:
    """Readable by its owner alone, told once, used by the command line without any flag."""
    info = site.start("serve")
    token = site.directory / "data" / "admin.token"
    first_log = site.log().read_text()
    listed = site.run("get", "stages", "-o", "json")
    code = site.stop()
    site.start("serve")
    whole_log = site.log().read_text()

    assert info["pid"]
    assert info["version"] == __version__
    assert info["dataDir"] == str(site.directory / "data")
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert f"A first admin token is in {token}" in first_log
    assert token.read_text().strip() not in whole_log
    assert whole_log.count("first admin token") == 1
    assert json.loads(listed.stdout)["items"][0]["name"] == "staging", listed.stderr
    assert code == 0


def test_a_second_process_on_the_data_directory_names_the_first(site: Site) -> None:
    """Exit code 2 and the pid; the first goes on."""
    info = site.start("serve")
    second = site.run("serve")
    migrate = site.run("migrate")
    listed = site.run("get")

    assert second.returncode == migrate.returncode == 2
    assert f"process {info['pid']} on" in second.stderr
    assert listed.returncode == 0


def test_a_killed_process_leaves_the_directory_to_the_next(site: Site) -> None:
    """SIGKILL gives the lock back; the next one serves within seconds."""
    first = site.start("serve")
    site.kill()
    began = time.monotonic()
    second = site.start("serve")
    took = time.monotonic() - began

    assert second["pid"] != first["pid"]
    assert took < 15


async def test_sigterm_ends_gracefully_with_those_who_wait_answered(site: Site) -> None:
    """A long poll gets its answer, the process ends with 0, and says that it is gone."""
    info = await asyncio.to_thread(site.start, "serve")
    waiting = asyncio.create_task(ask(site, info["api"], f"/commits/{'a' * 40}?wait=60"))
    while not (await ask(site, info["api"], "/tokens"))["items"][0]["lastUsedAt"]:
        pass
    began = time.monotonic()
    code = await asyncio.to_thread(site.stop)
    took = time.monotonic() - began
    answer = await waiting

    assert code == 0
    assert took < 15
    assert answer["stages"][0]["state"] == "NotSeen"
    assert not (site.directory / "data" / "info.json").exists()
    gone = site.run("get")
    assert gone.returncode == 2
    assert "start one here: gitopsd serve" in gone.stderr


async def test_a_push_that_cannot_be_rendered_is_answered_from_end_to_end(site: Site) -> None:
    """Signed webhook in, verdict out, through the process's own doors alone."""
    info = await asyncio.to_thread(site.start, "serve")
    sha = site.repository.commit(BROKEN)
    waiting = asyncio.create_task(
        ask(site, info["api"], f"/commits/{sha}?application=shop&stage=staging&wait=30")
    )
    status = await push(site, info["api"], sha)
    answer = (await waiting)["stages"][0]
    waited = await asyncio.to_thread(site.run, "wait", sha, "--stage", "staging")

    assert status == 202
    assert answer["state"] == "Failed"
    assert answer["reason"].startswith("overlays/staging/kustomization.yaml:1")
    assert waited.returncode == 1
    story = [
        json.loads(line) for line in site.log().read_text().splitlines() if line.startswith("{")
    ]
    told = {line["trigger"]: line for line in story if line.get("application") == "shop"}
    assert told["on-release-created"]["level"] == "info"
    assert told["on-run-started"]["stage"] == "staging"


async def test_health_metrics_and_version_are_open_and_nothing_else(site: Site) -> None:
    """Probes need no token; the metrics have a port of their own."""
    info = await asyncio.to_thread(site.start, "serve")
    await ask(site, info["api"], "/applications")
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{info['api']}/health") as answer:
            health = await answer.json()
        async with session.get(f"{info['api']}/api/v1/applications") as answer:
            closed = answer.status
        async with session.get(info["metrics"]) as answer:
            metrics = await answer.text()

    assert health["status"] in ("pass", "warn")
    assert closed == 401
    assert 'gitopsd_app_info{application="shop"' in metrics


def test_a_receiver_without_its_secret_stops_the_start(site: Site) -> None:
    """Better no service than one that takes unsigned deliveries, or none, in silence."""
    (site.directory / "secret").unlink()
    ran = site.run("serve")

    assert ran.returncode == 2
    assert "receivers/github.yaml" in ran.stderr
    assert "secret" in ran.stderr


def test_no_renderer_stops_the_start(site: Site) -> None:
    """A worker without kustomize could do nothing; the sentence names the setting."""
    ran = site.run("serve", environment={"GITOPSD_RENDERER": "/nowhere/kustomize"})

    assert ran.returncode == 2
    assert "/nowhere/kustomize does not exist" in ran.stderr
    assert "GITOPSD_RENDERER" in ran.stderr
    assert not (site.directory / "data").exists()


@pytest.mark.parametrize("part", [("serve", "--no-worker"), ("worker",)])
def test_parts_need_a_database_to_share(site: Site, part: tuple[str, ...]) -> None:
    """SQLite belongs to one process; the sentence says what to set."""
    ran = site.run(*part)

    assert ran.returncode == 2
    assert "set GITOPSD_DATABASE_URL, or run gitopsd serve alone" in ran.stderr


def test_an_address_that_is_taken_stops_the_start(site: Site) -> None:
    """The sentence names the address, and the directory is free again."""
    info = site.start("serve")
    taken = info["api"].removeprefix("http://")
    ran = site.run("serve", data="other", environment={"GITOPSD_LISTEN": taken})

    assert ran.returncode == 2
    assert f"cannot listen on {taken}" in ran.stderr


async def test_the_parts_work_together_on_postgresql_and_redis(
    site: Site, postgres_url: str
) -> None:
    """One process takes the delivery, another works, a third one's long poll is answered at once.

    The polls of the waiting process are a second apart; the ring comes over Redis.
    """
    with run_redis() as redis:
        shared = {
            "GITOPSD_DATABASE_URL": postgres_url,
            "GITOPSD_REDIS_URL": redis.url,
        }
        front = await asyncio.to_thread(site.start, "serve", "--no-worker", data="front", **shared)
        back = await asyncio.to_thread(site.start, "worker", data="back", **shared)
        await until_configured(site, front["api"])
        sha = site.repository.commit(BROKEN)
        waiting = asyncio.create_task(
            ask(site, front["api"], f"/commits/{sha}?stage=staging&wait=30", data="front")
        )
        status = await push(site, front["api"], sha)
        answer = (await waiting)["stages"][0]
        codes = [await asyncio.to_thread(site.stop, part) for part in ("front", "back")]

    assert back["api"] == ""
    assert back["metrics"]
    assert not (site.directory / "back" / "admin.token").exists()
    assert status == 202
    assert answer["state"] == "Failed"
    assert codes == [0, 0]


async def until_configured(site: Site, api: str) -> None:
    """Wait until the worker has stored the application."""
    async with asyncio.timeout(20):
        while not (await ask(site, api, "/applications", data="front"))["items"]:
            pass


def test_migrate_makes_a_database_that_serve_finds(site: Site) -> None:
    """Safe to repeat, before the first start and after it."""
    before = [site.run("migrate").returncode for _ in range(2)]
    site.start("serve")
    site.stop()
    after = site.run("migrate")

    assert before == [0, 0]
    assert (after.returncode, after.stdout) == (0, "The database is up to date.\n")


def test_the_configuration_is_read_again_while_it_runs(site: Site) -> None:
    """A changed file counts without a restart; a broken one is told and changes nothing."""
    site.start("serve")
    file = site.directory / "config" / "applications" / "shop.yaml"
    good = file.read_text()
    file.write_text(good.replace("name: staging", "name: testing"))
    wait_until(
        lambda: "testing" in site.run("get", "stages").stdout,
        what="the new stage",
        within=timedelta(seconds=20),
    )
    file.write_text(good.replace("namespace: shop", "namespaze: shop"))
    wait_until(
        lambda: "namespaze" in site.run("get", "applications", "shop", "-o", "json").stdout,
        what="the problem",
        within=timedelta(seconds=20),
    )
    listed = json.loads(site.run("get", "stages", "-o", "json").stdout)["items"]
    told = len(site.log().read_text())
    file.write_text(good)
    wait_until(
        lambda: "all of it is in force" in site.log().read_text()[told:],
        what="the end of the problem",
        within=timedelta(seconds=20),
    )

    assert [row["name"] for row in listed if not row["retiredAt"]] == ["testing"]
    assert "configuration file is not used" in site.log().read_text()
