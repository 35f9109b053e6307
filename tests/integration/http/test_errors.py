"""Every error is a problem document: what happened, and what to do about it."""

from __future__ import annotations

import io

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.errors import ConflictError, TemporaryError
from gitopsd.store_ports import Store
from tests.support.http_world import Reply, make_busy, send_raw, serving_world


def check_shape(reply: Reply, status: int, path: str) -> None:
    """A problem document with all members of RFC 9457, and a remedy."""
    problem = reply.document
    assert reply.status == status, reply.text
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert problem["type"].startswith("https://gitopsd.io/problems/")
    assert problem["status"] == status
    assert problem["title"]
    assert problem["instance"] == f"/api/v1{path}"
    assert problem["detail"].endswith(".")
    assert problem["remedy"].endswith(".")


@pytest.mark.parametrize(
    "method,path,body,status,detail",
    [
        ("GET", "/nothing", None, 404, "There is no GET /api/v1/nothing."),
        ("PUT", "/applications", None, 405, "There is no PUT /api/v1/applications."),
        ("GET", "/applications/none", None, 404, "There is no application none."),
        (
            "GET",
            "/applications/shop/stages/none",
            None,
            404,
            "There is no stage shop/none.",
        ),
        ("GET", "/applications/none/runs", None, 404, "There is no application none."),
        ("GET", "/applications/shop/runs?stage=none", None, 404, "There is no stage none."),
        ("GET", "/runs/none", None, 404, "There is no run none."),
        ("GET", "/releases/none", None, 404, "There is no release none."),
        ("GET", f"/commits/{'x' * 301}", None, 404, "No commit, tag or digest is that long."),
        (
            "GET",
            "/applications?limit=0",
            None,
            400,
            "The query cannot be used: limit: Input should be greater than or equal to 1.",
        ),
        (
            "GET",
            "/audit?since=yesterday",
            None,
            400,
            "The query cannot be used: since: Extra inputs are not permitted.",
        ),
        (
            "GET",
            "/commits/abc?wait=301",
            None,
            400,
            "The query cannot be used: wait: Input should be less than or equal to 300.",
        ),
        (
            "POST",
            "/applications/shop/stages/production/promote",
            {},
            422,
            "The body cannot be used: release: Field required.",
        ),
        (
            "POST",
            "/applications/shop/stages/production/promote",
            {"release": "none"},
            404,
            "There is no release none.",
        ),
        (
            "POST",
            "/applications/shop/stages/none/sync",
            None,
            404,
            "There is no stage shop/none.",
        ),
        (
            "POST",
            "/applications/shop/stages/production/sync",
            None,
            409,
            (
                "Nothing was applied to shop/production yet; bring a release with: gitopsd promote "
                "shop production RELEASE."
            ),
        ),
        ("POST", "/quarantines/none/lift", None, 404, "There is no quarantine none."),
        ("POST", "/freezes/none/thaw", None, 404, "There is no freeze none."),
        ("POST", "/tokens/none/revoke", None, 404, "There is no token none."),
        (
            "POST",
            "/freezes",
            {"scope": "planet:earth"},
            422,
            (
                "'planet:earth' is no scope; write *, application:NAME, stage:APPLICATION/STAGE, "
                "project:NAME or cluster:NAME."
            ),
        ),
        (
            "POST",
            "/freezes",
            {"scope": "application:none"},
            422,
            "There is no application none to freeze; configured: shop.",
        ),
        (
            "POST",
            "/freezes",
            {"scope": "stage:shop/none"},
            422,
            "There is no stage shop/none to freeze; configured: shop/production, shop/staging.",
        ),
        (
            "POST",
            "/freezes",
            {"scope": "*", "until": "2001-01-01T00:00:00Z"},
            422,
            "The freeze would end in the past; give a later time.",
        ),
        (
            "POST",
            "/freezes",
            {"scope": "*", "until": "2101-01-01T00:00:00"},
            422,
            "The field until has no offset; write 2026-01-31T18:00:00Z.",
        ),
    ],
)
async def test_what_cannot_be_done_is_a_problem_document(
    method: str, path: str, body: Json, status: int, detail: str
) -> None:
    """Each refusal names the thing and the remedy, in one shape."""
    async with serving_world() as http:
        await http.until(lambda: _there(http.world.store), "the shop is stored")
        reply = await http.ask(method, path, body=body)

    check_shape(reply, status, path.partition("?")[0])
    assert reply.document["detail"] == detail
    if status == 405:
        assert reply.headers["Allow"] == "GET,HEAD" or "GET" in reply.headers["Allow"]


async def _there(store: Store) -> bool:
    return await store.read(lambda tx: bool(tx.stages.page()))


