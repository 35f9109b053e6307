"""What holds for every list and every write, without exception."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.config import HeldRemoval
from gitopsd.domain.gates import Decision, Vote
from gitopsd.domain.manifests import Digest
from gitopsd.domain.releases import ApplicationName
from gitopsd.domain.runs import Phase, RunId, RunKind, Step
from gitopsd.domain.sources import RepoURL
from gitopsd.domain.verifications import Quarantine, StallReason
from gitopsd.engine.effects import mark_stalled
from gitopsd.entrypoints.http.api.all_routes import ROUTES
from gitopsd.entrypoints.http.models import PageQuery
from gitopsd.entrypoints.http.routes import Route
from tests.support.engine_world import (
    APPROVER,
    PRODUCTION,
    STAGING,
    config_map,
    deployment,
    shop_spec,
)
from tests.support.http_world import (
    IMAGE,
    Document,
    HttpWorld,
    Reply,
    grouped,
    make_busy,
    serving_world,
)

if TYPE_CHECKING:
    from gitopsd.domain.config import ApplicationSpec
    from gitopsd.domain.manifests import Json
    from gitopsd.store_ports import Transaction

LISTS = [
    route for route in ROUTES if route.answer is not None and "items" in route.answer.model_fields
]
HOOK = "https://hooks.example/"
WRITES = [route for route in ROUTES if route.writes]


def test_every_list_has_a_cursor() -> None:
    """Whatever has rows takes a limit and the cursor of the page before, and tells the next."""
    assert len(LISTS) == 10
    for route in LISTS:
        assert issubclass(route.query, PageQuery), route.path
        assert "next" in route.answer.model_fields if route.answer else False, route.path


def add_more(tx: Transaction, run: str, number: int) -> None:
    """Put one more vote and one more quarantine."""
    vote = Vote(
        id=f"vote-{number}",
        run=RunId(run),
        plan=Digest("sha256:old"),
        subject=f"kim-{number}",
        groups=(),
        decision=Decision.APPROVE,
        reason="",
        at=tx.now,
    )
    tx.votes.add(vote)
    run_of = tx.runs.get(RunId(run))
    assert run_of is not None
    digest = Digest(f"sha256:{number}")
    tx.quarantines.add(
        Quarantine(f"more-{number}", STAGING, digest, (), run_of.release, "x", tx.now)
    )


def elsewhere(name: str) -> ApplicationSpec:
    """An application like the shop, of a repository that does not exist."""
    spec = shop_spec()
    source = replace(spec.source, repo=RepoURL(f"https://git.example/{name}.git"))
    return replace(spec, name=ApplicationName(name), source=source)


async def fill(http: HttpWorld) -> None:
    """Put at least three rows into every list."""
    busy = await make_busy(http)
    for number in range(2, 4):
        await http.world.push(str(number), deployment(IMAGE), config_map("c", v=str(number)))
        await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=number)
    for number in range(3):
        await http.world.store.transact(partial(add_more, run=busy.waiting, number=number))
        await http.post("/freezes", {"scope": "application:shop", "seconds": 60 + number})
    names = [f"channel-{number}" for number in range(3)]
    channels = {name: ChannelSpec(name, ChannelType.WEBHOOK, HOOK) for name in names}
    await http.world.configure(replace(http.world.configuration[0], channels=channels))


async def read_pages(http: HttpWorld, path: str) -> list[Document]:
    """Follow the cursors of a list, one row a page."""
    rows: list[Document] = []
    cursor = ""
    while True:
        page = await http.get(f"{path}?limit=1&before={cursor}")
        assert len(page["items"]) <= 1
        rows += page["items"]
        cursor = page["next"] or ""
        if not cursor:
            return rows
        assert len(rows) < 100, "the cursors lead round and round"


async def test_cursors_lead_through_every_list_once() -> None:
    """Row by row, in the order of the whole list; an unknown cursor is the end, not the top."""
    async with serving_world(shop_spec(), elsewhere("other"), elsewhere("third")) as http:
        await fill(http)
        for route in LISTS:
            path = route.path.format(app="shop")
            whole = await http.get(f"{path}?limit=200")
            assert len(whole["items"]) >= 3, path
            assert whole["next"] is None
            assert await read_pages(http, path) == whole["items"], path
            unknown = await http.get(f"{path}?before=zzzz-nothing")
            assert unknown["items"] == [], path


def body_of(route: Route) -> dict[str, Json]:
    """A body that the route takes."""
    given: dict[str, Json] = {
        "release": "r-1",
        "subject": "someone",
        "scope": "*",
        "gate": "approval",
        "reason": "none",
        "files": ["applications/shop.yaml"],
        "plans": {"run-1": "sha256:seen"},
    }
    needed = {
        field.alias or name
        for name, field in route.body.model_fields.items()
        if field.is_required()
    }
    return {name: value for name, value in given.items() if name in needed}


async def test_no_write_lets_its_body_say_who_acts() -> None:
    """Every verb refuses a body that names an actor, and does nothing."""
    async with serving_world() as http:
        busy = await make_busy(http)
        values = {
            "app": "shop",
            "stage": "production",
            "group": "world",
            "run": busy.waiting,
            "quarantine": busy.quarantine,
            "freeze": busy.freeze,
            "token": (await http.get("/tokens"))["items"][0]["id"],
        }
        before = (await http.get("/audit"))["items"]
        for route in WRITES:
            path = route.path.format(**values)
            for field in ("actor", "requestedBy", "by"):
                body = {**body_of(route), field: "somebody-else"}
                reply = await http.ask(route.method, path, body=body)
                assert (path, reply.status) == (path, 422)
                assert reply.document["problems"][0]["field"] == field
        after = (await http.get("/audit"))["items"]

    assert len(WRITES) == 20
    assert after == before


class Sender:
    """Sends each write twice under one key, and then another request under the same key.

    Args:
        http: The service.
    """

    def __init__(self, http: HttpWorld) -> None:
        self.sent: set[str] = set()
        self._http = http

    async def send(self, template: str, body: Json = None, **values: str) -> Reply:
        """Send one write; it is done once, and told twice."""
        route = next(route for route in WRITES if route.path == template)
        values = {"app": "shop", **values}
        key = {"Idempotency-Key": f"key-{len(self.sent)}"}
        path = template.format(**values)
        before = await self._http.get("/audit?limit=200")
        first = await self._http.ask("POST", path, body=body, headers=key)
        again = await self._http.ask("POST", path, body=body, headers=key)
        other = await self._http.ask("POST", "/freezes", body={"scope": "*"}, headers=key)
        after = await self._http.get("/audit?limit=200")

        assert first.status == route.status, first.text
        if template == "/tokens":
            assert again.status == 409, "its secret cannot be told again"
        else:
            assert (again.status, again.document) == (first.status, first.document)
        assert other.status == 422
        assert other.document["detail"].startswith("This Idempotency-Key was used for another")
        assert _count_asked(after) == _count_asked(before) + 1, template
        self.sent.add(template)
        return first


def _count_asked(log: Document) -> int:
    """Count what was asked for; what came of it later has entries of its own."""
    return sum(entry["action"] not in ("reverified", "adopted") for entry in log["items"])


async def test_every_write_sent_twice_under_one_key_is_done_once() -> None:
    """The same answer, one entry in the audit log; the key is good for nothing else."""
    async with serving_world(grouped()) as http:
        world = http.world
        busy = await make_busy(http)
        sender = Sender(http)
        stage, run = "/applications/{app}/stages/{stage}", "/runs/{run}"
        group = "/applications/{app}/groups/{group}"
        await sender.send(f"{run}/approve", run=busy.waiting)
        await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        await sender.send(f"{stage}/sync", stage="production")
        await world.until_run(PRODUCTION, RunKind.SYNC, Phase.SUCCEEDED)
        await sender.send(f"{stage}/reverify", stage="production")
        second = await world.push("two", deployment(IMAGE), config_map("c", v="2"))
        held = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        await world.actions.suspend(APPROVER, PRODUCTION, "so that it stays at its Gate")
        await sender.send(f"{run}/skip", {"gate": "approval", "reason": "down"}, run=held.id)
        seen: Json = {"plans": {held.id: held.plan}}
        await sender.send(f"{group}/approve", seen, group="world")
        await sender.send(f"{run}/reject", {"reason": "no"}, run=held.id)
        await world.actions.resume(APPROVER, PRODUCTION)
        await sender.send(f"{run}/retry", run=held.id)
        held = await world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.RUNNING, step=Step.GATE)
        seen = {"plans": {held.id: held.plan}}
        await sender.send(f"{group}/reject", seen, group="world")
        again = await http.post(f"/runs/{held.id}/retry")
        await sender.send(f"{run}/abort", run=again["run"])
        await sender.send(f"{stage}/rollback", stage="staging")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        config, reason = world.configuration[0], StallReason.INVENTORY
        await world.store.transact(lambda tx: mark_stalled(tx, STAGING, reason, "look", config))
        await sender.send(f"{stage}/adopt", stage="staging")
        await sender.send(f"{stage}/suspend", {"reason": "lunch"}, stage="staging")
        await sender.send(f"{stage}/resume", stage="staging")
        await sender.send(f"{stage}/promote", {"release": second}, stage="production")
        await sender.send("/quarantines/{quarantine}/lift", quarantine=busy.quarantine)
        frozen = await sender.send("/freezes", {"scope": "application:shop"})
        await sender.send("/freezes/{freeze}/thaw", freeze=frozen.document["id"])
        http.removals.append(HeldRemoval("applications/shop.yaml", "Application", "shop"))
        gone: Json = {"files": ["applications/shop.yaml"]}
        await sender.send("/configuration/confirm-removals", gone)
        made = await sender.send("/tokens", {"subject": "ci"})
        await sender.send("/tokens/{token}/revoke", token=made.document["id"])

    assert sender.sent == {route.path for route in WRITES}
