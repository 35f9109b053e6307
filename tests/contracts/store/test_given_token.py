"""The first admin token that a file gives: known once, replaced as a whole, never brought back."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from gitopsd.domain.work import Page, Token
from gitopsd.entrypoints.tokens import (
    adopt_given_token,
    hash_secret,
    make_token,
    parse_given_token,
)
from gitopsd.errors import PermanentError
from gitopsd.store_ports import Store, Transaction

ONE = "0123456789abcdef0123456789abcdef"
FIRST, SECOND = hash_secret(ONE), hash_secret("another random word of 256 bits, in hex")


def _revoke(tx: Transaction, hashed: str) -> None:
    found = tx.records.token_by_hash(hashed)
    assert found is not None
    tx.records.save_token(replace(found, revoked_at=tx.now))


async def _tokens(store: Store) -> dict[str, Token]:
    return {token.hashed: token for token in await store.read(lambda tx: tx.records.tokens())}


async def test_it_is_stored_once_and_audited(store: Store) -> None:
    """An admin's token, by its hash; every start after the first, and every replica, finds it."""
    found = [await adopt_given_token(store, FIRST) for _ in range(3)]
    tokens = await _tokens(store)
    audited = await store.read(lambda tx: [entry.action for entry in tx.records.audit(Page())])

    assert found == [True, False, False]
    assert list(tokens) == [FIRST]
    assert (tokens[FIRST].subject, tokens[FIRST].role) == ("admin", "admin")
    assert audited == ["create-token"]


async def test_two_processes_at_once_make_one(store: Store) -> None:
    """Neither fails, and one token is there."""
    found = await asyncio.gather(*(adopt_given_token(store, FIRST) for _ in range(4)))

    assert sorted(found) == [False, False, False, True]
    assert list(await _tokens(store)) == [FIRST]


async def test_a_new_one_revokes_the_one_before_and_no_other(store: Store) -> None:
    """Tokens that people made go on; a replica that still has the old file changes nothing."""
    made = await store.read(lambda tx: make_token("sam", "viewer", tx.now))
    await store.transact(lambda tx: tx.records.add_token(made.token))
    await adopt_given_token(store, FIRST)
    found = [await adopt_given_token(store, hashed) for hashed in (SECOND, FIRST, SECOND)]
    tokens = await _tokens(store)

    assert found == [True, False, False]
    assert tokens[FIRST].revoked_at is not None
    assert tokens[SECOND].revoked_at is None
    assert tokens[made.token.hashed].revoked_at is None


async def test_one_that_was_revoked_stays_revoked(store: Store) -> None:
    """The next start does not bring back what a person took away."""
    await adopt_given_token(store, FIRST)
    await store.transact(lambda tx: _revoke(tx, FIRST))

    assert not await adopt_given_token(store, FIRST)
    assert (await _tokens(store))[FIRST].revoked_at is not None


@pytest.mark.parametrize("content", [ONE, f"{ONE}\n", f"  {ONE}\r\n", f"sha256:{FIRST}\n"])
def test_the_token_or_its_hash_is_taken(content: str) -> None:
    """Either form, and whatever an editor leaves around it."""
    assert parse_given_token(content.encode(), "/token") == FIRST


@pytest.mark.parametrize(
    "content, problem",
    [
        ("changeme", "one word of 32 to 512 ASCII characters"),
        ("x" * 600, "one word of 32 to 512 ASCII characters"),
        (f"{ONE} {ONE}", "one word"),
        (f"{ONE}\n{ONE}", "one word"),
        ("ñ" * 40, "one word"),
        ("a" * 40, "too easily guessed"),
        ("sha256:" + "0" * 63, "64 hexadecimal digits"),
        ("sha256:" + "A" * 64, "64 hexadecimal digits"),
    ],
)
def test_what_lets_anybody_in_is_refused(content: str, problem: str) -> None:
    """The sentence names the file and how to make a token; what the file holds is in no message."""
    with pytest.raises(PermanentError) as refused:
        parse_given_token(content.encode(), "/run/token")

    message = str(refused.value)
    assert "/run/token cannot be used" in message
    assert problem in message
    assert "openssl rand -hex 32" in message
    assert content not in message
