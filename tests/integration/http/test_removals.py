"""Files that vanished at once, as the API and the terminal show and confirm them."""

from __future__ import annotations

import json
from pathlib import Path

from gitopsd.domain.config import HeldRemoval
from gitopsd.domain.releases import StageName
from gitopsd.engine.removals import fetch_confirmed
from tests.support.command_line import CommandLine
from tests.support.http_world import HttpWorld, serving_world

HELD = (
    HeldRemoval("applications/a.yaml", "Application", "a", (StageName("x"), StageName("y"))),
    HeldRemoval("clusters/b.yaml", "Cluster", "b"),
)
FILES = [one.file for one in HELD]
PATH = "/configuration/confirm-removals"


def person_of(http: HttpWorld, directory: Path, role: str = "admin") -> CommandLine:
    """Somebody at a terminal."""
    return CommandLine(http.url, http.tokens[role], directory)


async def test_what_is_held_is_shown_and_confirmed_once() -> None:
    """The files with what goes with them; the same request sent twice acts once, and is audited."""
    async with serving_world(run=False) as http:
        http.removals.extend(HELD)
        shown = await http.get("/configuration")
        health = await http.ask("GET", "/health", token="")
        stale = await http.ask("POST", PATH, body={"files": FILES[:1]})
        empty = await http.ask("POST", PATH, body={"files": []})
        nothing = await http.ask("POST", PATH, body={})
        key = {"Idempotency-Key": "once"}
        first = await http.ask("POST", PATH, body={"files": [*FILES]}, headers=key)
        http.removals.clear()
        again = await http.ask("POST", PATH, body={"files": [*FILES]}, headers=key)
        late = await http.ask("POST", PATH, body={"files": [*FILES]})
        audit = await http.get("/audit")
        believed = await fetch_confirmed(http.world.services)

    assert shown["heldRemovals"] == [
        {"file": FILES[0], "kind": "Application", "name": "a", "stages": ["x", "y"]},
        {"file": FILES[1], "kind": "Cluster", "name": "b", "stages": []},
    ]
    assert health.document["components"]["configuration"]["heldRemovals"] == 2
    assert "applications/a.yaml" not in health.text
    assert (stale.status, late.status) == (409, 409)
    assert "look at them again" in stale.document["detail"]
    assert (empty.status, nothing.status) == (422, 422)
    assert first.status == 200
    assert first.document == again.document
    assert [row["action"] for row in audit["items"]].count("confirm-removals") == 3
    assert {row["subject"] for row in audit["items"]} == {"admin-person"}
    assert believed == set(FILES)


async def test_the_terminal_shows_first_and_confirms_what_it_showed(tmp_path: Path) -> None:
    """Without --yes nothing is believed; with it the person sees the same list again."""
    async with serving_world(run=False) as http:
        person = person_of(http, tmp_path)
        none = await person.run("confirm-removals")
        none_confirmed = await person.run("confirm-removals", "--yes")
        http.removals.extend(HELD)
        shown = await person.run("confirm-removals")
        before = await fetch_confirmed(http.world.services)
        listed = await person.run("confirm-removals", "-o", "json")
        done = await person.run("confirm-removals", "--yes")
        after = await fetch_confirmed(http.world.services)
        document = await person.run("confirm-removals", "--yes", "-o", "json")
        (tmp_path / "deployer").mkdir()
        refused = await person_of(http, tmp_path / "deployer", "deployer").run(
            "confirm-removals", "--yes"
        )

    assert none.out == none_confirmed.out == "No removal of files waits to be confirmed.\n"
    lines = shown.out.splitlines()
    assert lines[0].split() == ["FILE", "KIND", "NAME", "RETIRES"]
    assert lines[1].split() == ["applications/a.yaml", "Application", "a", "x,", "y"]
    assert lines[-1].endswith("gitopsd confirm-removals --yes")
    assert before == frozenset()
    assert [row["file"] for row in json.loads(listed.out)["items"]] == FILES
    assert "clusters/b.yaml" in done.out
    assert done.out.splitlines()[-1] == (
        "2 files are gone for good, 2 stages are retired; nothing is deleted"
    )
    assert after == set(FILES)
    assert json.loads(document.out)["message"].startswith("2 files")
    assert refused.code == 2
    assert "may not admin" in refused.err
