"""Who asks: bearer tokens, service accounts, and borrowed identities."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from gitopsd.sandbox.api.keys import Key, Kind
from gitopsd.sandbox.fields import text_at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from gitopsd.sandbox.api.storage import ObjectStore

MASTERS = "system:masters"
NODES = "system:nodes"
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
ACCOUNTS = Kind("", "serviceaccounts")
_ACCOUNT_PREFIX = "system:serviceaccount:"
_ACCOUNT_PARTS = 2


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who asks.

    Attributes:
        name: User name.
        groups: Groups, ``system:authenticated`` included.
        uid: The service account's uid, if it is one.
        extra: More about the user.
    """

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


def account_user(namespace: str, name: str, uid: str = "") -> User:
    """A service account as a user."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
    return User(f"{_ACCOUNT_PREFIX}{namespace}:{name}", groups, uid)


def parse_account(user: str) -> tuple[str, str] | None:
    """Namespace and name of a service account, from its user name; None for other users."""
    parts = user.removeprefix(_ACCOUNT_PREFIX).split(":")
    if not user.startswith(_ACCOUNT_PREFIX) or len(parts) != _ACCOUNT_PARTS or not all(parts):
        return None
    return parts[0], parts[1]


@dataclass(frozen=True, slots=True)
class _Grant:
    user: User
    expires: datetime | None = None
    account: tuple[str, str] | None = None

    def is_over(self, now: datetime) -> bool:
        """Whether its time is over."""
        return self.expires is not None and self.expires <= now


class Tokens:
    """The bearer tokens that are taken.

    Args:
        store: Where service accounts are: a token of one that is gone is worth nothing.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._grants: dict[str, _Grant] = {}

    def make(self, user: User) -> str:
        """A new token for a user; it never expires."""
        token = f"sandbox-{secrets.token_urlsafe(32)}"
        self._grants[token] = _Grant(user)
        return token

    def make_for_account(
        self, namespace: str, name: str, *, now: datetime, expires: datetime
    ) -> str:
        """A new token for a service account that exists."""
        over = [old for old, grant in self._grants.items() if grant.is_over(now)]
        for old in over:
            del self._grants[old]
        token = f"sandbox-{secrets.token_urlsafe(32)}"
        account = self._store.get(Key(*ACCOUNTS, namespace, name))
        user = account_user(namespace, name, text_at(account, "metadata", "uid"))
        self._grants[token] = _Grant(user, expires, (namespace, name))
        return token

    def find(self, token: str, now: datetime) -> User | None:
        """Whose token it is; None when it is nobody's, or no longer."""
        grant = self._grants.get(token)
        if grant is None:
            return None
        gone = grant.account is not None and self._account_uid(*grant.account) != grant.user.uid
        if gone or grant.is_over(now):
            del self._grants[token]
            return None
        return grant.user

    def _account_uid(self, namespace: str, name: str) -> str:
        account = self._store.get(Key(*ACCOUNTS, namespace, name))
        return text_at(account, "metadata", "uid", default="none")


def parse_bearer(header: str) -> str:
    """The token of an ``Authorization`` header; empty when it has none."""
    scheme, _, token = header.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def parse_impersonation(
    user: str, groups: Sequence[str], uid: str, extra: Mapping[str, tuple[str, ...]]
) -> User:
    """The user that ``Impersonate-*`` headers name, with the groups that go without saying."""
    account = parse_account(user)
    if account is not None and not groups:
        implied = account_user(*account).groups
    else:
        implied = tuple(dict.fromkeys((*groups, AUTHENTICATED)))
    return User(user, implied, uid, extra)
