"""Rendered sets in SQL: each object stored once under its content address, compressed.

Two sets share the objects they have in common. Objects of sensitive kinds are sealed and their
address is keyed. Bodies are written by the standard library's JSON, which keeps every digit of
every number, with sorted keys, so that equal objects have equal bytes.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Collection
from typing import cast

import sqlalchemy as sa

from gitopsd.domain.manifests import Digest, JsonObject, RenderedSet
from gitopsd.errors import LostError, PermanentError
from gitopsd.store.encryption import HOW_TO_MAKE_A_KEY, Cipher
from gitopsd.store.session import Row, Session, insert_new
from gitopsd.store.tables import rendered_members as members
from gitopsd.store.tables import rendered_objects as objects
from gitopsd.store.tables import rendered_sets as sets

_FAST = 1

_ADD_SET = insert_new(sets, "digest")
_ADD_OBJECT = insert_new(objects, "address")
_ADD_MEMBER = sa.insert(members)
_GET_SET = sa.select(sets).where(sets.c.digest == sa.bindparam("of"))
_GET_ADDRESSES = sa.select(members.c.address).where(members.c.digest == sa.bindparam("of"))
_DROP_MEMBERS = sa.delete(members).where(members.c.digest == sa.bindparam("of"))
_GET_OBJECTS = (
    sa.select(objects)
    .join(members, members.c.address == objects.c.address)
    .where(members.c.digest == sa.bindparam("of"))
    .order_by(members.c.position)
)
_MANY: sa.BindParameter[str] = sa.bindparam("these", expanding=True)
_THEIR_ADDRESSES = sa.select(members.c.address).where(members.c.digest.in_(_MANY)).distinct()
_DROP_THEIR_MEMBERS = sa.delete(members).where(members.c.digest.in_(_MANY))
_DROP_SETS = sa.delete(sets).where(sets.c.digest.in_(_MANY))
_DROP_ORPHANS = sa.delete(objects).where(
    objects.c.address.in_(_MANY),
    ~sa.exists().where(members.c.address == objects.c.address),
)
_AT_ONCE = 500
"""Values of one statement: SQLite bounds them."""


class SqlRenderedSets:
    """Rendered sets by digest; implements ``store_ports.RenderedSets``.

    A set never changes: what a transaction has read once it need not read again.

    Args:
        session: The transaction.
        cipher: Seals sensitive objects; None without an encryption key.
        sensitive_kinds: Kinds whose objects are sealed.
    """

    def __init__(
        self, session: Session, cipher: Cipher | None, sensitive_kinds: frozenset[str]
    ) -> None:
        self._session = session
        self._cipher = cipher
        self._sensitive_kinds = sensitive_kinds
        self._read: dict[Digest, RenderedSet] = {}

    def put(self, rendered: RenderedSet) -> None:
        """Store a set. Safe to repeat; what an older key sealed is sealed with the present one.

        Raises:
            PermanentError: It holds Secrets and there is no encryption key; says how to make one.
        """
        rows = [self._row(one) for one in rendered.objects]
        added = self._session.run(
            _ADD_SET,
            digest=rendered.digest,
            images=rendered.images,
            renderer=rendered.renderer,
            notes=rendered.notes,
        )
        if not added and not self._is_sealed_otherwise(rendered.digest, rows):
            return
        # In the order of their addresses: two transactions that store the same objects then wait
        # for each other instead of locking each other out.
        fresh = {str(row["address"]): row for row in rows}
        self._session.run_many(_ADD_OBJECT, [fresh[one] for one in sorted(fresh)])
        self._session.run_many(
            _ADD_MEMBER,
            [
                {"digest": rendered.digest, "position": position, "address": row["address"]}
                for position, row in enumerate(rows)
            ],
        )

    def get(self, digest: Digest) -> RenderedSet | None:
        """Read a set, decrypted.

        Raises:
            LostError: It holds Secrets and the encryption key is not there.
        """
        if digest in self._read:
            return self._read[digest]
        row = self._session.first(_GET_SET, of=digest)
        if row is None:
            return None
        found = self._read[digest] = RenderedSet(
            digest=digest,
            objects=tuple(self._object(one) for one in self._session.rows(_GET_OBJECTS, of=digest)),
            images=row.images,
            renderer=row.renderer,
            notes=tuple(row.notes),
        )
        return found

    def drop(self, digests: Collection[Digest]) -> None:
        """Delete sets, and the objects that no other set has. Safe to repeat."""
        if not digests:
            return
        self._read.clear()
        these = list(digests)
        addresses = sorted(row.address for row in self._session.rows(_THEIR_ADDRESSES, these=these))
        self._session.run(_DROP_THEIR_MEMBERS, these=these)
        self._session.run(_DROP_SETS, these=these)
        for start in range(0, len(addresses), _AT_ONCE):
            self._session.run(_DROP_ORPHANS, these=addresses[start : start + _AT_ONCE])

    def _is_sealed_otherwise(self, digest: Digest, rows: list[dict[str, object]]) -> bool:
        """Let go of a stored set's objects if another key than the first of ours addressed them.

        That key may be lost; with ours, what is rendered again can be read again.
        """
        if not any(row["sealed"] for row in rows):
            return False
        stored = {row.address for row in self._session.rows(_GET_ADDRESSES, of=digest)}
        if stored == {row["address"] for row in rows}:
            return False
        self._session.run(_DROP_MEMBERS, of=digest)
        self._read.clear()
        return True

    def _row(self, manifest: JsonObject) -> dict[str, object]:
        body = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode()
        packed = zlib.compress(body, _FAST)
        kind = manifest.get("kind")
        if kind not in self._sensitive_kinds:
            address = f"sha256:{hashlib.sha256(body).hexdigest()}"
            return {"address": address, "sealed": False, "body": packed}
        if self._cipher is None:
            raise PermanentError(
                f"The rendered set holds a {kind}, which is stored only encrypted, and there is "
                f"no encryption key. {HOW_TO_MAKE_A_KEY}",
                reason="NoEncryptionKey",
            )
        address = self._cipher.address(body)
        return {"address": address, "sealed": True, "body": self._cipher.seal(packed, address)}

    def _object(self, row: Row) -> JsonObject:
        packed = bytes(row.body)
        if row.sealed:
            if self._cipher is None:
                raise LostError(
                    "A rendered set holds encrypted objects and GITOPSD_ENCRYPTION_KEY_FILE is "
                    "not set; set it to the key file that was used when they were stored.",
                    reason="NoEncryptionKey",
                )
            packed = self._cipher.open(packed, row.address)
        return cast("JsonObject", json.loads(zlib.decompress(packed)))
