"""Who may call what: every route, every role, every scope."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web

from gitopsd.domain.people import People, Person, RoleBinding
from gitopsd.entrypoints.http.api.all_routes import ROUTES
from gitopsd.entrypoints.http.permissions import Access
from gitopsd.entrypoints.http.problems import ProblemError
from gitopsd.entrypoints.http.routes import Call, Route, add_routes, declare, refuse_undeclared
from gitopsd.errors import PermanentError
from tests.support.http_world import Busy, HttpWorld, make_busy, serving_world

ALL = frozenset({"viewer", "deployer", "approver", "skip-gate", "admin"})
DEPLOY = frozenset({"deployer", "admin"})
APPROVE = frozenset({"approver", "admin"})
SKIP = frozenset({"skip-gate", "admin"})
ADMIN = frozenset({"admin"})

WHO_MAY = {
    "GET /applications": ALL,
    "GET /applications/{app}": ALL,
    "GET /applications/{app}/stages/{stage}": ALL,
    "GET /applications/{app}/releases": ALL,
    "GET /applications/{app}/runs": ALL,
    "POST /applications/{app}/stages/{stage}/promote": DEPLOY,
    "POST /applications/{app}/stages/{stage}/rollback": DEPLOY,
    "POST /applications/{app}/stages/{stage}/sync": DEPLOY,
    "POST /applications/{app}/stages/{stage}/reverify": DEPLOY,
    "POST /applications/{app}/stages/{stage}/adopt": DEPLOY,
    "POST /applications/{app}/stages/{stage}/suspend": DEPLOY,
    "POST /applications/{app}/stages/{stage}/resume": DEPLOY,
    "POST /applications/{app}/groups/{group}/approve": APPROVE,
    "POST /applications/{app}/groups/{group}/reject": APPROVE,
    "GET /runs/{run}": ALL,
    "GET /runs/{run}/live-state": ALL,
    "POST /runs/{run}/approve": APPROVE,
    "POST /runs/{run}/reject": APPROVE,
    "POST /runs/{run}/skip": SKIP,
    "POST /runs/{run}/abort": DEPLOY,
    "POST /runs/{run}/retry": DEPLOY,
    "GET /runs/{run}/explain": ALL,
    "GET /applications/{app}/stages/{stage}/explain": ALL,
    "GET /applications/{app}/explain": ALL,
    "GET /commits/{sha}/explain": ALL,
    "GET /releases/{release}": ALL,
    "GET /commits/{sha}": ALL,
    "GET /approvals": ALL,
    "GET /quarantines": ALL,
    "POST /quarantines/{quarantine}/lift": DEPLOY,
    "GET /freezes": ALL,
    "POST /freezes": DEPLOY,
    "POST /freezes/{freeze}/thaw": DEPLOY,
    "GET /deliveries": ALL,
    "GET /audit": ALL,
    "GET /channels": ALL,
    "GET /configuration": ALL,
    "POST /configuration/confirm-removals": ADMIN,
    "GET /events": ALL,
    "GET /tokens": ADMIN,
    "POST /tokens": ADMIN,
    "POST /tokens/{token}/revoke": ADMIN,
    "GET /openapi.json": ALL,
}
"""Every route and the roles that may call it, written down apart from the code."""

BODIES = {
    "POST /applications/{app}/stages/{stage}/promote": {"release": "r-none"},
    "POST /applications/{app}/groups/{group}/approve": {"plans": {"none": "none"}},
    "POST /applications/{app}/groups/{group}/reject": {"plans": {"none": "none"}},
    "POST /freezes": {"scope": "application:shop"},
    "POST /runs/{run}/skip": {"gate": "none", "reason": "none"},
    "POST /configuration/confirm-removals": {"files": ["applications/none.yaml"]},
    "POST /tokens": {"subject": "someone"},
}
EVERYWHERE = ("GET /deliveries", "GET /audit", "GET /channels")
UNKNOWN = dict.fromkeys(
    ("app", "stage", "group", "run", "release", "sha", "quarantine", "freeze", "token"), "none"
)
REACHING = [(name, role) for name in WHO_MAY for role in sorted(ALL)]


def named(route: Route) -> str:
    """How the table calls a route."""
    return f"{route.method} {route.path}"


async def status_of(http: HttpWorld, name: str, path: str, *, token: str) -> int:
    """Ask without reading what a stream tells."""
    method, _ = name.split(" ")
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with http.session.request(
        method, f"{http.url}/api/v1{path}", json=BODIES.get(name), headers=headers
    ) as answer:
        return answer.status


def test_the_table_names_every_route() -> None:
    """A new route fails here until somebody decides who may call it."""
    assert sorted(WHO_MAY) == sorted(named(route) for route in ROUTES)


async def test_every_route_answers_each_role_as_the_table_says() -> None:
    """All cells: allowed ones are never refused, others always are."""
    async with serving_world(run=False) as http:
        wrong = []
        for name, role in REACHING:
            path = name.split(" ")[1].format(**UNKNOWN)
            status = await status_of(http, name, path, token=http.tokens[role])
            if (status == 403) is (role in WHO_MAY[name]) or status in (401, 500):
                wrong.append((name, role, status))

    assert len(REACHING) == len(ROUTES) * len(ALL)
    assert wrong == []


@pytest.mark.parametrize("kind", ["none", "unknown", "revoked", "expired", "roleless", "basic"])
async def test_without_a_valid_token_every_route_is_closed(kind: str) -> None:
    """No token, a wrong, revoked or ended one: 401 everywhere; one without any role: 403."""
    async with serving_world(run=False) as http:
        token = {"none": "", "unknown": "gitopsd_nobody-made-this", "basic": ""}.get(kind, "")
        if kind == "revoked":
            token = await http.token("gone", "admin")
            listed = (await http.get("/tokens"))["items"]
            gone = next(row["id"] for row in listed if row["subject"] == "gone")
            await http.post(f"/tokens/{gone}/revoke")
        elif kind == "expired":
            token = await http.token("old", "admin", lasts=timedelta(seconds=-1))
        elif kind == "roleless":
            token = await http.token("nobody")
        answers = {
            await status_of(http, name, name.split(" ")[1].format(**UNKNOWN), token=token)
            for name in WHO_MAY
        }

    assert answers == ({403} if kind == "roleless" else {401})


async def test_a_refused_credential_is_told_how_to_come_back() -> None:
    """401 names the scheme and says nothing about what was wrong."""
    async with serving_world(run=False) as http:
        reply = await http.ask("GET", "/applications", token="gitopsd_wrong")
        basic = await http.ask(
            "GET", "/applications", token="", headers={"Authorization": "Basic YTpi"}
        )

    assert reply.headers["WWW-Authenticate"] == 'Bearer realm="gitopsd"'
    assert reply.document["detail"] == basic.document["detail"] == "The request has no valid token."
    assert "gitopsd token create" in reply.document["remedy"]


def paths_of(busy: Busy) -> dict[str, str]:
    """Paths of everything that is there, by route."""
    values = {
        "app": "shop",
        "stage": "production",
        "group": "none",
        "run": busy.waiting,
        "release": busy.release,
        "sha": busy.commit,
        "quarantine": busy.quarantine,
        "freeze": busy.freeze,
        "token": "none",
    }
    return {name: name.split(" ")[1].format(**values) for name in WHO_MAY}


async def test_a_token_of_another_application_sees_and_does_nothing_here() -> None:
    """What may not be seen is not there: 404 for things, empty lists, 403 for what concerns all."""
    async with serving_world() as http:
        busy = await make_busy(http)
        paths = paths_of(busy)
        token = await http.token("narrow", "admin", applications=("other",))
        statuses = {
            name: await status_of(http, name, path, token=token) for name, path in paths.items()
        }
        lists = [
            (await http.ask("GET", path, token=token)).document
            for path in ("/applications", "/approvals", "/quarantines")
        ]
        commits = (await http.ask("GET", paths["GET /commits/{sha}"], token=token)).document

    listed = {"GET /applications", "GET /approvals", "GET /quarantines", "GET /freezes"}
    open_to_it = listed | {"GET /commits/{sha}", "GET /events", "GET /openapi.json"}
    open_to_it |= {"GET /commits/{sha}/explain"}
    about_all = {
        *EVERYWHERE,
        "GET /configuration",
        "POST /configuration/confirm-removals",
        "GET /tokens",
        "POST /tokens",
        "POST /tokens/{token}/revoke",
    }
    mine = {"POST /freezes/{freeze}/thaw"}  # the freeze of its own application is its own to end
    for name, status in statuses.items():
        expected = 404
        if name in open_to_it | mine:
            expected = 200
        elif name in about_all or name == "POST /freezes":
            expected = 403
        assert (name, status) == (name, expected)
    assert all(one["items"] == [] for one in lists)
    assert lists[1]["waiting"] == []
    assert commits["stages"] == []


async def test_a_role_for_one_application_changes_nothing_in_another() -> None:
    """Who may look everywhere and deploy elsewhere is refused every verb here."""
    async with serving_world() as http:
        busy = await make_busy(http)
        configuration = http.world.configuration[0]
        people = People(
            persons=(Person("kim", groups=("elsewhere",)),),
            bindings=(
                RoleBinding("viewer", ("user:kim",)),
                RoleBinding("deployer", ("group:elsewhere",), ("other",)),
                RoleBinding("approver", ("group:elsewhere",), ("other",)),
            ),
        )
        http.world.configuration[0] = replace(configuration, people=people)
        token = await http.token("kim")
        paths = paths_of(busy)
        verbs = {
            name: await status_of(http, name, path, token=token)
            for name, path in paths.items()
            if name.startswith("POST") and name != "POST /freezes/{freeze}/thaw"
        }
        shown = await status_of(http, "GET /runs/{run}", paths["GET /runs/{run}"], token=token)
        everything = await http.ask("POST", "/freezes", token=token, body={"scope": "*"})
        one = {"scope": "stage:shop/production"}
        stage = await http.ask("POST", "/freezes", token=token, body=one)

    assert stage.status == 403
    assert set(verbs.values()) == {403}, verbs
    assert shown == 200
    assert everything.status == 403
    assert everything.document["detail"] == "kim may not deploy all applications."


async def test_who_may_not_is_in_the_audit_log() -> None:
    """What somebody known wanted to change and was not let, with why; reading leaves no entry."""
    async with serving_world() as http:
        busy = await make_busy(http)
        path = f"/runs/{busy.waiting}"
        await http.ask("POST", f"{path}/approve", role="deployer")
        await http.ask("POST", f"{path}/skip", role="approver", body={"gate": "x", "reason": "y"})
        await http.ask("GET", "/tokens", role="viewer")
        log = (await http.get("/audit"))["items"]

    told = [(row["subject"], row["action"], row["target"], row["outcome"]) for row in log[:3]]
    assert told[:2] == [
        (
            "approver-person",
            "skip",
            busy.waiting,
            "refused: approver-person may not skip gates of any application.",
        ),
        (
            "deployer-person",
            "approve",
            busy.waiting,
            "refused: deployer-person may not approve any application.",
        ),
    ]
    assert told[2][0] == "alex"


@pytest.mark.parametrize("how", ["revoked", "expired"])
async def test_a_vote_with_a_token_that_ended_is_in_the_audit_log(how: str) -> None:
    """401 says nothing of what was wrong; the log says whose token it was and when it ended."""
    async with serving_world() as http:
        busy = await make_busy(http)
        lasts = timedelta(seconds=-1) if how == "expired" else None
        token = await http.token("kim", "approver", groups=("release-managers",), lasts=lasts)
        listed = (await http.get("/tokens"))["items"]
        kept = next(row["id"] for row in listed if row["subject"] == "kim")
        if how == "revoked":
            await http.post(f"/tokens/{kept}/revoke")
        reply = await http.ask("POST", f"/runs/{busy.waiting}/approve", token=token)
        read = await http.ask("GET", f"/runs/{busy.waiting}", token=token)
        log = (await http.get("/audit"))["items"]
        votes = (await http.get("/approvals"))["items"]

    assert (reply.status, read.status) == (401, 401)
    assert reply.document["detail"] == "The request has no valid token."
    mine = [row for row in log if row["subject"] == "kim"]
    assert [(row["action"], row["target"]) for row in mine] == [("approve", busy.waiting)]
    word = "was revoked" if how == "revoked" else "ended"
    assert mine[0]["outcome"].startswith(f"refused: token {kept} {word} at ")
    assert votes == []


async def test_roles_of_people_follow_the_file_at_once() -> None:
    """A role that leaves people.yaml is gone with the next request."""
    async with serving_world(run=False) as http:
        token = await http.token("kim")
        configuration = http.world.configuration[0]
        bound = People(bindings=(RoleBinding("viewer", ("user:kim",)),))
        http.world.configuration[0] = replace(configuration, people=bound)
        allowed = await http.ask("GET", "/applications", token=token)
        http.world.configuration[0] = configuration
        refused = await http.ask("GET", "/applications", token=token)

    assert (allowed.status, refused.status) == (200, 403)


async def nothing(_: Call) -> web.Response:
    """A handler."""
    raise ProblemError(500, "never called")


async def plain(_: web.Request) -> web.Response:
    """A handler without a route."""
    return web.Response()


def test_a_route_without_declared_access_stops_the_start() -> None:
    """Nothing is reachable because somebody forgot to protect it."""
    app = web.Application()
    app.router.add_route("GET", "/forgotten", plain)

    with pytest.raises(PermanentError, match="route GET /forgotten declares no access"):
        refuse_undeclared(app)


def test_no_route_of_the_api_is_public() -> None:
    """A route of the API always asks for a credential; a plain handler can only be public."""
    with pytest.raises(PermanentError, match="may not be public"):
        add_routes(web.Application(), "", [Route("GET", "/x", nothing, Access.PUBLIC, "Never.")])
    with pytest.raises(PermanentError, match="only public handlers"):
        declare(plain, Access.READ)


async def test_the_last_use_of_a_token_is_known_to_the_minute() -> None:
    """Tokens nobody uses can be found; using one does not write at every request."""
    async with serving_world(run=False) as http:
        await http.get("/freezes", role="viewer")
        first = (await http.get("/tokens"))["items"]
        await http.get("/freezes", role="viewer")
        second = (await http.get("/tokens"))["items"]

    used = [
        next(row["lastUsedAt"] for row in rows if row["subject"] == "viewer-person")
        for rows in (first, second)
    ]
    assert used[0] is not None
    assert used[0] == used[1]
