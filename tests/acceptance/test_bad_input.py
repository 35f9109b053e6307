"""Bad input to the whole service: it fails with a place, costs little, and disturbs nobody.

One service on a real control plane takes everything here. Its memory is watched all the time, and
beside each hostile repository another application is released.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.runs import Phase, Step
from tests.support.bad_input_site import BadInputSite, aim_at, run_bad_input_site, sign
from tests.support.hostile_overlays import BOMB, REMOTE, ROWS
from tests.support.repositories import MAIN, Content
from tests.support.service_site import REPOSITORY, STAGING

if TYPE_CHECKING:
    from tests.support.control_plane import ControlPlane
    from tests.support.registry import RegistryServer

T = TypeVar("T")

FAILED_WITHIN = timedelta(seconds=10)
MOST_ADDED_MEGABYTES = 300
"""What the service itself may need for a while, and keep."""

MOST_RENDERING_MEGABYTES = 700
"""What it may need together with its children: kustomize collects garbage from 512 MB on."""


@dataclass(frozen=True, slots=True)
class Yard:
    """The site of this module and the loop that it lives in; tests here are synchronous."""

    site: BadInputSite
    runner: asyncio.Runner

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a test's work, and look at the memory afterwards."""
        site = self.site
        site.forget_peaks()
        found = self.runner.run(work)
        assert site.weigh() < site.rest_megabytes + MOST_ADDED_MEGABYTES
        assert site.peak_megabytes() < site.rest_megabytes + MOST_ADDED_MEGABYTES
        assert site.most_megabytes < site.rest_megabytes + MOST_RENDERING_MEGABYTES
        return found


@pytest.fixture(scope="module")
def yard(
    control_plane: ControlPlane,
    cluster_registry: RegistryServer,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Yard]:
    """One service for all tests here; after the last of them a good push still flows."""
    directory = tmp_path_factory.mktemp("bad-input")
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        site = runner.run(
            stack.enter_async_context(
                run_bad_input_site(control_plane, cluster_registry, directory, tuple(ROWS))
            )
        )
        found = Yard(site, runner)
        try:
            yield found
            found.run(site.release_good())
            assert "Traceback" not in site.log()
        finally:
            runner.run(stack.aclose())


@pytest.mark.parametrize("name", ROWS)
def test_a_hostile_repository_fails_with_its_place(name: str, yard: Yard) -> None:
    """Within ten seconds, in a bounded memory, while another application is released."""
    row, site = ROWS[name], yard.site

    async def work() -> None:
        stolen = f"{site.site.host.url}/stolen.yaml"
        await site.push_row(name, aim_at(row.files, REMOTE, stolen))
        value = await site.push_good()
        run, seconds = await site.until_row_ended(name, FAILED_WITHIN)
        await site.until_live(value)

        assert seconds < FAILED_WITHIN.total_seconds()
        assert (run.phase, run.step) == (Phase.FAILED, Step.RENDER)
        shown = await site.site.call("GET", f"/api/v1/runs/{run.id}")
        assert (shown["phase"], shown["reason"]) == ("Failed", row.reason)
        assert f"{row.place}: " in shown["message"]
        assert not [path for _, path, _ in site.site.host.requests if "stolen" in path]

    yard.run(work())


def test_hostile_files_outside_every_overlay_are_harmless(yard: Yard) -> None:
    """A commit of all hostile repositories starts no run, and the next good one is released."""
    site = yard.site
    everything: dict[str, Content] = {
        f"elsewhere/{number}/{path}": content
        for number, row in enumerate(ROWS.values())
        for path, content in row.files.items()
    }

    async def work() -> None:
        before = [run.id for run in await site.site.runs(STAGING)]
        sha = await site.push_beside(everything)
        await site.until_looked_at(sha)
        assert [run.id for run in await site.site.runs(STAGING)] == before
        await site.release_good()

    yard.run(work())


@dataclass(frozen=True, slots=True)
class Forged:
    """A delivery that nobody with the secret sent.

    Attributes:
        sign: Makes the signature header of a body; None for none.
        headers: Other headers.
        size: Length of the body, in bytes.
    """

    sign: Callable[[bytes], str | None]
    headers: dict[str, str] = field(default_factory=dict)
    size: int = 0


