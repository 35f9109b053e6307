"""Logging in to registries: tokens by the Docker token protocol, or Basic.

A registry answers 401 and says where tokens are had; a token is fetched there, with the credential
when that host may have it, and kept until shortly before it ends. Source: the Distribution
project's "Token Authentication Specification".
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import SplitResult, urlencode, urlsplit

from gitopsd.adapters.registry.challenges import Challenge, parse_challenges
from gitopsd.adapters.registry.credentials import Credential
from gitopsd.adapters.registry.documents import parse_json_object
from gitopsd.adapters.registry.endpoints import Endpoint, host_of
from gitopsd.adapters.registry.transfer import Answer, Transfer
from gitopsd.errors import TemporaryError
from gitopsd.kube.redaction import redact_clause
from gitopsd.ports import Clock

DEFAULT_LIFE = timedelta(seconds=60)
"""Of a token whose answer does not say (Token Authentication Specification)."""

LONGEST_LIFE = timedelta(hours=12)
"""A token that claims to live longer is fetched anew then all the same."""

MARGIN = 0.9
"""Share of its life after which a token is fetched anew."""

CREDENTIAL_RETRY = timedelta(seconds=60)
MOST_KEPT = 1000
_LARGEST_TOKEN = 128 * 1024
_OK = 200
_REFUSED = (400, 401, 403, 404)


@dataclass(frozen=True, slots=True)
class _Kept:
    """What ``Authorization`` is until when."""

    authorization: str
    until: float


class Logins:
    """What each registry wants to see in ``Authorization``, for each image.

    Args:
        transfer: Sends the requests for tokens.
        clock: Tells when a token ends.
    """

    def __init__(self, transfer: Transfer, clock: Clock) -> None:
        self._transfer = transfer
        self._clock = clock
        self._kept: dict[tuple[str, str, str], _Kept] = {}
        self._asking: dict[tuple[str, str, str], asyncio.Lock] = {}

    def recall(self, endpoint: Endpoint, credential: Credential | None) -> str:
        """Tell what was accepted last for an image; empty when nothing was, or it has ended."""
        kept = self._kept.get(_key(endpoint, credential))
        return kept.authorization if kept and kept.until > self._clock.monotonic() else ""

    async def answer(
        self, endpoint: Endpoint, credential: Credential | None, refused: Answer, tried: str
    ) -> str:
        """Find what a registry wants to see that answered 401.

        Args:
            endpoint: The image's registry.
            credential: Who asks; None to ask anonymously.
            refused: The answer 401.
            tried: What the request carried.

        Raises:
            TemporaryError: ``Credential``, when there is no way in with what there is.
            PermanentError: The address that the registry names cannot be asked.
        """
        key = _key(endpoint, credential)
        async with self._asking.setdefault(key, asyncio.Lock()):
            known = self.recall(endpoint, credential)
            if known and known != tried:
                return known  # another request of this image has just logged in
            challenges = parse_challenges(refused.headers.get("www-authenticate", ""))
            found = {challenge.scheme: challenge for challenge in challenges}
            if "bearer" in found:
                kept = await self._fetch_token(endpoint, credential, found["bearer"])
            elif "basic" in found and credential is not None and tried != credential.basic:
                kept = _Kept(credential.basic, float("inf"))
            else:
                raise refuse_login(endpoint, credential, refused)
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
                self._asking = {key: self._asking[key]}
            self._kept[key] = kept
            return kept.authorization

    async def _fetch_token(
        self, endpoint: Endpoint, credential: Credential | None, challenge: Challenge
    ) -> _Kept:
        realm = challenge.parameters.get("realm", "")
        parts = _split_realm(realm)
        if parts is None:
            message = f"registry {endpoint.host}: tokens are had at {redact_clause(realm)!r}"
            raise TemporaryError(f"{message}, which is no address", reason="BadAnswer")
        if credential is not None:
            _check_realm(endpoint, realm)
        query = {
            "service": challenge.parameters.get("service", ""),
            "scope": f"repository:{endpoint.repository}:pull",
        }
        asked = urlencode({name: value for name, value in query.items() if value})
        headers = {"Authorization": credential.basic} if credential is not None else {}
        ca_file = endpoint.spec.ca_file if endpoint.spec is not None else ""
        answer = await self._transfer.send(
            "GET",
            f"{realm}{'&' if parts.query else '?'}{asked}",
            headers,
            largest=_LARGEST_TOKEN,
            ca_file=ca_file if host_of(realm) in endpoint.trusted_hosts else "",
        )
        if answer.status in _REFUSED:
            raise refuse_login(endpoint, credential, answer)
        document = parse_json_object(answer.body) if answer.status == _OK else None
        token = _find_token(document or {})
        if not token:
            message = f"{parts.hostname} gave no token for {endpoint.host}: HTTP {answer.status}"
            raise TemporaryError(message, reason="BadAnswer")
        life = _find_life(document or {})
        return _Kept(f"Bearer {token}", self._clock.monotonic() + life.total_seconds() * MARGIN)


def _key(endpoint: Endpoint, credential: Credential | None) -> tuple[str, str, str]:
    mark = credential.mark if credential is not None else ""
    return (endpoint.url, endpoint.repository, mark)


def _split_realm(realm: str) -> SplitResult | None:
    """Split the address that tokens are had at; None when it is none, or names a user itself."""
    try:
        parts = urlsplit(realm)
        port = parts.port
    except ValueError:
        return None
    usable = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc
    return parts if usable and port != 0 else None


def _check_realm(endpoint: Endpoint, realm: str) -> None:
    """Send a credential only where it belongs.

    Raises:
        TemporaryError: ``Credential``, when the registry names a host that may not have it.
    """
    plain = urlsplit(realm).scheme == "http" and urlsplit(endpoint.url).scheme == "https"
    if host_of(realm) in endpoint.trusted_hosts and not plain:
        return
    name = endpoint.spec.name if endpoint.spec is not None else endpoint.host
    why = "over plain HTTP" if plain else "and no file says that it may have the credential"
    raise TemporaryError(
        f"registry {endpoint.host}: tokens are had at {host_of(realm)}, {why}. If that is right, "
        f"write `tokenHosts: [{host_of(realm)}]` into registry {name}",
        retry_after=CREDENTIAL_RETRY,
        reason="Credential",
    )


def refuse_login(
    endpoint: Endpoint, credential: Credential | None, answer: Answer
) -> TemporaryError:
    """Say that a registry does not let us see an image."""
    said = describe_errors(answer)
    whose = "our credential" if credential is not None else "to be asked without a credential"
    remedy = (
        "Check the credential file of"
        if credential is not None
        else "Give it a credentialFile in registries/ if the image is private:"
    )
    return TemporaryError(
        f"registry {endpoint.host} refuses {whose} for {endpoint.repository}: "
        f"HTTP {answer.status}{f' {said}' if said else ''}. {remedy} {endpoint.host}",
        retry_after=CREDENTIAL_RETRY,
        reason="Credential",
    )


def describe_errors(answer: Answer) -> str:
    """Say what a registry says about an error (OCI distribution specification, "Error codes")."""
    errors = (parse_json_object(answer.body) or {}).get("errors")
    if not isinstance(errors, list):
        return ""
    words = []
    for error in errors[:3]:
        if isinstance(error, Mapping):
            code, message = error.get("code"), error.get("message")
            words.append(" ".join(str(word) for word in (code, message) if word))
    return redact_clause("; ".join(words)[:300])


def _find_token(document: Mapping[str, object]) -> str:
    for name in ("token", "access_token"):
        token = document.get(name)
        if isinstance(token, str) and token.isascii() and token.isprintable() and token:
            return token
    return ""


def _find_life(document: Mapping[str, object]) -> timedelta:
    seconds = document.get("expires_in")
    if isinstance(seconds, int | float) and not isinstance(seconds, bool) and seconds > 0:
        return timedelta(seconds=min(seconds, LONGEST_LIFE.total_seconds()))
    return DEFAULT_LIFE