@pytest.mark.parametrize("field", ["subject", "actor", "user", "by", "as"])
async def test_a_body_that_names_an_actor_is_refused(field: str) -> None:
    """Who acts comes from the credential alone."""
    async with serving_world() as http:
        busy = await make_busy(http)
        path = f"/runs/{busy.waiting}/approve"
        reply = await http.ask("POST", path, body={"reason": "fine", field: "somebody-else"})
        votes = (await http.get("/approvals"))["items"]

    check_shape(reply, 422, path)
    assert reply.document["problems"][0]["field"] == field
    assert votes == []


@pytest.mark.parametrize(
    "sent,content_type,status,detail",
    [
        (b"{", "application/json", 400, "The body is no JSON document."),
        (b"[" * 100_000, "application/json", 400, "The body is no JSON document."),
        (b"\xff\xfe\xff", "application/json", 400, "The body is no JSON document."),
        (b"[]", "application/json", 422, "The body is no JSON object."),
        (b"scope=*", "application/x-www-form-urlencoded", 415, None),
        (b" " * (1024 * 1024 + 1), "application/json", 413, "The body is larger than 1 MB."),
    ],
)
async def test_a_body_that_is_no_json_object(
    sent: bytes, content_type: str, status: int, detail: str | None
) -> None:
    """Broken, deep, foreign and oversize bodies are refused before anything is done."""
    async with serving_world(run=False) as http:
        headers = {"Authorization": f"Bearer {http.tokens['admin']}", "Content-Type": content_type}
        async with http.session.post(
            f"{http.url}/api/v1/freezes", data=io.BytesIO(sent), headers=headers
        ) as answer:
            problem = await answer.json(content_type=None)
        frozen = (await http.get("/freezes"))["items"]

    assert (answer.status, problem["status"]) == (status, status)
    assert detail in (None, problem["detail"])
    assert frozen == []


async def test_a_vote_for_a_plan_that_changed_is_a_conflict() -> None:
    """The plan that was seen is the plan that is voted on."""
    async with serving_world() as http:
        busy = await make_busy(http)
        path = f"/runs/{busy.waiting}/approve"
        reply = await http.ask("POST", path, body={"plan": "sha256:another"})

    check_shape(reply, 409, path)
    assert reply.document["detail"].startswith("The plan changed since you saw it (now sha256:")


async def test_who_is_not_asked_may_not_vote() -> None:
    """The role is not enough: the gate says whose vote counts."""
    async with serving_world() as http:
        busy = await make_busy(http)
        token = await http.token("kim", "approver")
        path = f"/runs/{busy.waiting}/approve"
        reply = await http.ask("POST", path, token=token)

    check_shape(reply, 403, path)
    detail = "Only group:release-managers may vote here, not user:kim, who is in no group."
    assert reply.document["detail"] == detail


async def test_a_database_that_does_not_answer_is_503() -> None:
    """Nothing is lost and nobody is told a lie; the sender knows when to come back."""
    async with serving_world(run=False) as http:
        await http.get("/freezes")
        http.troubled.trouble.append(TemporaryError("the database does not answer"))
        reply = await http.ask("GET", "/freezes")
        well = await http.ask("GET", "/freezes")

    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")
    assert reply.document["detail"] == "the database does not answer"
    assert well.status == 200


async def test_a_lost_race_is_a_conflict() -> None:
    """Who lost every try is told to look again."""
    async with serving_world(run=False) as http:
        await http.get("/freezes")
        http.troubled.trouble.append(ConflictError("the row changed"))
        reply = await http.ask("GET", "/freezes")

    check_shape(reply, 409, "/freezes")
    assert reply.document["detail"] == "Somebody else changed it first."


async def test_a_bug_is_reported_and_tells_nothing() -> None:
    """What went wrong inside is not for the caller; whoever repairs it gets the report."""
    async with serving_world(run=False) as http:
        await http.get("/freezes")
        http.troubled.trouble.append(RuntimeError("a-made-up-password"))
        reply = await http.ask("GET", "/freezes")
        reports = http.world.telemetry.reports

    check_shape(reply, 500, "/freezes")
    assert reply.document["detail"] == "gitopsd has a bug in this answer."
    assert "a-made-up-password" not in reply.text
    assert [(str(error), context) for error, context in reports] == [
        ("a-made-up-password", {"route": "/api/v1/freezes"})
    ]


async def test_a_body_that_does_not_come_is_given_up() -> None:
    """A body that is announced and never sent ends with 408 after its bound."""
    async with serving_world(run=False) as http:
        reply = await send_raw(
            http.url,
            b"POST /api/v1/freezes HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Authorization: Bearer " + http.tokens["admin"].encode() + b"\r\n"
            b"Content-Length: 100\r\n\r\n" + b"{",
        )

    assert reply.startswith(b"HTTP/1.1 408 ")
    assert b"The body did not arrive within 5 s." in reply
