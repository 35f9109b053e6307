"""A GitHub of the tests' own: statuses, deployments, Apps, limits, and every way to be ill."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer

from gitopsd.ports import Clock
from tests.support.odd_answers import Odd, finish

TOKEN = "ghp_madeUpForThisTest"
REPOSITORY = "acme/shop-deploy"
_DESCRIPTION = 140
Body: TypeAlias = dict[str, Any]


@dataclass
class GitHubServer:
    """One host with one repository.

    Attributes:
        url: Address of its REST API.
        clock: Its time.
        odd: What it does instead of answering well.
        statuses: (sha, status) in the order in which they were made.
        deployments: What was made, with ``id`` and ``statuses``.
        calls: ``METHOD path`` in order.
        headers: Headers of the last request, by lower-case name.
        tokens: Tokens that count.
        app_key: Public key of the App; None when there is none.
        check_runs: Commit -> its check runs, as the API shows them.
        contexts: Commit -> the newest status of each context.
        unchanged: How often it answered that nothing changed.
        permissions: What tokens of installations were last asked for.
    """

    url: str = ""
    clock: Clock | None = None
    odd: Odd = field(default_factory=Odd)
    statuses: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    app_key: Any = None
    check_runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    contexts: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    unchanged: int = 0
    permissions: Any = None

    def states(self, context: str) -> list[str]:
        """States that a context had, in order."""
        return [one["state"] for _, one in self.statuses if one["context"] == context]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.calls.append(f"{request.method} {request.path}")
        self.headers = {name.lower(): value for name, value in request.headers.items()}
        body = await request.json() if request.can_read_body else {}
        instead = await self.odd.answer(request)
        if instead is not None:
            return instead
        status, answer = self._route(request, body)
        said = web.json_response(answer, status=status)
        if request.method == "GET":
            said.headers["ETag"] = f'W/"{hashlib.sha256(said.body or b"").hexdigest()}"'  # type: ignore[arg-type]  # bytes here
            if request.headers.get("If-None-Match") == said.headers["ETag"]:
                self.unchanged += 1
                said = web.Response(status=304, headers={"ETag": said.headers["ETag"]})
        return finish(request, said)

    def _route(self, request: web.Request, body: Body) -> tuple[int, Any]:
        token = request.headers.get("Authorization", "").partition(" ")[2]
        path = request.path
        if path.startswith("/app/") or path.endswith("/installation"):
            self.permissions = body.get("permissions")
            return self._sign_in(path, token)
        if token not in self.tokens:
            return 401, {"message": "Bad credentials"}
        inside = path.removeprefix(f"/repos/{REPOSITORY}")
        if inside == path:
            return 404, {"message": "Not Found"}
        for method, pattern, do in _ROUTES:
            found = re.fullmatch(pattern, inside)
            if request.method == method and found:
                answer: tuple[int, Any] = do(self, request, body, *found.groups())
                return answer
        return 404, {"message": "Not Found"}

    def _sign_in(self, path: str, token: str) -> tuple[int, Any]:
        assert self.clock is not None
        now = self.clock.now()
        try:
            claims = jwt.decode(
                token,
                self.app_key,
                algorithms=["RS256"],
                options={"verify_exp": False, "verify_iat": False},
            )
        except jwt.PyJWTError:
            return 401, {"message": "A JSON web token could not be decoded"}
        begun, ends = (datetime.fromtimestamp(claims[name], UTC) for name in ("iat", "exp"))
        if not begun <= now < ends or ends - now > timedelta(minutes=10) or claims["iss"] != "77":
            return 401, {"message": "the claims are wrong"}
        if path.endswith("/installation"):
            return 200, {"id": 4711}
        made = f"ghs_made{len(self.calls)}"
        self.tokens.add(made)
        until = now + timedelta(hours=1)
        return 201, {"token": made, "expires_at": until.isoformat().replace("+00:00", "Z")}

    def _make_status(self, _: web.Request, body: Body, sha: str) -> tuple[int, Any]:
        if len(body.get("description", "")) > _DESCRIPTION:
            return 422, {"message": "Validation Failed", "errors": ["description is too long"]}
        if any(ord(sign) > 0xFFFF for sign in body.get("description", "")):
            errors = [{"message": "description doesn't accept 4-byte Unicode"}]
            return 422, {"message": "Validation Failed", "errors": errors}
        self.statuses.append((sha, body))
        return 201, {**body, "id": len(self.statuses)}

    def _list_statuses(self, _: web.Request, __: Body, sha: str) -> tuple[int, Any]:
        return 200, [one for of, one in reversed(self.statuses) if of == sha]

    def _list_check_runs(self, request: web.Request, _: Body, sha: str) -> tuple[int, Any]:
        rows = self.check_runs.get(sha, [])
        return 200, {"total_count": len(rows), "check_runs": _page(request, rows)}

    def _combine(self, request: web.Request, _: Body, sha: str) -> tuple[int, Any]:
        rows = self.contexts.get(sha, [])
        return 200, {"total_count": len(rows), "statuses": _page(request, rows)}

    def _make_deployment(self, _: web.Request, body: Body) -> tuple[int, Any]:
        if body.get("auto_merge", True) or body.get("required_contexts") != []:
            return 409, {"message": "Conflict merging main into what is deployed"}
        made = {**body, "id": 900 + len(self.deployments), "sha": body["ref"], "statuses": []}
        self.deployments.append(made)
        return 201, made

    def _list_deployments(self, request: web.Request, _: Body) -> tuple[int, Any]:
        wanted = {key: request.query[key] for key in ("sha", "environment") if key in request.query}
        return 200, [
            one
            for one in reversed(self.deployments)
            if all(one[key] == value for key, value in wanted.items())
        ]

    def _say_of(self, _: web.Request, body: Body, number: str) -> tuple[int, Any]:
        found = [one for one in self.deployments if str(one["id"]) == number]
        if not found or len(body.get("description", "")) > _DESCRIPTION:
            return 404, {"message": "Not Found"}
        found[0]["statuses"].append(body)
        return 201, body

    def _list_said(self, _: web.Request, __: Body, number: str) -> tuple[int, Any]:
        found = [one for one in self.deployments if str(one["id"]) == number]
        return 200, list(reversed(found[0]["statuses"]))


def _page(request: web.Request, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    size, number = int(request.query.get("per_page", 30)), int(request.query.get("page", 1))
    return rows[(number - 1) * size : number * size]


_ROUTES: Any = (
    ("GET", r"/commits/(\w+)/check-runs", GitHubServer._list_check_runs),
    ("GET", r"/commits/(\w+)/status", GitHubServer._combine),
    ("POST", r"/statuses/(\w+)", GitHubServer._make_status),
    ("GET", r"/commits/(\w+)/statuses", GitHubServer._list_statuses),
    ("POST", r"/deployments", GitHubServer._make_deployment),
    ("GET", r"/deployments", GitHubServer._list_deployments),
    ("POST", r"/deployments/(\d+)/statuses", GitHubServer._say_of),
    ("GET", r"/deployments/(\d+)/statuses", GitHubServer._list_said),
)


@asynccontextmanager
async def run_github(clock: Clock) -> AsyncIterator[GitHubServer]:
    """Run one on a free port of this machine."""
    github = GitHubServer(clock=clock)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", github.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        github.url = str(server.make_url("/"))
        yield github
        github.odd.ending.set()
