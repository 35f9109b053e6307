"""The outbox in SQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from gitopsd.domain.work import WorkItem, WorkKind
from gitopsd.store.session import Row, Session, per_dialect
from gitopsd.store.tables import work as table

_ADD = per_dialect(
    lambda insert: (new := insert(table)).on_conflict_do_update(
        index_elements=["key"],
        set_={
            "due_at": sa.case(
                (new.excluded.due_at < table.c.due_at, new.excluded.due_at),
                else_=table.c.due_at,
            ),
            "generation": table.c.generation + 1,
        },
    )
)
_NOW = sa.bindparam("now", type_=table.c.due_at.type)
_FREE = sa.or_(table.c.claimed_until.is_(None), table.c.claimed_until <= _NOW)
_DUE = (
    sa.select(table)
    .where(table.c.due_at <= _NOW, _FREE)
    .order_by(table.c.due_at, table.c.key)
    .limit(sa.bindparam("at_most"))
    .with_for_update(skip_locked=True)  # nothing in SQLite, where there is one writer
)
_DUE_ONE = (
    sa.select(table)
    .where(table.c.key == sa.bindparam("of"), table.c.due_at <= _NOW, _FREE)
    .with_for_update(skip_locked=True)
)
_CLAIM = (
    sa.update(table)
    .where(table.c.key.in_(sa.bindparam("keys", expanding=True)))
    .values(
        owner=sa.bindparam("new_owner"),
        claimed_until=sa.bindparam("until"),
        attempts=table.c.attempts + 1,
    )
)
_CLAIMED = (
    table.c.key == sa.bindparam("of"),
    table.c.owner == sa.bindparam("by_owner"),
    table.c.attempts == sa.bindparam("at_attempt"),
)
_SAME = table.c.generation == sa.bindparam("of_generation", type_=sa.BigInteger)
_FINISH = sa.delete(table).where(*_CLAIMED, _SAME)
_BEGIN_AGAIN = (
    sa.update(table)
    .where(*_CLAIMED)
    .values(
        owner=sa.literal(""),
        claimed_until=sa.null(),
        attempts=sa.literal(0),
        due_at=_NOW,
    )
)
_POSTPONE = (
    sa.update(table)
    .where(*_CLAIMED)
    .values(
        owner="",
        claimed_until=None,
        due_at=sa.case((_SAME, sa.bindparam("later", type_=table.c.due_at.type)), else_=_NOW),
    )
)
_HASTEN = (
    sa.update(table)
    .where(
        table.c.key == sa.bindparam("of"),
        _FREE,
        table.c.due_at > sa.bindparam("earlier", type_=table.c.due_at.type),
    )
    .values(due_at=sa.bindparam("earlier", type_=table.c.due_at.type))
)
_GET = sa.select(table).where(table.c.key == sa.bindparam("of"))
_REMOVE = sa.delete(table).where(table.c.key == sa.bindparam("of"))
_NEXT = sa.select(table.c.due_at).where(_FREE).order_by(table.c.due_at).limit(1)
_GIVE_ALL_BACK = (
    sa.update(table).where(table.c.owner != sa.literal("")).values(owner="", claimed_until=None)
)
_GIVE_BACK = _GIVE_ALL_BACK.where(table.c.owner == sa.bindparam("by_owner"))
_BACKLOG = sa.select(table.c.kind, sa.func.count().label("number")).group_by(table.c.kind)


class SqlWork:
    """The outbox; implements ``store_ports.Work``.

    Args:
        session: The transaction.
        now: Tells the database's time.
    """

    def __init__(self, session: Session, now: Callable[[], datetime]) -> None:
        self._session = session
        self._now = now

    def add(self, item: WorkItem) -> None:
        """Insert; an existing key keeps its row, with the earlier due time and generation + 1."""
        self._session.run(_ADD, **_row(item))

    def add_all(self, items: Sequence[WorkItem]) -> None:
        """Insert many at once, each as `add` does."""
        # In one order everywhere: replicas that add the same ones wait for each other in turn.
        ordered = sorted(items, key=lambda one: one.key)
        self._session.run_many(_ADD, [_row(one) for one in ordered])

    def claim(self, owner: str, limit: int, duration: timedelta) -> Sequence[WorkItem]:
        """Claim due items nobody works on (attempts + 1), oldest due time first.

        Rows that another replica is claiming in this moment are passed over, not waited for.
        """
        due = [_item(row) for row in self._session.rows(_DUE, now=self._now(), at_most=limit)]
        return self._take(due, owner, duration) if due else []

    def claim_one(self, key: str, owner: str, duration: timedelta) -> WorkItem | None:
        """Claim one item by its key; None when it is not due, or somebody works on it."""
        row = self._session.first(_DUE_ONE, of=key, now=self._now())
        return self._take([_item(row)], owner, duration)[0] if row is not None else None

    def _take(self, due: Sequence[WorkItem], owner: str, duration: timedelta) -> Sequence[WorkItem]:
        until = self._now() + duration
        self._session.run(_CLAIM, keys=[one.key for one in due], new_owner=owner, until=until)
        return [
            replace(one, owner=owner, claimed_until=until, attempts=one.attempts + 1) for one in due
        ]

    def finish(self, item: WorkItem) -> None:
        """Remove a claimed item; if its generation grew since, make it due now, as new."""
        if not self._session.run(_FINISH, **_claimed(item), of_generation=item.generation):
            self._session.run(_BEGIN_AGAIN, **_claimed(item), now=self._now())

    def finish_all(self, items: Sequence[WorkItem]) -> None:
        """Finish many at once, each as `finish` does."""
        ordered = sorted(items, key=lambda one: one.key)
        claims = [_claimed(one) | {"of_generation": one.generation} for one in ordered]
        if self._session.run_many(_FINISH, claims) < len(ordered):
            # Whose claim is still there was asked for again meanwhile.
            again = [_claimed(one) | {"now": self._now()} for one in ordered]
            self._session.run_many(_BEGIN_AGAIN, again)

    def postpone(self, item: WorkItem, due_at: datetime) -> None:
        """Give a claimed item back, due later; if its generation grew since, due now."""
        self._session.run(
            _POSTPONE,
            **_claimed(item),
            of_generation=item.generation,
            later=due_at,
            now=self._now(),
        )

    def hasten(self, key: str, at: datetime) -> None:
        """Make an unclaimed item due at ``at`` if that is earlier."""
        self._session.run(_HASTEN, of=key, earlier=at, now=self._now())

    def get(self, key: str) -> WorkItem | None:
        """Read one."""
        row = self._session.first(_GET, of=key)
        return None if row is None else _item(row)

    def remove(self, key: str) -> None:
        """Drop an item."""
        self._session.run(_REMOVE, of=key)

    def next_due(self) -> datetime | None:
        """Tell when the next unclaimed item is due."""
        row = self._session.first(_NEXT, now=self._now())
        return None if row is None else row.due_at

    def release_claims(self, owner: str | None = None) -> int:
        """Give back the claims of one owner, or of all."""
        if owner is None:
            return self._session.run(_GIVE_ALL_BACK)
        return self._session.run(_GIVE_BACK, by_owner=owner)

    def backlog(self) -> Mapping[WorkKind, int]:
        """Count items by kind."""
        return {WorkKind(row.kind): row.number for row in self._session.rows(_BACKLOG)}


def _claimed(item: WorkItem) -> dict[str, object]:
    """Name the claim that ``item`` came with: a later one of the same owner counts higher."""
    return {"of": item.key, "by_owner": item.owner, "at_attempt": item.attempts}


def _row(item: WorkItem) -> dict[str, object]:
    return {
        "key": item.key,
        "kind": item.kind.value,
        "subject": item.subject,
        "payload": item.payload,
        "due_at": item.due_at,
        "attempts": item.attempts,
        "owner": item.owner,
        "claimed_until": item.claimed_until,
        "generation": item.generation,
    }


def _item(row: Row) -> WorkItem:
    return WorkItem(
        key=row.key,
        kind=WorkKind(row.kind),
        subject=row.subject,
        due_at=row.due_at,
        payload=row.payload,
        attempts=row.attempts,
        owner=row.owner,
        claimed_until=row.claimed_until,
        generation=row.generation,
    )
