"""Rendered sets, whichever store holds them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gitopsd.domain.manifests import Digest, JsonObject
from gitopsd.errors import PermanentError
from gitopsd.store_ports import Store
from tests.support.store_steps import each
from tests.support.store_values import config_map, digest_of, rendered_set, secret


async def test_a_set_comes_back_as_it_was_stored(store: Store) -> None:
    """Objects keep their order and every value, however unusual; so does what is said of them."""
    odd: JsonObject = {
        "apiVersion": "example.test/v1",
        "kind": "Odd",
        "spec": {"big": 2**70, "text": "é\x00\U0001f600", "nothing": None, "share": 0.1},
    }
    stored = rendered_set(config_map("b", a="1"), odd, config_map("a"), config_map("b", a="1"))

    await store.transact(lambda tx: tx.rendered.put(stored))

    assert await store.read(lambda tx: tx.rendered.get(stored.digest)) == stored
    assert await store.read(lambda tx: tx.rendered.get(digest_of("another"))) is None


async def test_storing_a_set_again_changes_nothing(store: Store) -> None:
    """The digest names the bytes: what is there stays."""
    stored = rendered_set(config_map("a"), config_map("b"))
    await store.transact(lambda tx: tx.rendered.put(stored))

    await store.transact(lambda tx: tx.rendered.put(replace(stored, renderer="another")))

    assert await store.read(lambda tx: tx.rendered.get(stored.digest)) == stored


async def test_sets_may_share_objects(store: Store) -> None:
    """Two sets with an object in common both come back whole."""
    first = rendered_set(config_map("a"), secret("s", password="p"), name="first")
    second = rendered_set(secret("s", password="p"), config_map("a"), name="second")

    await store.transact(lambda tx: tx.rendered.put(first))
    await store.transact(lambda tx: tx.rendered.put(second))

    for stored in (first, second):
        found = await each(store, [stored.digest], lambda tx, digest: tx.rendered.get(digest))
        assert found == [stored]


async def test_an_empty_set_is_a_set(store: Store) -> None:
    """A set without objects is stored, not taken for missing."""
    await store.transact(lambda tx: tx.rendered.put(rendered_set()))

    assert await store.read(lambda tx: tx.rendered.get(digest_of("set"))) == rendered_set()


@pytest.mark.parametrize(
    "manifest", [secret("s", password="p"), {"apiVersion": "x/v1", "kind": "SealedThing"}]
)
async def test_secrets_are_refused_without_a_key(
    keyless_store: Store, manifest: JsonObject
) -> None:
    """Without an encryption key a set with a Secret is refused, saying how to make a key."""
    stored = replace(rendered_set(config_map("a")), objects=(config_map("a"), manifest))

    with pytest.raises(PermanentError) as caught:
        await keyless_store.transact(lambda tx: tx.rendered.put(stored))

    assert "head -c 32 /dev/urandom | base64 > FILE" in caught.value.message
    assert "GITOPSD_ENCRYPTION_KEY_FILE=FILE" in caught.value.message
    assert "password" not in caught.value.message
    assert await keyless_store.read(lambda tx: tx.rendered.get(stored.digest)) is None


async def test_sets_without_secrets_need_no_key(keyless_store: Store) -> None:
    """Without an encryption key everything but Secrets is stored."""
    stored = rendered_set(config_map("a"), name="open")

    await keyless_store.transact(lambda tx: tx.rendered.put(stored))

    digest = Digest(stored.digest)
    assert await keyless_store.read(lambda tx: tx.rendered.get(digest)) == stored
