"""In-memory message handles and states of channels."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from gitopsd.domain.reports import ChannelState, MessageHandle
from gitopsd.errors import ConflictError
from gitopsd.testing.memory_tables import Journal, Table


class MemoryHandles:
    """Message handles and states of channels.

    Args:
        journal: Learns how to undo.
    """

    def __init__(self, journal: Journal) -> None:
        self._handles: Table[tuple[str, str], MessageHandle] = Table(journal)
        self._channels: Table[str, ChannelState] = Table(journal)

    def begin(self, handle: MessageHandle) -> bool:
        """Store a handle; False when its channel shows its subject already."""
        key = (handle.channel, handle.subject)
        if key in self._handles:
            return False
        self._handles.insert(key, handle)
        return True

    def get(self, channel: str, subject: str) -> MessageHandle | None:
        """Read one."""
        return self._handles.get((channel, subject))

    def save(self, handle: MessageHandle, *, expected_version: int) -> None:
        """Store ``handle`` (its version already raised) if the stored is ``expected_version``.

        Raises:
            ConflictError: It is not.
        """
        stored = self.get(handle.channel, handle.subject)
        if stored is None or stored.version != expected_version:
            raise ConflictError(
                f"Handle {handle.subject} of {handle.channel} is no longer at version "
                f"{expected_version}; read it again."
            )
        self._handles.put((handle.channel, handle.subject), handle)

    def about(self, topics: Collection[str]) -> Sequence[MessageHandle]:
        """Read the handles that one of the topics concerns, by channel and subject."""
        found = [handle for handle in self._handles if handle.topic in topics]
        return sorted(found, key=lambda handle: (handle.channel, handle.subject))

    def drop(self, before: datetime, limit: int) -> int:
        """Delete handles begun before, oldest first, at most ``limit``; returns how many went."""
        old = sorted(self._handles, key=lambda handle: handle.begun_at)
        gone = [handle for handle in old if handle.begun_at < before][:limit]
        for handle in gone:
            self._handles.remove((handle.channel, handle.subject))
        return len(gone)

    def save_channel(self, state: ChannelState) -> None:
        """Insert or replace how a channel fares."""
        self._channels.put(state.channel, state)

    def channel(self, name: str) -> ChannelState | None:
        """Read how a channel fares; None when nothing was ever wrong with it."""
        return self._channels.get(name)

    def channels(self) -> Sequence[ChannelState]:
        """List how channels fare, by name."""
        return sorted(self._channels, key=lambda state: state.channel)
