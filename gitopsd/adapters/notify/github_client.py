"""GitHub's REST API: signing in by token or as an App, one request, and what answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from gitopsd.adapters.notify.outgoing import (
    LONGEST_PAUSE,
    USER_AGENT,
    Outgoing,
    UnclearError,
    UnsentError,
    find_pause,
    read_token,
)
from gitopsd.adapters.secret_files import load_secret
from gitopsd.domain.channels import ChannelSpec
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import MISCONFIGURED, MISCONFIGURED_PART, Clock
from gitopsd.webhooks.urls import parse_repository_url

if TYPE_CHECKING:
    from gidgethub.aiohttp import GitHubAPI

PUBLIC_URL = "https://api.github.com"
API_VERSION = "2022-11-28"
ACCEPT = "application/vnd.github+json"

EARLY = timedelta(minutes=5)
"""A token of an installation lasts an hour and is replaced this much earlier."""

SECONDARY_PAUSE = timedelta(minutes=1)
"""Shortest pause that GitHub asks for when a limit says nothing else."""

_SUCCESS = range(200, 300)
_REDIRECTS = range(300, 400)
_SERVER_ERRORS = range(500, 600)
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_NOT_NOW = (408, 425, 429)
_PUBLIC_HOSTS = ("github.com", "www.github.com", "ssh.github.com")
_NOT_MODIFIED = 304
_CONDITIONS = ("if-none-match", "if-modified-since")
_CACHED_ANSWERS = 200


@dataclass(frozen=True, slots=True)
class GitHubRights:
    """What is asked of an App's installation, and of whoever made a token.

    Attributes:
        permissions: Permissions of the App's token.
        words: The same for people.
    """

    permissions: Mapping[str, str]
    words: str


REPORTING = GitHubRights(
    {"statuses": "write", "deployments": "write", "metadata": "read"},
    "Commit statuses and Deployments (read and write)",
)
"""For showing how commits stand."""

READING_CHECKS = GitHubRights(
    {"statuses": "read", "checks": "read", "metadata": "read"},
    "Checks and Commit statuses (read)",
)
"""For reading how the checks of commits stand."""


class AnswerError(Exception):
    """GitHub answered with something other than success.

    Args:
        status: HTTP status.
        headers: Lower-case header names -> values.
        said: GitHub's own words, redacted.
    """

    def __init__(self, status: int, headers: Mapping[str, str], said: str) -> None:
        super().__init__(f"{status}: {said}")
        self.status = status
        self.headers = headers
        self.said = said


class NotThereError(PermanentError):
    """GitHub has no such thing, or does not let us see it."""


@dataclass(frozen=True, slots=True)
class _Token:
    value: str
    until: datetime


class GitHubClient:
    """Asks GitHub's REST API.

    Args:
        outgoing: Connections.
        clock: Time.
        base_url: Address of the API; empty for the public one.
        rights: What it is used for.
        conditional: Whether what was read before is only asked for if it changed: such an answer
            does not count against GitHub's limits.
    """

    def __init__(
        self,
        outgoing: Outgoing,
        clock: Clock,
        base_url: str = "",
        *,
        rights: GitHubRights = REPORTING,
        conditional: bool = False,
    ) -> None:
        self._outgoing = outgoing
        self._clock = clock
        self._rights = rights
        self._conditional = conditional
        # Of each channel its own: what one credential sees, another may not.
        self._read: dict[ChannelSpec, _Answers] = {}
        self._base_url = (base_url or PUBLIC_URL).rstrip("/")
        self._tokens: dict[tuple[ChannelSpec, str], _Token] = {}

    def find_repository(self, channel: ChannelSpec, repo: str) -> str:
        """Tell ``OWNER/NAME`` of a repository at this GitHub; empty when it is elsewhere."""
        if channel.repository:
            return channel.repository
        address = parse_repository_url(repo)
        own = (urlsplit(self._base_url).hostname or "").removeprefix("api.")
        if address is None or address.host not in (own, *_PUBLIC_HOSTS):
            return ""
        parts = address.path.split("/")
        return address.path if len(parts) == 2 and all(parts) else ""  # noqa: PLR2004 - owner and name

    async def get(self, channel: ChannelSpec, repository: str, path: str) -> Any:
        """Read something of a repository; raises like `post`."""
        return await self._ask(channel, repository, path)

    async def post(self, channel: ChannelSpec, repository: str, path: str, body: Any) -> Any:
        """Make something in a repository.

        Args:
            channel: Says how to sign in.
            repository: ``OWNER/NAME``.
            path: What is below the repository, with a slash before it.
            body: What to make.

        Raises:
            UnsentError: It was not made, and may be later.
            UnclearError: It may have been made or not.
            NotThereError: What it belongs to is not there, or the repository is not.
            PermanentError: It will never be made; with the reason ``MISCONFIGURED``, or
                ``MISCONFIGURED_PART`` of a repository, not before a person changes something.
        """
        return await self._ask(channel, repository, path, body)

    async def _ask(self, channel: ChannelSpec, repository: str, path: str, body: Any = None) -> Any:
        where = f"channel {channel.name}: GitHub"
        try:
            token = await self._token(channel, where, repository)
            return await self._request(
                where,
                f"/repos/{repository}{path}",
                body,
                oauth_token=token,
                read=self._read.setdefault(channel, _Answers()) if self._conditional else None,
            )
        except AnswerError as error:
            if error.status == _UNAUTHORIZED:
                self._tokens.clear()
            raise self._judge(channel, where, repository, error) from error

    async def _request(
        self,
        where: str,
        path: str,
        body: Any = None,
        *,
        jwt: str | None = None,
        oauth_token: str | None = None,
        read: _Answers | None = None,
    ) -> Any:
        """Post ``body``, or get when there is none."""
        from gidgethub import HTTPException

        api = _api_class()(
            self._outgoing.session(), USER_AGENT, base_url=self._base_url, cache=read
        )
        try:
            async with self._outgoing.request_to(where):
                if body is None:
                    return await api.getitem(path, accept=ACCEPT, jwt=jwt, oauth_token=oauth_token)
                return await api.post(
                    path, data=body, accept=ACCEPT, jwt=jwt, oauth_token=oauth_token
                )
        except HTTPException as error:
            raise UnclearError(f"{where}: {redact_clause(str(error))}") from error
        except (KeyError, RecursionError, TypeError, ValueError) as error:
            # What is no JSON trips the client up in its own ways.
            raise UnclearError(f"{where} answered something that is not its own") from error

    async def _token(self, channel: ChannelSpec, where: str, repository: str) -> str:
        if not channel.app_id:
            return read_token(where, channel.token_file)
        known = self._tokens.get((channel, repository))
        if known is not None and self._clock.now() < known.until - EARLY:
            return known.value
        signed = self._sign_in(channel, where)
        installation = channel.installation_id
        if not installation:
            found = await self._request(where, f"/repos/{repository}/installation", jwt=signed)
            installation = str(found.get("id") if isinstance(found, Mapping) else "")
        answer = await self._request(
            where,
            f"/app/installations/{installation}/access_tokens",
            {
                "repositories": [repository.partition("/")[2]],
                "permissions": dict(self._rights.permissions),
            },
            jwt=signed,
        )
        token = _read_token(where, answer)
        self._tokens[channel, repository] = token
        return token.value

    def _sign_in(self, channel: ChannelSpec, where: str) -> str:
        """Make the App's own short-lived token.

        ``iat`` lies back a minute because clocks differ; GitHub takes ten minutes at most.
        """
        import jwt

        try:
            key = load_secret(channel.key_file)
        except PermanentError as error:  # a file that is being replaced comes back
            raise UnsentError(f"{where}: {error.message}") from error
        now = int(self._clock.now().timestamp())
        claims = {"iat": now - 60, "exp": now + 540, "iss": channel.app_id}
        try:
            return jwt.encode(claims, key, algorithm="RS256")
        except (jwt.PyJWTError, TypeError, ValueError) as error:
            message = f"{where}: {channel.key_file} holds no RSA private key of a GitHub App"
            raise PermanentError(message, reason=MISCONFIGURED) from error

    def _judge(
        self, channel: ChannelSpec, where: str, repository: str, error: AnswerError
    ) -> TemporaryError | PermanentError:
        status, now = error.status, self._clock.now()
        said = f"{where} answered {status}" + (f": {error.said}" if error.said else "")
        limit = self._find_limit(error, now)
        if limit is not None:
            return UnsentError(said, retry_after=limit)
        if status in _NOT_NOW:
            return UnsentError(said, retry_after=find_pause(error.headers, now))
        if status in _SERVER_ERRORS:
            return UnclearError(said, retry_after=find_pause(error.headers, now))
        remedy = _advise(channel, repository, status, self._rights)
        if not remedy:
            return PermanentError(said)
        kind = NotThereError if status == _NOT_FOUND else PermanentError
        reason = MISCONFIGURED if status == _UNAUTHORIZED else MISCONFIGURED_PART
        return kind(f"{said}. {remedy}", reason=reason)

    def _find_limit(self, error: AnswerError, now: datetime) -> timedelta | None:
        """Find how long a limit lasts, as GitHub documents it; None when it is no limit."""
        if error.status not in (_FORBIDDEN, 429):
            return None
        asked = find_pause(error.headers, now)
        if asked is not None:
            return asked
        reset = error.headers.get("x-ratelimit-reset", "")
        if error.headers.get("x-ratelimit-remaining") == "0" and reset[:11].isdecimal():
            wait = datetime.fromtimestamp(int(reset[:11]), UTC) - now
            return min(max(wait, timedelta(seconds=1)), LONGEST_PAUSE)
        limited = error.status != _FORBIDDEN or "rate limit" in error.said.lower()
        return SECONDARY_PAUSE if limited else None


class _Answers(dict[str, Any]):
    """What was read, by address; the oldest goes when there is too much."""

    def __setitem__(self, address: str, answer: Any) -> None:
        self.pop(address, None)
        super().__setitem__(address, answer)
        if len(self) > _CACHED_ANSWERS:
            del self[next(iter(self))]


@cache
def _api_class() -> type[GitHubAPI]:
    from gidgethub.aiohttp import GitHubAPI

    class Api(GitHubAPI):
        """The client with the version of the API, and without redirects: they lose the body."""

        async def _request(
            self, method: str, url: str, headers: Mapping[str, str], body: bytes = b""
        ) -> tuple[int, Mapping[str, str], bytes]:
            versioned = {**headers, "x-github-api-version": API_VERSION}
            async with self._session.request(
                method, url, headers=versioned, data=body, allow_redirects=False
            ) as response:
                content = await response.read()
                lower = {name.lower(): value for name, value in response.headers.items()}
                known = any(name in headers for name in _CONDITIONS)
                unchanged = response.status == _NOT_MODIFIED and known
                if response.status not in _SUCCESS and not unchanged:
                    raise AnswerError(response.status, lower, _read_words(content))
                # Limits are judged by what refuses, not by counting; a wrong count trips it up.
                kept = {name: value for name, value in lower.items() if "ratelimit" not in name}
                return response.status, kept, content

    return Api


def _read_words(content: bytes) -> str:
    import orjson

    try:
        said = orjson.loads(content)
    except orjson.JSONDecodeError:
        return redact_clause(content[:1000].decode("utf-8", "replace"))
    message = said.get("message") if isinstance(said, dict) else ""
    errors = said.get("errors") if isinstance(said, dict) else None
    more = [
        str(one.get("message") or one.get("code") or "") if isinstance(one, dict) else str(one)
        for one in (errors if isinstance(errors, list) else [])[:5]
    ]
    return redact_clause("; ".join(part for part in (str(message or ""), *more) if part))


def _read_token(where: str, answer: Any) -> _Token:
    try:
        until = datetime.fromisoformat(answer["expires_at"])
        token = answer["token"]
    except (KeyError, TypeError, ValueError) as error:
        raise UnclearError(f"{where} answered something that is no token") from error
    if not isinstance(token, str) or not token or until.tzinfo is None:
        raise UnclearError(f"{where} answered something that is no token")
    return _Token(token, until)


def _advise(channel: ChannelSpec, repository: str, status: int, rights: GitHubRights) -> str:
    """Say what a person must change; empty when it is this one request that is wrong."""
    file = channel.key_file if channel.app_id else channel.token_file
    if status == _UNAUTHORIZED:
        return f"Put a token, or an App's key, that counts into {file}"
    if status == _FORBIDDEN:
        return f"Give what {file} stands for the permissions {rights.words} in {repository}"
    if status == _NOT_FOUND:
        return f"Let what {file} stands for see the repository {repository}, or correct its name"
    if status in _REDIRECTS:
        return f"{repository} moved, or GITOPSD_GITHUB__BASE_URL does: write the new address"
    return ""
