"""What the sandbox's registry answers and reports beyond the contract of the port."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import aiohttp
import pytest

from gitopsd.domain.sources import ImagePush, ImagePushes
from gitopsd.webhooks.distribution import parse_event
from tests.support.delivery_box import run_delivery_box
from tests.support.host_processes import run_host_process
from tests.support.images import Image, build_image
from tests.support.registry import RegistryServer

IMAGE = build_image(version="1", behaviour={})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RegistryServer]:
    """The registry, as its pushers see it."""
    arguments = ("--receiver-file", str(tmp_path / "receiver.json"))
    with run_host_process("image_registry", tmp_path, *arguments) as url:
        yield RegistryServer(tmp_path, url.partition("://")[2])


@pytest.fixture
async def session(server: RegistryServer) -> AsyncIterator[aiohttp.ClientSession]:
    """A client of its API."""
    async with aiohttp.ClientSession(server.url) as client:
        yield client


async def put(server: RegistryServer, image: Image, name: str) -> None:
    """Push an image."""
    await asyncio.to_thread(server.push, image, name)


async def test_a_push_under_a_tag_is_reported_until_it_is_taken(
    tmp_path: Path, server: RegistryServer
) -> None:
    """A receiver with the registry's header gets the event again until it takes it."""
    async with run_delivery_box() as box:
        box.answers = [202] * 2 + [503] * 4
        box.write_file(tmp_path, "a secret")
        await put(server, IMAGE, "acme/web:1")
        got = [await box.next() for _ in range(2 + 4 + 1)]
    assert {one.headers["authorization"] for one in got} == {"Bearer a secret"}
    assert got[-1].headers["content-type"] == "application/vnd.docker.distribution.events.v1+json"
    assert len({one.document["events"][0]["id"] for one in got[2:]}) == 1
    wanted = ImagePush(f"{server.host}/acme/web", "1", IMAGE.digest)
    assert parse_event(got[-1].headers, got[-1].body) == ImagePushes((wanted,))


async def test_mounts_and_deletions_are_reported_as_such(
    tmp_path: Path, server: RegistryServer
) -> None:
    """A blob that is mounted and a manifest that is deleted are no pushes."""
    await put(server, IMAGE, "acme/web:1")
    async with run_delivery_box() as box:
        box.write_file(tmp_path, "a secret")
        await asyncio.to_thread(server.mount, "acme/other", "acme/web", IMAGE.blobs[0])
        await asyncio.to_thread(server.delete, "acme/web", IMAGE.digest)
        told = {}
        while "delete" not in told:
            event = (await box.next()).document["events"][0]
            told[event["action"]] = event["target"]["repository"]
    assert (told["mount"], told["delete"]) == ("acme/other", "acme/web")


async def test_a_blob_comes_in_chunks(session: aiohttp.ClientSession) -> None:
    """Chunks make a blob, one out of order is refused, and a wrong digest too."""
    whole = b"0123456789"
    digest = f"sha256:{hashlib.sha256(whole).hexdigest()}"
    begun = await session.post("/v2/acme/web/blobs/uploads/")
    place = begun.headers["Location"]
    first = await session.patch(place, data=whole[:4], headers={"Content-Range": "0-3"})
    assert (first.status, first.headers["Range"]) == (202, "0-3")
    gap = await session.patch(place, data=whole[6:], headers={"Content-Range": "6-9"})
    assert gap.status == 416
    told = await session.get(place)
    assert (told.status, told.headers["Range"]) == (204, "0-3")
    wrong = await session.put(f"{place}?digest=sha256:{'0' * 64}")
    assert (wrong.status, await error_of(wrong)) == (400, "DIGEST_INVALID")
    last = await session.put(
        f"{place}?digest={digest}", data=whole[4:], headers={"Content-Range": "4-9"}
    )
    assert last.status == 201
    read = await session.get(last.headers["Location"])
    assert await read.read() == whole


async def test_a_blob_comes_in_one_request(session: aiohttp.ClientSession) -> None:
    """A digest beside the first request makes a blob at once."""
    digest = f"sha256:{hashlib.sha256(b'it').hexdigest()}"
    answer = await session.post(f"/v2/acme/web/blobs/uploads/?digest={digest}", data=b"it")
    assert (answer.status, answer.headers["Docker-Content-Digest"]) == (201, digest)


async def test_lists_come_by_pages(server: RegistryServer, session: aiohttp.ClientSession) -> None:
    """Tags and repositories are sorted, bounded by n, and followed by a link."""
    for tag in ("1", "2", "3"):
        await put(server, IMAGE, f"acme/web:{tag}")
    await put(server, IMAGE, "acme/api:1")
    first = await session.get("/v2/acme/web/tags/list?n=2")
    assert (await first.json())["tags"] == ["1", "2"]
    rest = await session.get(first.links["next"]["url"])
    assert (await rest.json())["tags"] == ["3"]
    assert "next" not in rest.links
    all_of_them = await session.get("/v2/_catalog")
    assert (await all_of_them.json())["repositories"] == ["acme/api", "acme/web"]


async def test_a_manifest_of_missing_blobs_is_refused(session: aiohttp.ClientSession) -> None:
    """A manifest that names what was not pushed is refused."""
    answer = await session.put(
        "/v2/acme/web/manifests/1",
        data=IMAGE.manifest.content,
        headers={"Content-Type": IMAGE.manifest.media_type},
    )
    assert (answer.status, await error_of(answer)) == (404, "MANIFEST_BLOB_UNKNOWN")


async def test_what_is_not_there_is_said_in_the_registrys_words(
    session: aiohttp.ClientSession,
) -> None:
    """Each missing thing has its own code, and the base answers."""
    paths = {
        "manifests/1": "MANIFEST_UNKNOWN",
        f"blobs/sha256:{'0' * 64}": "BLOB_UNKNOWN",
        "blobs/uploads/no": "BLOB_UPLOAD_UNKNOWN",
        "tags/list": "NAME_UNKNOWN",
    }
    for path, code in paths.items():
        answer = await session.get(f"/v2/acme/web/{path}")
        assert (answer.status, await error_of(answer)) == (404, code)
    assert (await session.get("/v2/")).status == 200


async def error_of(answer: aiohttp.ClientResponse) -> str:
    """Read the code of a refusal."""
    return str((await answer.json())["errors"][0]["code"])
