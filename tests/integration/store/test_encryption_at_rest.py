"""Secrets in the database: nobody reads them there, and keys can be changed."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import zlib
from pathlib import Path

import psycopg
import pytest

from gitopsd.domain.manifests import RenderedSet
from gitopsd.errors import LostError
from tests.integration.store.conftest import OpenStore
from tests.support.store_steps import each
from tests.support.store_values import config_map, rendered_set, secret

STORED = rendered_set(config_map("open", colour="teal"), secret("api", password="hunter2"))


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _key_file(directory: Path, *keys: str) -> Path:
    path = directory / f"key-{secrets.token_hex(4)}"
    path.write_text("\n".join(keys) + "\n")
    return path


def _everything(url: str) -> bytes:
    """All bytes of all files, or of all rows, that hold rendered objects."""
    if url.startswith("sqlite"):
        path = Path(url.removeprefix("sqlite:///"))
        return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))
    with psycopg.connect(url) as connection:
        rows = connection.execute("SELECT address, body FROM rendered_objects").fetchall()
    return repr(rows).encode()


async def _read(opened: OpenStore, url: str, key_file: Path | None) -> RenderedSet | None:
    store = opened(url, encryption_key_file=key_file)
    return await store.read(lambda tx: tx.rendered.get(STORED.digest))


async def test_no_byte_of_a_secret_is_on_the_disk(
    database_url: str, opened: OpenStore, tmp_path: Path
) -> None:
    """Neither the value nor its unkeyed digest or compressed form can be found."""
    store = opened(database_url, encryption_key_file=_key_file(tmp_path, _key()))
    await store.transact(lambda tx: tx.rendered.put(STORED))
    stored = _everything(database_url)
    await store.close()

    body = json.dumps(STORED.objects[1], sort_keys=True, separators=(",", ":")).encode()
    assert b"hunter2" not in stored
    assert hashlib.sha256(body).hexdigest().encode() not in stored
    assert zlib.compress(body, 1)[10:] not in stored


async def test_keys_are_changed_in_two_steps(
    database_url: str, opened: OpenStore, tmp_path: Path
) -> None:
    """With the new key first and the old one second, old sets open and new ones use the new key."""
    old, new = _key(), _key()
    store = opened(database_url, encryption_key_file=_key_file(tmp_path, old))
    await store.transact(lambda tx: tx.rendered.put(STORED))

    both = _key_file(tmp_path, new, old)
    assert await _read(opened, database_url, both) == STORED
    rotated = opened(database_url, encryption_key_file=both)
    later = rendered_set(secret("api", password="hunter2"), name="later")
    await rotated.transact(lambda tx: tx.rendered.put(later))

    new_only = opened(database_url, encryption_key_file=_key_file(tmp_path, new))
    assert await new_only.read(lambda tx: tx.rendered.get(later.digest)) == later
    with pytest.raises(LostError, match="second line"):
        await new_only.read(lambda tx: tx.rendered.get(STORED.digest))


async def test_a_set_whose_key_is_lost_can_be_stored_again(
    database_url: str, opened: OpenStore, tmp_path: Path
) -> None:
    """Rendered again, the same set is readable with the present key; until then that is a fact."""
    store = opened(database_url, encryption_key_file=_key_file(tmp_path, _key()))
    await store.transact(lambda tx: tx.rendered.put(STORED))
    await store.close()
    later = opened(database_url, encryption_key_file=_key_file(tmp_path, _key()))
    with pytest.raises(LostError):
        await later.read(lambda tx: tx.rendered.get(STORED.digest))

    await each(later, (STORED, STORED), lambda tx, one: tx.rendered.put(one))
    assert await later.read(lambda tx: tx.rendered.get(STORED.digest)) == STORED


async def test_a_set_with_secrets_needs_its_key(
    database_url: str, opened: OpenStore, tmp_path: Path
) -> None:
    """Without the key file a set is not given out without its Secrets."""
    store = opened(database_url, encryption_key_file=_key_file(tmp_path, _key()))
    await store.transact(lambda tx: tx.rendered.put(STORED))

    with pytest.raises(LostError, match="GITOPSD_ENCRYPTION_KEY_FILE"):
        await _read(opened, database_url, None)


async def test_a_changed_or_moved_body_is_noticed(
    postgres_url: str, opened: OpenStore, tmp_path: Path
) -> None:
    """Who can write to the database cannot make gitopsd apply another Secret."""
    store = opened(postgres_url, encryption_key_file=_key_file(tmp_path, _key()))
    other = rendered_set(secret("other", password="swordfish"), name="other")
    await each(store, (STORED, other), lambda tx, one: tx.rendered.put(one))
    moved = (
        "UPDATE rendered_objects SET body = (SELECT body FROM rendered_objects o"
        " WHERE o.sealed AND o.address <> rendered_objects.address) WHERE sealed"
    )
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(moved)

    with pytest.raises(LostError, match="changed outside") as caught:
        await store.read(lambda tx: tx.rendered.get(STORED.digest))

    assert caught.value.reason == "DamagedDatabase"


async def test_equal_objects_are_stored_once(sqlite_url: str, opened: OpenStore) -> None:
    """Two sets that differ in one object of many cost one object more."""
    store = opened(sqlite_url)
    shared = [config_map(f"c-{number}") for number in range(20)]
    sets = [rendered_set(*shared, config_map(name), name=name) for name in ("first", "second")]
    await each(store, sets, lambda tx, one: tx.rendered.put(one))

    with store._database.reader.connect() as connection:
        stored = connection.exec_driver_sql("SELECT count(*) FROM rendered_objects").scalar()
    assert stored == 22
