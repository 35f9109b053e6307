"""Revisions of application files in SQL."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

import orjson
import sqlalchemy as sa

from gitopsd.domain.config import ApplicationSpec
from gitopsd.domain.releases import ApplicationName
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Session, upsert
from gitopsd.store.tables import application_specs as revisions
from gitopsd.store.tables import applications

_SPEC = codec_of(ApplicationSpec)

_SET_CURRENT = upsert(applications, "name")
_PUT_REVISION = upsert(revisions, "application", "revision", keep=("added_at",))
_REMOVE = sa.update(applications).where(applications.c.name == sa.bindparam("of"))
_OF_APPLICATION = revisions.c.application == sa.bindparam("of")
_NUMBER = sa.select(revisions.c.revision).where(
    _OF_APPLICATION, revisions.c.content == sa.bindparam("of_content")
)
_LAST = sa.select(sa.func.max(revisions.c.revision).label("last")).where(_OF_APPLICATION)
_GET = sa.select(revisions.c.doc, revisions.c.revision).where(
    _OF_APPLICATION, revisions.c.revision == sa.bindparam("of_revision")
)
_CURRENTS = (
    sa.select(revisions.c.doc, revisions.c.revision)
    .join(
        applications,
        sa.and_(
            applications.c.name == revisions.c.application,
            applications.c.current == revisions.c.revision,
        ),
    )
    .order_by(applications.c.name)
)
_CURRENT = _CURRENTS.where(applications.c.name == sa.bindparam("of"))


class SqlSpecs:
    """Revisions of application files; implements ``store_ports.Specs``.

    What a transaction has read once it need not read again; a file that it stores begins anew.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[tuple[ApplicationName, int | None], ApplicationSpec] = {}

    def add(self, spec: ApplicationSpec, at: datetime) -> ApplicationSpec:
        """Store a valid file as the current revision; equal content keeps its number.

        Content that comes back after something else was current gets its old number again.
        """
        self._known.clear()
        content = _content(spec)
        known = self._session.first(_NUMBER, of=spec.name, of_content=content)
        number = known.revision if known is not None else self._next(spec.name)
        stored = replace(spec, revision=number)
        self._session.run(_SET_CURRENT, name=spec.name, current=number, changed_at=at)
        self._session.run(
            _PUT_REVISION,
            application=spec.name,
            revision=number,
            content=content,
            added_at=at,
            doc=_SPEC.encode(stored),
        )
        return stored

    def get(self, application: ApplicationName, revision: int) -> ApplicationSpec | None:
        """Read one revision."""
        return self._read(application, revision)

    def current(self, application: ApplicationName) -> ApplicationSpec | None:
        """Read the current revision; None when the file was removed."""
        return self._read(application, None)

    def currents(self) -> Sequence[ApplicationSpec]:
        """Read all current revisions, by name."""
        return [_SPEC.decode(row.doc) for row in self._session.rows(_CURRENTS)]

    def remove(self, application: ApplicationName, at: datetime) -> None:
        """Record that the file is gone; old revisions stay."""
        self._known.clear()
        self._session.run(_REMOVE, of=application, current=None, changed_at=at)

    def _read(self, application: ApplicationName, revision: int | None) -> ApplicationSpec | None:
        """Read one revision, or the current one."""
        name = (application, revision)
        if name not in self._known:
            row = (
                self._session.first(_CURRENT, of=application)
                if revision is None
                else self._session.first(_GET, of=application, of_revision=revision)
            )
            if row is None:
                return None
            self._known[name] = _SPEC.decode(row.doc)
        return self._known[name]

    def _next(self, application: ApplicationName) -> int:
        row = self._session.first(_LAST, of=application)
        return 1 if row is None or row.last is None else int(row.last) + 1


def _content(spec: ApplicationSpec) -> str:
    """Name the content: the file's own digest, or one over everything but number and place."""
    if spec.digest:
        return spec.digest
    document = _SPEC.encode(replace(spec, revision=0, file=""))
    return hashlib.sha256(orjson.dumps(document, option=orjson.OPT_SORT_KEYS)).hexdigest()
