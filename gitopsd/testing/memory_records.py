"""In-memory tokens, freezes, audit, notifications, replicas and idempotency keys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.stages import Freeze
from gitopsd.domain.work import AuditEntry, Notification, Page, Replica, Token
from gitopsd.errors import ConflictError
from gitopsd.testing.memory_tables import Counter, Journal, Table, page_of


class MemoryRecords:
    """Tokens, freezes, audit, notifications, replicas, idempotency keys.

    Args:
        journal: Learns how to undo.
        now: Tells the time of the transaction.
    """

    def __init__(self, journal: Journal, now: Callable[[], datetime]) -> None:
        self._tokens: Table[str, Token] = Table(journal)
        self._freezes: Table[str, Freeze] = Table(journal)
        self._audit: Table[int, AuditEntry] = Table(journal)
        self._audit_number = Counter(journal)
        self._notifications: Table[str, tuple[int, Notification]] = Table(journal)
        self._notification_number = Counter(journal)
        self._replicas: Table[str, Replica] = Table(journal)
        self._answers: Table[str, tuple[JsonObject, datetime]] = Table(journal)
        self._now = now

    def add_token(self, token: Token) -> None:
        """Store a token.

        Raises:
            ConflictError: Its id or its hash is there already.
        """
        if self.token_by_hash(token.hashed) is not None:
            raise ConflictError(f"The hash of token {token.id} is there already.")
        self._tokens.insert(token.id, token)

    def token_by_hash(self, hashed: str) -> Token | None:
        """Find a token by the hash of its secret."""
        return next((row for row in self._tokens if row.hashed == hashed), None)

    def save_token(self, token: Token) -> None:
        """Store revocation and last use."""
        row = self._tokens.get(token.id)
        if row is not None:
            revoked_at, last_used_at = token.revoked_at, token.last_used_at
            self._tokens.put(
                token.id, replace(row, revoked_at=revoked_at, last_used_at=last_used_at)
            )

    def tokens(self) -> Sequence[Token]:
        """List all, newest first."""
        return list(reversed(self._tokens))

    def add_freeze(self, freeze: Freeze) -> None:
        """Store a freeze."""
        self._freezes.insert(freeze.id, freeze)

    def freezes(self, *, in_force: bool) -> Sequence[Freeze]:
        """List freezes, newest first; only those in force if asked."""
        now = self._now()
        return [
            row
            for row in reversed(self._freezes)
            if not in_force or (row.thawed_at is None and (row.until is None or row.until > now))
        ]

    def thaw(self, freeze: str, at: datetime) -> None:
        """End a freeze; keeps the first time."""
        row = self._freezes.get(freeze)
        if row is not None and row.thawed_at is None:
            self._freezes.put(freeze, replace(row, thawed_at=at))

    def append_audit(self, entry: AuditEntry) -> AuditEntry:
        """Append to the audit log; the sequence number is given here."""
        stored = replace(entry, sequence=self._audit_number.next())
        self._audit.insert(stored.sequence, stored)
        return stored

    def audit(self, page: Page) -> Sequence[AuditEntry]:
        """List the audit log, newest first; the cursor is a sequence number."""
        return page_of(reversed(self._audit), page, lambda row: str(row.sequence))

    def add_notification(self, notification: Notification) -> bool:
        """Store a notification; False when its id is there already."""
        if notification.id in self._notifications:
            return False
        row = (self._notification_number.next(), notification)
        self._notifications.insert(notification.id, row)
        return True

    def notification(self, notification: str) -> Notification | None:
        """Read one."""
        row = self._notifications.get(notification)
        return None if row is None else row[1]

    def notifications_after(self, rowid: int, limit: int) -> Sequence[tuple[int, Notification]]:
        """Read notifications stored after a row number, oldest first."""
        return [row for row in self._notifications if row[0] > rowid][:limit]

    def last_notification(self) -> int:
        """Read the row number of the newest notification; 0 when there is none."""
        return max((row[0] for row in self._notifications), default=0)

    def drop(self, before: datetime, limit: int) -> int:
        """Delete audit entries, notifications and answers of before, oldest first."""
        entries = [one.sequence for one in list(self._audit)[:limit] if one.at < before]
        for sequence in entries:
            self._audit.remove(sequence)
        told = [one.id for _, one in list(self._notifications)[:-1][:limit] if one.at < before]
        for name in told:
            self._notifications.remove(name)
        answered = [key for key, (_, at) in self._answers.items() if at < before][:limit]
        for key in answered:
            self._answers.remove(key)
        return len(entries) + len(told) + len(answered)

    def heartbeat(self, replica: Replica) -> None:
        """Insert or renew a replica's heartbeat."""
        self._replicas.put(replica.id, replica)

    def forget_replica(self, replica: str) -> None:
        """Drop a replica; one that is not there is no error."""
        self._replicas.remove(replica)

    def replicas(self) -> Sequence[Replica]:
        """List replicas, by id."""
        return sorted(self._replicas, key=lambda row: row.id)

    def answer_of(self, key: str) -> JsonObject | None:
        """Read the answer stored for an idempotency key."""
        row = self._answers.get(key)
        return None if row is None else row[0]

    def put_answer(self, key: str, answer: JsonObject, at: datetime) -> bool:
        """Store the answer for an idempotency key; False when one is there already."""
        if key in self._answers:
            return False
        self._answers.insert(key, (answer, at))
        return True
