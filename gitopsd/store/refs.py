"""Watched refs in SQL."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.sources import CommitSha, RefName, RefState, RepoURL
from gitopsd.store.session import Row, Session, per_dialect, upsert
from gitopsd.store.tables import refs as table

_SAVE = upsert(table, "repo", "ref", keep=("wanted", "expected"))
_WANT = per_dialect(
    lambda insert: (
        (hint := insert(table))
        .on_conflict_do_update(
            index_elements=["repo", "ref"],
            set_={
                "wanted": table.c.wanted + 1,
                "expected": hint.excluded.expected,
                "tries": hint.excluded.tries,
            },
        )
        .returning(table)
    )
)
_GET = sa.select(table).where(
    table.c.repo == sa.bindparam("of_repo"), table.c.ref == sa.bindparam("of_ref")
)
_ALL = sa.select(table).order_by(table.c.repo, table.c.ref)


class SqlRefs:
    """Watched refs; implements ``store_ports.Refs``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def get(self, repo: RepoURL, ref: RefName) -> RefState | None:
        """Read one."""
        row = self._session.first(_GET, of_repo=repo, of_ref=ref)
        return None if row is None else _state(row)

    def save(self, state: RefState) -> None:
        """Insert or replace one, but for ``wanted`` and ``expected`` of one that is there."""
        self._session.run(_SAVE, **_values(state))

    def want(
        self, repo: RepoURL, ref: RefName, *, expected: CommitSha | None, at: datetime
    ) -> RefState:
        """Count one hint to look; ``expected`` is what this last hint named, None included."""
        new = RefState(repo, ref, wanted=1, expected=expected, next_look_at=at)
        return _state(self._session.rows(_WANT, **_values(new))[0])

    def page(self) -> Sequence[RefState]:
        """Read all, by repository and ref."""
        return [_state(row) for row in self._session.rows(_ALL)]


def _values(state: RefState) -> dict[str, object]:
    return {name: getattr(state, name) for name in table.c.keys()}  # noqa: SIM118 - not a dict


def _state(row: Row) -> RefState:
    return RefState(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name of it
