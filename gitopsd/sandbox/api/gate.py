"""Lets requests in: who asks, as whom, and whether that one may."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

from gitopsd.sandbox.api.identity import ANONYMOUS, User, parse_account, parse_bearer
from gitopsd.sandbox.api.identity import parse_impersonation as read_impersonation
from gitopsd.sandbox.api.rights import Act
from gitopsd.sandbox.objects.status_errors import StatusError, unauthorized

if TYPE_CHECKING:
    from datetime import datetime

    from multidict import CIMultiDictProxy

    from gitopsd.domain.manifests import JsonObject
    from gitopsd.sandbox.api.identity import Tokens
    from gitopsd.sandbox.api.paths import Asked
    from gitopsd.sandbox.api.rights import Rights

# What a load balancer or a person may ask without saying who they are.
PUBLIC = ("/healthz", "/livez", "/readyz", "/version")
FORBIDDEN = 403
_EXTRA = "impersonate-extra-"


class Gate:
    """Authentication, impersonation and authorization, in this order."""

    def __init__(self, tokens: Tokens, rights: Rights) -> None:
        self._tokens = tokens
        self._rights = rights

    def identify(self, headers: CIMultiDictProxy[str], path: str, now: datetime) -> User:
        """Who asks.

        Raises:
            StatusError: Nobody is known to, and the path is none of the public ones.
        """
        token = parse_bearer(headers.get("Authorization", ""))
        user = self._tokens.find(token, now) if token else None
        if user is not None:
            return user
        if not token and any(path == item or path.startswith(f"{item}/") for item in PUBLIC):
            return ANONYMOUS
        raise unauthorized()

    def impersonate(self, user: User, headers: CIMultiDictProxy[str]) -> User | None:
        """As whom the request is made; None when as himself.

        Raises:
            StatusError: The user may not act as that one.
        """
        name = headers.get("Impersonate-User", "")
        groups = headers.getall("Impersonate-Group", [])
        uid = headers.get("Impersonate-Uid", "")
        extra: dict[str, tuple[str, ...]] = {}
        for header, value in headers.items():
            if header.lower().startswith(_EXTRA):
                field = unquote(header[len(_EXTRA) :].lower())
                extra[field] = (*extra.get(field, ()), value)
        if not name:
            if groups or uid or extra:
                message = "requested impersonation without specifying a user name"
                raise StatusError(500, "InternalError", f"Internal error occurred: {message}")
            return None
        for act, kind in _needed(name, groups, uid, extra):
            if not self._rights.may(user, act):
                raise _refuse(user, act, kind)
        return read_impersonation(name, groups, uid, extra)

    def authorize(self, user: User, asked: Asked) -> None:
        """Let a request through.

        Raises:
            StatusError: The user may not.
        """
        if user is ANONYMOUS:
            return
        if asked.resource:
            part = f"/{asked.subresource}" if asked.subresource else ""
            act = Act(
                asked.verb,
                asked.group,
                f"{asked.resource}{part}",
                asked.namespace,
                asked.name,
            )
        else:
            act = Act(asked.verb, path=asked.path)
        if not self._rights.may(user, act):
            raise _refuse(user, act, asked.resource)


def _needed(
    name: str, groups: list[str], uid: str, extra: dict[str, tuple[str, ...]]
) -> list[tuple[Act, str]]:
    account = parse_account(name)
    verb = "impersonate"
    if account is not None:
        namespace, plain = account
        first = Act(verb, "", "serviceaccounts", namespace, plain)
    else:
        first = Act(verb, "", "users", "", name)
    people = "authentication.k8s.io"
    acts = [(first, first.resource)]
    acts += [(Act(verb, "", "groups", "", group), "groups") for group in groups]
    acts += [(Act(verb, people, "uids", "", uid), "uids")] if uid else []
    for field, values in extra.items():
        acts += [(Act(verb, people, f"userextras/{field}", "", item), field) for item in values]
    return acts


def _refuse(user: User, act: Act, kind: str) -> StatusError:
    if not act.resource:
        said = f'forbidden: User "{user.name}" {act}'
        return StatusError(FORBIDDEN, "Forbidden", said, {})
    qualified = f"{kind}.{act.group}" if act.group else kind
    named = f'{qualified} "{act.name}"' if act.name else qualified
    details: JsonObject = {
        key: value
        for key, value in (("name", act.name), ("group", act.group), ("kind", kind))
        if value
    }
    message = f'{named} is forbidden: User "{user.name}" {act}'
    return StatusError(FORBIDDEN, "Forbidden", message, details)