FORGED = {
    "no signature": Forged(lambda _: None),
    "no signature and 24 MB": Forged(lambda _: None, size=24_000_000),
    "empty": Forged(lambda _: ""),
    "no digest": Forged(lambda _: "sha256="),
    "another secret": Forged(lambda body: sign("guess", body)),
    "the empty secret": Forged(lambda body: sign("", body)),
    "of another body": Forged(lambda _: sign("guess", b"")),
    "not hexadecimal": Forged(lambda _: "sha256=" + "z" * 64),
    "SHA-1 alone": Forged(lambda _: None, {"X-Hub-Signature": f"sha1={'0' * 40}"}),
    "of another provider": Forged(lambda _: None, {"X-Signature": f"sha256={'0' * 64}"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_what_is_wrongly_signed_leaves_only_a_count(name: str, yard: Yard) -> None:
    """The answer is 401, and nothing of the delivery is stored."""
    forged, site = FORGED[name], yard.site

    async def work() -> None:
        before, refused = await site.deliveries(), await site.refused()
        body = b"{}" + b" " * forged.size
        replied = await site.send(body, signature=forged.sign, headers=forged.headers)
        assert replied.status == 401
        assert await site.refused() == refused + 1
        assert await site.deliveries() == before
        assert replied.guid not in site.log()

    yard.run(work())


def _nested(opening: str, closing: str, depth: int) -> bytes:
    return (opening * depth + closing * depth).encode()


RUBBISH: dict[str, tuple[bytes, dict[str, str]]] = {
    "empty": (b"", {}),
    "not JSON": (b"<html>", {}),
    "half a document": (b'{"ref": "refs/heads/main", "repository": {', {}),
    "bytes": (bytes(range(256)), {}),
    "null": (b"null", {}),
    "number": (b"1e999999", {}),
    "list": (b"[]", {}),
    "text": (b'"push"', {}),
    "nothing in it": (b"{}", {}),
    "half a character": (b'{"ref": "\\ud800"}', {}),
    "25,600 [": (b"[" * 25_600, {}),
    "lists in lists": (_nested("[", "]", 200_000), {}),
    "objects in objects": (_nested('{"repository":', "}", 100_000), {}),
    "24 MB of nothing": (b'{"a": "' + b"a" * 24_000_000 + b'"}', {}),
    "half a million keys": (
        f"{{{','.join(f'{chr(34)}{n}{chr(34)}:0' for n in range(500_000))}}}".encode(),
        {},
    ),
    "form without payload": (b"a=b", {"Content-Type": "application/x-www-form-urlencoded"}),
    "form with a bad character": (
        b"payload=%ED%A0%80",
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "form of many fields": (
        b"&".join([b"payload=%7B%7D"] * 10_000),
        {"Content-Type": "application/x-www-form-urlencoded"},
    ),
    "strange headers": (b"{}", {"Content-Type": "\udcff", "User-Agent": "\udcfe" * 1_000}),
    "strange key": (b"{}", {"X-GitHub-Hook-ID": "\udcff" * 1_000}),
}
"""Body and headers; each is signed well."""


@pytest.mark.parametrize("name", RUBBISH)
def test_well_signed_rubbish_is_stored_and_dead_lettered(name: str, yard: Yard) -> None:
    """With a reason, after at most three tries, by a service that goes on as it was."""
    (body, headers), site = RUBBISH[name], yard.site

    async def work() -> None:
        before = await site.deliveries()
        assert (await site.send(body, headers=headers)).status == 202
        [delivery] = await site.until_worked_on(before)
        assert (delivery["state"], delivery["bytes"]) == ("DeadLettered", len(body))
        assert delivery["reason"]
        assert len(delivery["reason"]) < 500
        assert 1 <= delivery["attempts"] <= 3
        assert (await site.health())["status"] == "pass"

    yard.run(work())


ODD_VALUES: tuple[Json, ...] = (
    None,
    7,
    True,
    [],
    {},
    "",
    "\x00",
    "x" * 10_000,
    ["refs/heads/main"],
)


def test_no_value_in_any_field_stops_the_receiver(yard: Yard) -> None:
    """Every field of a push takes every wrong type in turn; each is worked on, none twice."""
    site = yard.site
    payload = dict(site.site.host.describe_push(REPOSITORY, MAIN, "0" * 40, "1" * 40))

    async def work() -> None:
        before = await site.deliveries()
        for number, body in enumerate(_mutate(payload)):
            assert (await site.send(json.dumps(body).encode(), guid=f"odd-{number}")).status == 202
        worked_on = await site.until_worked_on(before)
        assert len(worked_on) == number + 1
        for delivery in worked_on:
            assert delivery["reason"]
            assert delivery["attempts"] == 1
        assert (await site.health())["status"] == "pass"

    yard.run(work())


def _mutate(payload: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Put every odd value into every field that is read, and into all fields at once."""
    for value in ODD_VALUES:
        yield dict.fromkeys(payload, value)
        for name in ("ref", "before", "after", "deleted", "repository", "pusher", "head_commit"):
            yield {**payload, name: value}
        yield {**payload, "repository": dict.fromkeys(payload["repository"], value)}


def test_a_delivery_sent_again_is_stored_once_and_still_rings(yard: Yard) -> None:
    """GitHub's redelivery of a finished delivery finds what nobody announced meanwhile."""
    site = yard.site

    async def work() -> None:
        payload = site.site.host.describe_push(REPOSITORY, MAIN, "0" * 40, await site.head())
        body = json.dumps(payload).encode()
        first = await site.send(body, guid="sent-twice")
        await site.until_worked_on({})
        before = await site.deliveries()
        value = await site.push_good(ring=False)
        again = await site.send(body, guid="sent-twice")

        assert (first.status, again.status) == (202, 202)
        await site.until_live(value)
        assert (await site.deliveries()).keys() == before.keys()

    yard.run(work())


def test_a_ping_is_answered(yard: Yard) -> None:
    """With 200 when it is signed; nothing of it is stored."""
    site = yard.site

    async def work() -> None:
        before = await site.deliveries()
        assert (await site.send(b'{"zen": "x"}', event="ping")).status == 200
        assert await site.deliveries() == before

    yard.run(work())


def test_a_receiver_that_is_not_there_is_not_found(yard: Yard) -> None:
    """404, whatever is sent, and nothing is stored."""
    site = yard.site

    async def work() -> None:
        before, refused = await site.deliveries(), await site.refused()
        assert (await site.send(b"{}", receiver="gitlab")).status == 404
        assert (await site.send(b"{}", receiver="..%2Fgithub")).status == 404
        assert (await site.deliveries(), await site.refused()) == (before, refused)

    yard.run(work())


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_26_mb_is_not_read(yard: Yard, chunked: bool) -> None:
    """413 as soon as its length is known: from its head, or while it comes."""
    site = yard.site

    async def work() -> None:
        before = await site.deliveries()
        assert await site.send_large(26 << 20, chunked=chunked) == 413
        assert await site.deliveries() == before

    yard.run(work())


@dataclass(frozen=True, slots=True)
class Invalid:
    """An application file that cannot be used.

    Attributes:
        old: Part of the valid file.
        new: What stands there instead.
        path: Place that is named.
        remedy: What is said to write instead.
    """

    old: str
    new: str
    path: str
    remedy: str


INVALID = {
    "unknown field": Invalid(
        "path: overlays/staging", "pth: overlays/staging", "spec.stages[0].pth", "`path`"
    ),
    "unknown cluster": Invalid("cluster: one", "cluster: onne", "spec.stages[0].cluster", "`one`"),
    "wrong type": Invalid("after: []", "after: staging", "spec.stages[0].after", "list"),
    "stage after itself": Invalid(
        'after: ["staging"]', 'after: ["production"]', "spec.stages[1].after", "first stage"
    ),
    "not YAML": Invalid("spec:\n", "spec: [\n", "", ""),
    "25,600 [": Invalid("spec:\n", f"x: {'[' * 25_600}\nspec:\n", "", ""),
    "alias bomb": Invalid("spec:\n", f"{BOMB}spec:\n", "", ""),
    "empty": Invalid("", "", "", ""),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_application_file_leaves_the_old_one_working(name: str, yard: Yard) -> None:
    """The error is in the log, at the API and in check-config; the fix counts within 2 s."""
    invalid, site = INVALID[name], yard.site
    file = site.site.directory / "config" / "applications" / "shop.yaml"
    valid = file.read_text()
    broken = valid.replace(invalid.old, invalid.new, 1) if invalid.old else ""

    async def work() -> None:
        logged = len(site.log())
        file.write_text(broken)
        try:
            said = await site.until_configuration(wrong=True)
            assert {problem["file"] for problem in said} == {"applications/shop.yaml"}
            (told,) = [problem for problem in said if problem["path"] == invalid.path]
            assert invalid.remedy in told["remedy"]
            assert (await site.health())["status"] == "warn"
            place = ": ".join(filter(None, (told["file"], told["path"], told["problem"])))
            sentence = f"{place}. {told['remedy']}"
            assert sentence in [
                entry["message"].partition(": ")[2] for entry in site.log_since(logged)
            ]
            code, printed = await site.check_config()
            assert (code, sentence in printed) == (1, True)
            await site.release_good()
        finally:
            file.write_text(valid)
            assert await site.until_configuration(wrong=False) == []
        assert (await site.health())["status"] == "pass"

    yard.run(work())
