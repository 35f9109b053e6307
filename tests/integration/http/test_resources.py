"""What each resource tells, page by page, and what each verb does, once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial

import pytest

from gitopsd.domain.manifests import Json, JsonObject
from gitopsd.domain.runs import Phase, RunKind, Step
from gitopsd.domain.work import AuditEntry
from gitopsd.errors import ConfigError
from gitopsd.store_ports import Transaction
from tests.support.engine_world import PRODUCTION, STAGING, config_map, deployment
from tests.support.http_world import IMAGE, HttpWorld, make_busy, serving_world


async def test_an_application_shows_its_stages_in_file_order() -> None:
    """Where everything stands, in one answer."""
    async with serving_world() as http:
        busy = await make_busy(http)
        listed = (await http.get("/applications"))["items"]
        shop = await http.get("/applications/shop")
        production = await http.get("/applications/shop/stages/production")

    assert listed == [shop]
    assert [stage["name"] for stage in shop["stages"]] == ["staging", "production"]
    assert shop["source"]["ref"] == "refs/heads/main"
    staging = shop["stages"][0]
    assert (staging["health"], staging["sync"]) == ("Healthy", "Synced")
    assert staging["applied"]["release"]["commit"]["sha"] == busy.commit
    assert staging["verified"]["release"] == busy.release
    assert production["next"]["id"] == busy.waiting
    assert production["next"]["commit"] == busy.commit
    assert production["next"]["alias"] == staging["applied"]["release"]["alias"]
    assert production["next"]["waitingFor"].startswith("approval: 0 of 1 approvals, expires ")
    assert production["gates"] == ["approval"]
    assert production["applied"] is None


async def test_a_file_that_is_broken_now_is_told_with_its_application() -> None:
    """What runs is the old file; why the new one is not used stands beside it."""
    async with serving_world() as http:
        await make_busy(http)
        file = http.world.configuration[0].applications
        name = next(iter(file.values())).file
        error = ConfigError(file=name or "x", path="spec", problem="it is empty", remedy="Write it")
        http.problems.append(error)
        shop = await http.get("/applications/shop")

    assert shop["problems"] == ([str(error)] if name else [])


async def test_the_configuration_tells_what_is_wrong_in_it() -> None:
    """File, place, problem and what to write instead: also for what was never valid."""
    error = ConfigError(
        file="clusters/two.yaml", path="spec.server", problem="it is empty", remedy="Write it"
    )
    async with serving_world(run=False) as http:
        http.problems.append(error)
        found = await http.get("/configuration")

    assert found["applications"] == ["shop"]
    assert found["clusters"] == ["one"]
    assert found["receivers"] == ["github", "registry"]
    assert found["problems"] == [
        {
            "file": "clusters/two.yaml",
            "path": "spec.server",
            "problem": "it is empty",
            "remedy": "Write it",
        }
    ]


async def test_a_run_shows_everything_that_is_known_of_it() -> None:
    """Steps with their times, the log, gates, the change set, its diff, evidence of checks."""
    async with serving_world() as http:
        busy = await make_busy(http)
        finished = await http.get(f"/runs/{busy.finished}")
        waiting = await http.get(f"/runs/{busy.waiting}")

    assert [step["step"] for step in finished["steps"]] == [step.value for step in Step]
    assert {step["state"] for step in finished["steps"]} == {"Succeeded"}
    assert all(step["endedAt"] >= step["startedAt"] for step in finished["steps"])
    assert finished["events"][0]["name"] == "RunAdmitted"
    assert finished["verification"][0]["content"]["check"] == "api /health"
    assert finished["changeSet"]["objects"][0]["action"] == "created"
    assert finished["diff"].startswith("created Deployment shop-staging/api\n")
    assert waiting["steps"][-1] == {
        "step": "Gate",
        "state": "Running",
        "startedAt": waiting["steps"][-2]["endedAt"],
        "endedAt": None,
        "attempts": 1,
    }
    closed = [gate for gate in waiting["gates"] if gate["state"] == "Closed"]
    assert [gate["name"] for gate in closed] == ["approval"]
    assert busy.waiting in closed[0]["opener"]
    assert waiting["releaseDetails"]["id"] == busy.release


async def test_a_run_is_explained_in_sentences() -> None:
    """What happened, and who makes what happens next."""
    async with serving_world() as http:
        busy = await make_busy(http)
        told = await http.get(f"/runs/{busy.waiting}/explain")
        finished = await http.get(f"/runs/{busy.finished}/explain")

    assert told["summary"].endswith("to shop/production is Running in Gate")
    assert [line["text"] for line in told["lines"]][:2] == [
        "It was admitted and began",
        "Render succeeded",
    ]
    assert told["state"] == "Held"
    (wait,) = told["waitingFor"]
    assert wait["what"].startswith("approval: 0 of 1 approvals")
    assert wait["who"].startswith(f"gitopsd approve {busy.waiting} ")
    assert told["next"].startswith("Prepare follows by itself as soon as approval has opened")
    assert told["text"][-1] == f"Next: {told['next']}"
    assert (finished["state"], finished["next"]) == ("Succeeded", "nothing: it is over")


async def test_a_release_says_how_far_it_came() -> None:
    """Verified where, quarantined where, with its last run."""
    async with serving_world() as http:
        busy = await make_busy(http)
        release = await http.get(f"/releases/{busy.release}")
        listed = (await http.get("/applications/shop/releases"))["items"]

    stages = {stage["stage"]: stage for stage in release["stages"]}
    assert stages["staging"]["verifiedAt"]
    assert stages["staging"]["lastRun"]["id"] == busy.finished
    assert stages["production"]["verifiedAt"] is None
    assert [row["id"] for row in listed] == [busy.release]


def note(tx: Transaction, target: str) -> None:
    """Append to the audit log."""
    tx.records.append_audit(AuditEntry(0, tx.now, "alex", "sync", target))


async def test_lists_come_page_by_page() -> None:
    """Cursors lead through all rows, each once, newest first."""
    async with serving_world(run=False) as http:
        for number in range(7):
            await http.world.store.transact(partial(note, target=f"target-{number}"))
        targets, cursor, pages = [], "", 0
        while True:
            page = await http.get(f"/audit?limit=3&before={cursor}")
            targets += [row["target"] for row in page["items"]]
            pages += 1
            if page["next"] is None:
                break
            cursor = page["next"]
        exact = await http.get("/audit?limit=7")

    assert targets == [f"target-{number}" for number in reversed(range(7))]
    assert pages == 3
    assert exact["next"] is None


async def test_an_approval_is_listed_and_lets_the_run_go_on() -> None:
    """Who waits for whom, then who said what; the audit log keeps it."""
    async with serving_world() as http:
        busy = await make_busy(http)
        before = await http.get("/approvals")
        plan = before["waiting"][0]["plan"]
        done = await http.post(
            f"/runs/{busy.waiting}/approve", {"plan": plan, "reason": "fine"}, role="approver"
        )
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        after = await http.get("/approvals")
        audit = (await http.get("/audit"))["items"]

    assert before["waiting"][0]["from"] == ["group:release-managers"]
    assert (before["waiting"][0]["count"], before["waiting"][0]["given"]) == (1, 0)
    assert done["run"] == busy.waiting
    assert after["waiting"] == []
    assert [(row["subject"], row["decision"], row["reason"]) for row in after["items"]] == [
        ("approver-person", "Approve", "fine")
    ]
    assert (audit[0]["subject"], audit[0]["action"], audit[0]["target"]) == (
        "approver-person",
        "approve",
        busy.waiting,
    )


async def test_a_rejection_ends_the_run_and_retry_asks_again() -> None:
    """No is an answer, and can be taken back."""
    async with serving_world() as http:
        busy = await make_busy(http)
        await http.post(f"/runs/{busy.waiting}/reject", {"reason": "not today"})
        rejected = await http.get(f"/runs/{busy.waiting}")
        again = await http.post(f"/runs/{busy.waiting}/retry")

    assert (rejected["phase"], rejected["reason"]) == ("Aborted", "Rejected")
    assert "not today" in rejected["message"]
    assert again["run"] not in (None, busy.waiting)


async def test_a_person_takes_a_stage_back_and_lets_it_go_on() -> None:
    """Promote, roll back, sync, suspend, resume, abort: each does what it says."""
    async with serving_world() as http:
        world = http.world
        busy = await make_busy(http)
        second = await world.push("two", deployment(IMAGE), config_map("c", v="2"))
        await world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        path = "/applications/shop/stages/staging"
        rolled = await http.post(f"{path}/rollback")
        await world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        held = await http.get(path)
        synced = await http.post(f"{path}/sync")
        await world.until_run(STAGING, RunKind.SYNC, Phase.SUCCEEDED)
        await http.post(f"{path}/suspend", {"reason": "a long lunch"})
        suspended = await http.get(path)
        await http.post(f"{path}/resume")
        resumed = await http.get(path)
        promoted = await http.post(f"{path}/promote", {"release": second})
        waiting = (await http.get("/applications/shop/stages/production"))["next"]
        aborted = await http.post(f"/runs/{waiting['id']}/abort", {"restore": True})

    assert rolled["run"]
    assert held["applied"]["release"]["id"] == busy.release
    assert held["hold"]["by"] == "admin-person"
    assert synced["run"]
    assert suspended["suspended"]["reason"] == "a long lunch"
    assert (resumed["suspended"], resumed["hold"]) == (None, None)
    assert promoted["message"]
    assert aborted["run"] == waiting["id"]


async def test_what_a_rollback_found_can_be_downloaded() -> None:
    """A List that kubectl reads, as a file, Secrets masked; a run that is no Rollback has none."""
    async with serving_world() as http:
        await make_busy(http)
        keys: JsonObject = {**config_map("keys"), "kind": "Secret", "data": {"key": "aHVudGVyMg=="}}
        await http.world.push("two", deployment(IMAGE), config_map("c", v="2"), keys)
        two = await http.world.until_run(STAGING, RunKind.ROLLOUT, Phase.SUCCEEDED, count=2)
        await http.post("/applications/shop/stages/staging/rollback")
        back = await http.world.until_run(STAGING, RunKind.ROLLBACK, Phase.SUCCEEDED)
        kept = await http.ask("GET", f"/runs/{back.id}/live-state")
        none = await http.ask("GET", f"/runs/{two.id}/live-state")

    assert kept.headers["Content-Disposition"].endswith(f'filename="{back.id}-live-state.json"')
    assert (kept.document["kind"], kept.document["unread"]) == ("List", [])
    assert {"v": "2"} in [item.get("data") for item in kept.document["items"]]
    assert {"key": "***"} in [item.get("data") for item in kept.document["items"]]
    assert "aHVudGVyMg" not in kept.text
    assert (none.status, none.document["status"]) == (404, 404)


async def test_a_freeze_stops_what_is_new_until_it_is_thawed() -> None:
    """The stop button has a name, a reason and an end; channels hear of it."""
    async with serving_world() as http:
        busy = await make_busy(http)
        frozen = await http.post("/freezes", {"scope": "cluster:one", "reason": "storm"})
        await http.post(f"/runs/{busy.waiting}/approve")
        gates = {gate["name"]: gate for gate in (await http.get(f"/runs/{busy.waiting}"))["gates"]}
        during = (await http.get("/freezes"))["items"][0]
        await http.post(f"/freezes/{frozen['id']}/thaw")
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        after = (await http.get("/freezes"))["items"][0]
        told = http.world.notifier.received["ops"]

    assert gates["freeze"]["state"] == "Closed"
    assert (during["inForce"], during["reason"], during["by"]) == (True, "storm", "admin-person")
    assert (after["inForce"], bool(after["thawedAt"])) == (False, True)
    assert [one.message for one in told if one.trigger == "on-frozen"] == [
        "admin-person froze cluster:one: storm"
    ]


async def test_a_freeze_may_end_by_itself() -> None:
    """The end is a time or a span."""
    async with serving_world(run=False) as http:
        await http.post("/freezes", {"scope": "*", "seconds": 3600})
        await http.post("/freezes", {"scope": "*", "until": "2101-01-01T00:00:00+01:00"})
        rows = (await http.get("/freezes"))["items"]

    assert rows[0]["until"] == "2100-12-31T23:00:00Z"
    assert rows[1]["until"] > rows[1]["at"]


async def test_a_quarantine_is_lifted_by_name() -> None:
    """It says why it is there, and afterwards who lifted it."""
    async with serving_world() as http:
        busy = await make_busy(http)
        before = (await http.get("/quarantines"))["items"]
        await http.post(f"/quarantines/{busy.quarantine}/lift")
        after = (await http.get("/quarantines"))["items"]

    assert (before[0]["reason"], before[0]["liftedAt"]) == ("api crashes", None)
    assert (after[0]["liftedBy"], bool(after[0]["liftedAt"])) == ("admin-person", True)


async def test_a_token_is_shown_once_and_works_until_it_is_revoked() -> None:
    """Its secret is stored nowhere; lists and the audit log name it without."""
    async with serving_world(run=False) as http:
        body: Json = {
            "subject": "ci",
            "role": "viewer",
            "applications": ["shop"],
            "expiresInSeconds": 3600,
        }
        made = await http.post("/tokens", body)
        works = await http.ask("GET", "/applications", token=made["secret"])
        listed = await http.ask("GET", "/tokens")
        await http.post(f"/tokens/{made['id']}/revoke")
        again = await http.post(f"/tokens/{made['id']}/revoke")
        gone = await http.ask("GET", "/applications", token=made["secret"])
        audit = await http.ask("GET", "/audit")

    row = listed.document["items"][0]
    assert made["secret"].startswith("gitopsd_")
    assert (row["subject"], row["role"], row["applications"]) == ("ci", "viewer", ["shop"])
    assert row["expiresAt"] > row["createdAt"]
    assert made["secret"] not in listed.text + audit.text
    assert (works.status, gone.status) == (200, 401)
    assert again["message"] == f"token {made['id']} of ci is revoked"
    assert [entry["action"] for entry in audit.document["items"]] == [
        "revoke-token",
        "create-token",
    ]


async def test_a_request_sent_twice_acts_once() -> None:
    """The same key and request: the same answer, one freeze; across callers keys do not meet."""
    key = {"Idempotency-Key": "freeze-7"}
    body = {"scope": "*", "reason": "storm"}
    async with serving_world(run=False) as http:
        first = await http.ask("POST", "/freezes", body=body, headers=key)
        again = await http.ask("POST", "/freezes", body=body, headers=key)
        other = await http.ask("POST", "/freezes", body={"scope": "*"}, headers=key)
        elsewhere = await http.ask("POST", f"/freezes/{first.document['id']}/thaw", headers=key)
        somebody = await http.ask("POST", "/freezes", body=body, headers=key, role="deployer")
        rows = (await http.get("/freezes"))["items"]
        audit = (await http.get("/audit"))["items"]

    assert first.document == again.document
    assert (other.status, elsewhere.status) == (422, 422)
    assert other.document["detail"].startswith("This Idempotency-Key was used for another request")
    assert somebody.status == 201
    assert len(rows) == 2
    assert [entry["action"] for entry in audit] == ["freeze", "freeze"]


async def test_requests_of_one_key_at_once_act_once() -> None:
    """Ten at the same moment make one freeze."""
    key = {"Idempotency-Key": "all-at-once"}
    async with serving_world(run=False) as http:
        replies = await asyncio.gather(
            *(http.ask("POST", "/freezes", body={"scope": "*"}, headers=key) for _ in range(10))
        )
        rows = (await http.get("/freezes"))["items"]

    assert {reply.status for reply in replies} == {201}
    assert len({reply.document["id"] for reply in replies}) == len(rows) == 1


async def test_what_was_refused_may_be_sent_again_with_its_key() -> None:
    """A refusal changed nothing, so the same request can succeed later."""
    key = {"Idempotency-Key": "sync-1"}
    path = "/applications/shop/stages/production/sync"
    async with serving_world() as http:
        busy = await make_busy(http)
        refused = await http.ask("POST", path, headers=key)
        await http.post(f"/runs/{busy.waiting}/approve")
        await http.world.until_run(PRODUCTION, RunKind.ROLLOUT, Phase.SUCCEEDED)
        done = await http.ask("POST", path, headers=key)

    assert (refused.status, done.status) == (409, 200)


async def test_the_secret_of_a_token_is_not_shown_again_for_its_key() -> None:
    """A repeated request makes no second token and says which one there is."""
    key = {"Idempotency-Key": "ci-token"}
    async with serving_world(run=False) as http:
        made = await http.ask("POST", "/tokens", body={"subject": "ci"}, headers=key)
        again = await http.ask("POST", "/tokens", body={"subject": "ci"}, headers=key)
        other = await http.ask("POST", "/tokens", body={"subject": "cd"}, headers=key)
        rows = (await http.get("/tokens"))["items"]

    assert (made.status, again.status, other.status) == (201, 409, 422)
    assert made.document["id"] in again.document["remedy"]
    assert [row["subject"] for row in rows].count("ci") == 1


@pytest.mark.parametrize("key", ["with space", "x" * 256, "tab\there"])
async def test_a_key_that_is_none_is_refused(key: str) -> None:
    """A key is 1 to 255 printable characters."""
    async with serving_world(run=False) as http:
        reply = await http.ask("POST", "/freezes", body={}, headers={"Idempotency-Key": key})
        rows = (await http.get("/freezes"))["items"]

    assert reply.status == 400
    assert rows == []


async def test_a_removed_application_is_shown_with_what_it_left() -> None:
    """Nothing is deleted with a file: its stages are retired and stay visible."""
    async with serving_world() as http:
        await make_busy(http)
        configuration = http.world.configuration[0]
        await http.world.configure(type(configuration)(clusters=configuration.clusters))
        await http.until(lambda: _retired(http), "the stages are retired")
        shop = await http.get("/applications/shop")

    assert shop["source"] is None
    assert all(stage["retiredAt"] for stage in shop["stages"])
    assert shop["stages"][1]["applied"] is not None


async def _retired(http: HttpWorld) -> bool:
    stages = await http.world.store.read(lambda tx: tx.stages.page())
    return all(stage.retired_at is not None for stage in stages)


async def test_a_ref_that_cannot_be_read_says_why() -> None:
    """The application shows what its remote answered."""
    async with serving_world() as http:
        await http.until(lambda: _looked(http), "the first look")
        shop = await http.get("/applications/shop")

    assert shop["source"]["problem"] == (
        "the remote has no refs/heads/main; what runs keeps running"
    )


async def _looked(http: HttpWorld) -> bool:
    await http.world.clock.sleep(timedelta(0))
    states = await http.world.store.read(lambda tx: tx.refs.page())
    return any(state.looked_at is not None for state in states)
