"""Where channels show reports, and how channels fare, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from gitopsd.domain.reports import ChannelState, MessageHandle
from gitopsd.errors import ConflictError
from gitopsd.store.codec import codec_of
from gitopsd.store.session import Row, Session, insert_new, upsert
from gitopsd.store.tables import channel_states, message_handles

_HANDLE = codec_of(MessageHandle)
_STATE = codec_of(ChannelState)

_BEGIN = insert_new(message_handles, "channel", "subject")
_OF = (
    message_handles.c.channel == sa.bindparam("of_channel"),
    message_handles.c.subject == sa.bindparam("of_subject"),
)
_GET = sa.select(message_handles).where(*_OF)
_SAVE = sa.update(message_handles).where(
    *_OF, message_handles.c.version == sa.bindparam("at_version")
)
_ABOUT = (
    sa.select(message_handles)
    .where(message_handles.c.topic.in_(sa.bindparam("topics", expanding=True)))
    .order_by(message_handles.c.channel, message_handles.c.subject)
)
_OLD = (
    sa.select(message_handles.c.channel, message_handles.c.subject)
    .where(
        message_handles.c.begun_at < sa.bindparam("before", type_=message_handles.c.begun_at.type)
    )
    .order_by(message_handles.c.begun_at)
    .limit(sa.bindparam("at_most"))
)
_DROP = sa.delete(message_handles).where(*_OF)
_SAVE_STATE = upsert(channel_states, "channel")
_STATES = sa.select(channel_states).order_by(channel_states.c.channel)
_STATE_OF = sa.select(channel_states).where(channel_states.c.channel == sa.bindparam("of"))


class SqlHandles:
    """Message handles and states of channels; implements ``record_ports.Handles``."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def begin(self, handle: MessageHandle) -> bool:
        """Store a handle; False when its channel shows its subject already."""
        return bool(
            self._session.run(
                _BEGIN,
                channel=handle.channel,
                subject=handle.subject,
                topic=handle.topic,
                version=handle.version,
                doc=_HANDLE.encode(handle),
                begun_at=handle.begun_at,
            )
        )

    def get(self, channel: str, subject: str) -> MessageHandle | None:
        """Read one."""
        row = self._session.first(_GET, of_channel=channel, of_subject=subject)
        return None if row is None else _read(row)

    def save(self, handle: MessageHandle, *, expected_version: int) -> None:
        """Store ``handle`` (its version already raised) if the stored is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """
        saved = self._session.run(
            _SAVE,
            of_channel=handle.channel,
            of_subject=handle.subject,
            at_version=expected_version,
            topic=handle.topic,
            version=handle.version,
            doc=_HANDLE.encode(handle),
        )
        if not saved:
            raise ConflictError(
                f"Handle {handle.subject} of {handle.channel} is no longer at version "
                f"{expected_version}; read it again."
            )

    def about(self, topics: Collection[str]) -> Sequence[MessageHandle]:
        """Read the handles that one of the topics concerns, by channel and subject."""
        return [_read(row) for row in self._session.rows(_ABOUT, topics=sorted(set(topics)))]

    def drop(self, before: datetime, limit: int) -> int:
        """Delete handles begun before, oldest first, at most ``limit``; returns how many went."""
        old = self._session.rows(_OLD, before=before, at_most=limit)
        self._session.run_many(
            _DROP, [{"of_channel": row.channel, "of_subject": row.subject} for row in old]
        )
        return len(old)

    def save_channel(self, state: ChannelState) -> None:
        """Insert or replace how a channel fares."""
        self._session.run(_SAVE_STATE, channel=state.channel, doc=_STATE.encode(state))

    def channel(self, name: str) -> ChannelState | None:
        """Read how a channel fares; None when nothing was ever wrong with it."""
        row = self._session.first(_STATE_OF, of=name)
        return None if row is None else _STATE.decode(row.doc)

    def channels(self) -> Sequence[ChannelState]:
        """List how channels fare, by name."""
        return [_STATE.decode(row.doc) for row in self._session.rows(_STATES)]


def _read(row: Row) -> MessageHandle:
    return _HANDLE.decode(row.doc)
