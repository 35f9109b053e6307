"""The inbox in SQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.sources import Delivery, DeliveryId, DeliveryState, ReceiverName
from gitopsd.domain.work import Page
from gitopsd.store.paging import page_after
from gitopsd.store.session import Row, Session, insert_new, per_dialect
from gitopsd.store.tables import deliveries as table
from gitopsd.store.tables import refused_deliveries as refused

_ADD = insert_new(table, "receiver", "key", "body_sha256")
_GET = sa.select(table).where(table.c.id == sa.bindparam("of"))
_GET_ALL = (
    sa.select(table).where(table.c.id.in_(sa.bindparam("of", expanding=True))).order_by(table.c.seq)
)
_FIND = sa.select(table).where(
    table.c.receiver == sa.bindparam("from_receiver"),
    table.c.key == sa.bindparam("of_key"),
    table.c.body_sha256 == sa.bindparam("of_body"),
)
_WITHOUT_BODY = (
    *(column for column in table.c if column.name != "body"),
    sa.literal(b"").label("body"),
    sa.func.length(table.c.body).label("body_bytes"),
)
_OLDEST = (
    sa.select(table.c.seq, table.c.received_at)
    .where(table.c.state != DeliveryState.STORED.value)
    .order_by(table.c.seq)
    .limit(sa.bindparam("at_most"))
    .subquery()
)
_DROP = sa.delete(table).where(
    table.c.seq.in_(
        sa.select(_OLDEST.c.seq).where(
            _OLDEST.c.received_at < sa.bindparam("before", type_=table.c.received_at.type)
        )
    )
)
_SAVE = (
    sa.update(table)
    .where(table.c.id == sa.bindparam("of"))
    .values(
        state=sa.bindparam("new_state"),
        attempts=sa.bindparam("new_attempts"),
        reason=sa.bindparam("new_reason"),
    )
)
_COUNT = per_dialect(
    lambda insert: insert(refused).on_conflict_do_update(
        index_elements=["receiver"], set_={"requests": refused.c.requests + 1}
    )
)


class SqlDeliveries:
    """The inbox; implements ``store_ports.Deliveries``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, delivery: Delivery) -> bool:
        """Store a delivery; False when (receiver, key, body hash) is there already."""
        return bool(self._session.run(_ADD, **_row(delivery)))

    def add_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store many at once; those that are there already stay as they are."""
        # In one order everywhere: replicas that store the same ones wait for each other in turn.
        ordered = sorted(deliveries, key=lambda one: one.id)
        self._session.run_many(_ADD, [_row(one) for one in ordered])

    def find(self, receiver: str, key: str, body_sha256: str) -> Delivery | None:
        """Find a stored delivery by its identity."""
        values = {"from_receiver": receiver, "of_key": key, "of_body": body_sha256}
        row = self._session.first(_FIND, **values)
        return None if row is None else _delivery(row)

    def get(self, delivery: DeliveryId) -> Delivery | None:
        """Read one."""
        row = self._session.first(_GET, of=delivery)
        return None if row is None else _delivery(row)

    def get_all(self, deliveries: Sequence[DeliveryId]) -> Sequence[Delivery]:
        """Read many at once, oldest first; those that are not there are left out."""
        return [_delivery(row) for row in self._session.rows(_GET_ALL, of=list(deliveries))]

    def save(self, delivery: Delivery) -> None:
        """Store new state, attempts and reason."""
        self._session.run(_SAVE, **_outcome(delivery))

    def save_all(self, deliveries: Sequence[Delivery]) -> None:
        """Store new state, attempts and reason of many at once."""
        self._session.run_many(_SAVE, [_outcome(one) for one in deliveries])

    def count_refused(self, receiver: str) -> None:
        """Count one refused request; nothing else of it is stored."""
        self._session.run(_COUNT, receiver=receiver, requests=1)

    def refused(self) -> Mapping[str, int]:
        """Read the counters of refused requests."""
        rows = self._session.rows(sa.select(refused).order_by(refused.c.receiver))
        return {row.receiver: row.requests for row in rows}

    def page(self, page: Page, *, state: DeliveryState | None = None) -> Sequence[Delivery]:
        """List, newest first; the cursor is a delivery's id."""
        listed = sa.select(table)
        if state is not None:
            listed = listed.where(table.c.state == state.value)
        return [_delivery(row) for row in self._session.rows(page_after(listed, table, page))]

    def drop(self, before: datetime, limit: int) -> int:
        """Delete finished deliveries received before, oldest first; returns how many."""
        return self._session.run(_DROP, before=before, at_most=limit)

    def page_without_bodies(
        self, page: Page, *, state: DeliveryState | None = None
    ) -> Sequence[tuple[Delivery, int]]:
        """List, newest first, with empty bodies and the bytes of the real ones."""
        listed = sa.select(*_WITHOUT_BODY)
        if state is not None:
            listed = listed.where(table.c.state == state.value)
        rows = self._session.rows(page_after(listed, table, page))
        return [(_delivery(row), row.body_bytes) for row in rows]


def _row(delivery: Delivery) -> dict[str, object]:
    return {
        "id": delivery.id,
        "receiver": delivery.receiver,
        "key": delivery.key,
        "body_sha256": delivery.body_sha256,
        "headers": delivery.headers,
        "body": delivery.body,
        "received_at": delivery.received_at,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "reason": delivery.reason,
    }


def _outcome(delivery: Delivery) -> dict[str, object]:
    return {
        "of": delivery.id,
        "new_state": delivery.state.value,
        "new_attempts": delivery.attempts,
        "new_reason": delivery.reason,
    }


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=DeliveryId(row.id),
        receiver=ReceiverName(row.receiver),
        key=row.key,
        body_sha256=row.body_sha256,
        headers=tuple((name, value) for name, value in row.headers),
        body=bytes(row.body),
        received_at=row.received_at,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        reason=row.reason,
    )
