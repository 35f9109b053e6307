"""Lists by cursor: newest first, by the order of insertion."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from gitopsd.domain.work import Page


def page_after(
    listed: sa.Select[*tuple[Any, ...]], table: sa.Table, page: Page
) -> sa.Select[*tuple[Any, ...]]:
    """Limit a list to the page after the row whose id is the cursor.

    A cursor that names no row selects nothing: a list that began again at its top would be read
    twice by whoever follows the cursors.
    """
    listed = listed.order_by(table.c.seq.desc()).limit(page.limit)
    if page.before:
        last = sa.select(table.c.seq).where(table.c.id == page.before).scalar_subquery()
        listed = listed.where(table.c.seq < last)
    return listed
