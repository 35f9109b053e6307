"""Tokens, freezes, audit, notifications, replicas and idempotency keys in SQL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import cast

import sqlalchemy as sa

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.stages import Freeze
from gitopsd.domain.work import AuditEntry, Notification, Page, Replica, Token
from gitopsd.errors import ConflictError
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Row, Session, insert_new, insert_once, upsert
from gitopsd.store.tables import answers, audit, freezes, notifications, replicas, tokens

_TOKEN = codec_of(Token)
_FREEZE = codec_of(Freeze)
_NOTIFICATION = codec_of(Notification)

_ADD_TOKEN = insert_once(tokens)
_BY_HASH = sa.select(tokens).where(tokens.c.hashed == sa.bindparam("of"))
_SAVE_TOKEN = sa.update(tokens).where(tokens.c.id == sa.bindparam("of"))
_TOKENS = sa.select(tokens).order_by(tokens.c.seq.desc())
_ADD_FREEZE = insert_once(freezes)
_FREEZES = sa.select(freezes).order_by(freezes.c.seq.desc())
_IN_FORCE = _FREEZES.where(
    freezes.c.thawed_at.is_(None),
    sa.or_(freezes.c.until.is_(None), freezes.c.until > sa.bindparam("now")),
)
_THAW = sa.update(freezes).where(freezes.c.id == sa.bindparam("of"), freezes.c.thawed_at.is_(None))
_APPEND_AUDIT = sa.insert(audit).returning(audit.c.sequence)
_HAS_NOTIFICATION = sa.select(notifications).where(notifications.c.id == sa.bindparam("of"))
_ADD_NOTIFICATION = insert_new(notifications, "id")
_NOTIFICATIONS = (
    sa.select(notifications)
    .where(notifications.c.number > sa.bindparam("after"))
    .order_by(notifications.c.number)
    .limit(sa.bindparam("at_most"))
)
_LAST_NOTIFICATION = sa.select(sa.func.max(notifications.c.number).label("last"))
_NEWEST = sa.select(sa.func.max(notifications.c.number)).scalar_subquery()
_OLDEST_NOTIFICATIONS = (
    sa.select(notifications)
    .where(notifications.c.number < _NEWEST)
    .order_by(notifications.c.number)
    .limit(sa.bindparam("at_most"))
)
_DROP_NOTIFICATIONS = sa.delete(notifications).where(
    notifications.c.number.in_(sa.bindparam("these", expanding=True))
)
_OLDEST_AUDIT = (
    sa.select(audit.c.sequence, audit.c.at)
    .order_by(audit.c.sequence)
    .limit(sa.bindparam("at_most"))
    .subquery()
)
_BEFORE = sa.bindparam("before", type_=audit.c.at.type)
_DROP_AUDIT = sa.delete(audit).where(
    audit.c.sequence.in_(sa.select(_OLDEST_AUDIT.c.sequence).where(_OLDEST_AUDIT.c.at < _BEFORE))
)
_DROP_ANSWERS = sa.delete(answers).where(
    answers.c.key.in_(
        sa.select(answers.c.key).where(answers.c.at < _BEFORE).limit(sa.bindparam("at_most"))
    )
)
_HEARTBEAT = upsert(replicas, "id")
_FORGET_REPLICA = sa.delete(replicas).where(replicas.c.id == sa.bindparam("of"))
_REPLICAS = sa.select(replicas).order_by(replicas.c.id)
_ANSWER = sa.select(answers.c.answer).where(answers.c.key == sa.bindparam("of"))
_PUT_ANSWER = insert_new(answers, "key")


class SqlRecords:
    """Tokens, freezes, audit and the like; implements ``store_ports.Records``.

    Args:
        session: The transaction.
        now: Tells the database's time.
    """

    def __init__(self, session: Session, now: Callable[[], datetime]) -> None:
        self._session = session
        self._now = now

    def add_token(self, token: Token) -> None:
        """Store a token.

        Raises:
            ConflictError: Its id or its hash is there already.
        """
        added = self._session.run(
            _ADD_TOKEN,
            id=token.id,
            hashed=token.hashed,
            revoked_at=token.revoked_at,
            last_used_at=token.last_used_at,
            doc=_TOKEN.encode(token),
        )
        if not added:
            raise ConflictError(f"A token {token.id} is there already; make another id.")

    def token_by_hash(self, hashed: str) -> Token | None:
        """Find a token by the hash of its secret."""
        row = self._session.first(_BY_HASH, of=hashed)
        return None if row is None else _token(row)

    def save_token(self, token: Token) -> None:
        """Store revocation and last use."""
        self._session.run(
            _SAVE_TOKEN,
            of=token.id,
            revoked_at=token.revoked_at,
            last_used_at=token.last_used_at,
        )

    def tokens(self) -> Sequence[Token]:
        """List all, newest first."""
        return [_token(row) for row in self._session.rows(_TOKENS)]

    def add_freeze(self, freeze: Freeze) -> None:
        """Store a freeze.

        Raises:
            ConflictError: Its id is there already.
        """
        added = self._session.run(
            _ADD_FREEZE,
            id=freeze.id,
            until=freeze.until,
            thawed_at=freeze.thawed_at,
            doc=_FREEZE.encode(freeze),
        )
        if not added:
            raise ConflictError(f"A freeze {freeze.id} is there already; make another id.")

    def freezes(self, *, in_force: bool) -> Sequence[Freeze]:
        """List freezes, newest first; only those in force at the transaction's time if asked."""
        if in_force:
            rows = self._session.rows(_IN_FORCE, now=self._now())
        else:
            rows = self._session.rows(_FREEZES)
        return [replace(_FREEZE.decode(row.doc), thawed_at=row.thawed_at) for row in rows]

    def thaw(self, freeze: str, at: datetime) -> None:
        """End a freeze; keeps the first time."""
        self._session.run(_THAW, of=freeze, thawed_at=at)

    def append_audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; the sequence number is given here."""
        rows = self._session.rows(
            _APPEND_AUDIT,
            at=entry.at,
            subject=entry.subject,
            action=entry.action,
            target=entry.target,
            outcome=entry.outcome,
            details=entry.details,
        )
        return replace(entry, sequence=rows[0].sequence)

    def audit(self, page: Page) -> Sequence[AuditEntry]:
        """List the audit log, newest first; the cursor is a sequence number."""
        listed = sa.select(audit).order_by(audit.c.sequence.desc()).limit(page.limit)
        if page.before:
            before = int(page.before) if page.before.isdecimal() else 0
            listed = listed.where(audit.c.sequence < before)
        return [AuditEntry(**row._mapping) for row in self._session.rows(listed)]  # noqa: SLF001 - SQLAlchemy's public name of it

    def add_notification(self, notification: Notification) -> bool:
        """Store a notification; False when its id is there already."""
        if self.notification(notification.id) is not None:
            return False
        added = self._session.run(
            _ADD_NOTIFICATION,
            number=self._session.next_number("notifications"),
            id=notification.id,
            doc=_NOTIFICATION.encode(notification),
        )
        return bool(added)

    def notification(self, notification: str) -> Notification | None:
        """Read one."""
        row = self._session.first(_HAS_NOTIFICATION, of=notification)
        return None if row is None else _NOTIFICATION.decode(row.doc)

    def notifications_after(self, rowid: int, limit: int) -> Sequence[tuple[int, Notification]]:
        """Read notifications stored after a row number, oldest first.

        Row numbers become visible in their order, so a reader that remembers the last one it saw
        misses none.
        """
        rows = self._session.rows(_NOTIFICATIONS, after=rowid, at_most=limit)
        return [(row.number, _NOTIFICATION.decode(row.doc)) for row in rows]

    def last_notification(self) -> int:
        """Read the row number of the newest notification; 0 when there is none."""
        row = self._session.first(_LAST_NOTIFICATION)
        return int(row.last or 0) if row is not None else 0

    def drop(self, before: datetime, limit: int) -> int:
        """Delete audit entries, notifications and answers of before, oldest first."""
        rows = self._session.rows(_OLDEST_NOTIFICATIONS, at_most=limit)
        old = [row.number for row in rows if _NOTIFICATION.decode(row.doc).at < before]
        if old:
            self._session.run(_DROP_NOTIFICATIONS, these=old)
        gone = self._session.run(_DROP_AUDIT, before=before, at_most=limit)
        gone += self._session.run(_DROP_ANSWERS, before=before, at_most=limit)
        return gone + len(old)

    def heartbeat(self, replica: Replica) -> None:
        """Insert or renew a replica's heartbeat."""
        self._session.run(
            _HEARTBEAT,
            id=replica.id,
            started_at=replica.started_at,
            seen_at=replica.seen_at,
            version=replica.version,
        )

    def forget_replica(self, replica: str) -> None:
        """Drop a replica; one that is not there is no error."""
        self._session.run(_FORGET_REPLICA, of=replica)

    def replicas(self) -> Sequence[Replica]:
        """List replicas, by id."""
        return [Replica(**row._mapping) for row in self._session.rows(_REPLICAS)]  # noqa: SLF001 - as above

    def answer_of(self, key: str) -> JsonObject | None:
        """Read the answer stored for an idempotency key."""
        row = self._session.first(_ANSWER, of=key)
        return None if row is None else cast("JsonObject", row.answer)

    def put_answer(self, key: str, answer: JsonObject, at: datetime) -> bool:
        """Store the answer for an idempotency key; False when one is there already."""
        return bool(self._session.run(_PUT_ANSWER, key=key, answer=answer, at=at))


def _token(row: Row) -> Token:
    stored = _TOKEN.decode(row.doc)
    return replace(stored, revoked_at=row.revoked_at, last_used_at=row.last_used_at)
