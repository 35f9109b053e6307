"""Slack: one message for each report, found again and updated in place."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import deepcopy
from datetime import datetime, timedelta
from typing import Any

from gitopsd.adapters.notify.outgoing import Outgoing, UnclearError, UnsentError
from gitopsd.adapters.notify.slack_client import (
    RefusedMessageError,
    SlackClient,
    SlackSetupError,
)
from gitopsd.adapters.notify.slack_messages import MAIN, Piece, write_pieces
from gitopsd.adapters.notify.slack_text import Message
from gitopsd.domain.channels import ChannelSpec
from gitopsd.domain.manifests import JsonObject
from gitopsd.domain.reports import Report, StageReport
from gitopsd.errors import PermanentError
from gitopsd.ports import Clock, Remember

EVENT_TYPE = "gitopsd_message"
"""Type of the metadata by which a message is found again."""

LOOK_BACK = timedelta(minutes=10)
"""How much earlier than our clock says a lost message is looked for: clocks differ."""

_PAGE = 200
_PAGES = 10
_GONE = ("message_not_found", "thread_not_found", "cannot_reply_to_message")
_NOT_OURS = ("cant_update_message", "edit_window_closed")
_TOO_MUCH = ("invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long")

_LOG = logging.getLogger(__name__)


class SlackReports:
    """Shows reports in Slack conversations.

    What it remembers: ``pieces``, for each message where it is and what it said last, and
    ``making``, when the posting of a message began whose outcome is not known.

    Args:
        outgoing: Connections.
        clock: Time.
        base_url: Address of the Web API; empty for the public one.
    """

    def __init__(self, outgoing: Outgoing, clock: Clock, base_url: str = "") -> None:
        self._client = SlackClient(outgoing, clock, base_url)
        self._clock = clock

    async def show(
        self,
        channel: ChannelSpec,
        report: Report,
        known: JsonObject,
        remember: Remember,
        *,
        under: JsonObject | None = None,
    ) -> None:
        """Show a report; see `gitopsd.ports.Notifier.show`.

        Safe to repeat: a message that is there with the same content is left alone, and one whose
        posting was not seen to end is looked for by its metadata before it is posted again.
        """
        if isinstance(report, StageReport):
            return
        place = _Place(channel, self._client, self._clock, report.id, known, remember)
        above = _read_pieces(under).get(MAIN) if under is not None else None
        if above is not None and above.get("gone"):
            above = None
        for piece in write_pieces(report, threaded=above is not None):
            parent = (above or place.main) if piece.below else None
            if piece.below and (parent is None or parent.get("gone")):
                continue
            await place.show(piece, parent)


class _Place:
    """The messages of one report.

    Args:
        channel: Where.
        client: Slack.
        clock: Time.
        report: Id of the report.
        known: What was remembered last.
        remember: Stores it.
    """

    def __init__(
        self,
        channel: ChannelSpec,
        client: SlackClient,
        clock: Clock,
        report: str,
        known: JsonObject,
        remember: Remember,
    ) -> None:
        self._channel = channel
        self._client = client
        self._clock = clock
        self._report = report
        self._pieces = _read_pieces(known)
        making = known.get("making")
        self._making = dict(making) if isinstance(making, Mapping) else {}
        self._remember = remember

    @property
    def main(self) -> dict[str, Any] | None:
        """Where the main piece is; None before it is anywhere."""
        return self._pieces.get(MAIN)

    async def show(self, piece: Piece, parent: Mapping[str, Any] | None) -> None:
        """Bring one message to what it should say."""
        if piece.key not in self._pieces and piece.key in self._making:
            found = await self._find(piece.key, parent)
            if found is not None:
                self._pieces[piece.key] = found
                await self._save(made=piece.key)
        entry = self._pieces.get(piece.key)
        if entry is None:
            await self._post(piece, parent)
        elif not entry.get("gone") and entry.get("digest") != piece.message.digest:
            await self._update(piece, parent, entry)

    async def _post(self, piece: Piece, parent: Mapping[str, Any] | None) -> None:
        if piece.key not in self._making:
            self._making[piece.key] = self._clock.now().isoformat()
            await self._save()
        where: dict[str, Any] = {"channel": self._channel.conversation}
        if parent is not None:
            where |= {"channel": parent["channel"], "thread_ts": parent["ts"]}
            where |= {"reply_broadcast": True} if piece.loud else {}
        where |= {"unfurl_links": False, "unfurl_media": False}
        where["metadata"] = self._metadata(piece.key)
        try:
            answer = await self._send("chat_postMessage", piece.message, where)
        except RefusedMessageError as error:
            self._making.pop(piece.key, None)
            if error.code in _GONE:  # somebody deleted what this belongs below
                self._pieces[piece.key] = {"gone": True}
                await self._save()
                return
            await self._save()
            raise
        except (UnsentError, PermanentError):
            self._making.pop(piece.key, None)  # nothing was posted, so nothing need be looked for
            await self._save()
            raise
        self._pieces[piece.key] = _read_place(self._channel, answer, piece.message.digest)
        await self._save(made=piece.key)

    async def _update(
        self, piece: Piece, parent: Mapping[str, Any] | None, entry: dict[str, Any]
    ) -> None:
        where = {"channel": entry["channel"], "ts": entry["ts"]}
        where["metadata"] = self._metadata(piece.key)
        try:
            await self._send("chat_update", piece.message, where)
        except RefusedMessageError as error:
            if error.code in _GONE:  # whoever deleted it does not want it back
                entry["gone"] = True
                await self._save()
                return
            if error.code not in _NOT_OURS:
                raise
            del self._pieces[piece.key]  # of another app, with another token: begin anew
            await self._post(piece, parent)
            return
        entry["digest"] = piece.message.digest
        await self._save()

    async def _send(self, method: str, message: Message, where: Mapping[str, Any]) -> Any:
        blocks = deepcopy(message.blocks)  # the client adds to what it gets
        try:
            return await self._client.call(
                self._channel,
                lambda client: getattr(client, method)(
                    text=message.text, blocks=list(blocks), **where
                ),
            )
        except RefusedMessageError as error:
            if error.code not in _TOO_MUCH:
                raise
            _LOG.warning("%s; it is sent as plain text", error.message)
            return await self._client.call(
                self._channel, lambda client: getattr(client, method)(text=message.text, **where)
            )

    async def _find(self, key: str, parent: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Look for a message whose posting was not seen to end."""
        begun = datetime.fromisoformat(str(self._making[key]))
        arguments: dict[str, Any] = {
            "channel": parent["channel"] if parent is not None else self._channel.conversation,
            "oldest": f"{(begun - LOOK_BACK).timestamp():.6f}",
            "limit": _PAGE,
            "include_all_metadata": True,
        }
        method = "conversations_history"
        if parent is not None:
            method = "conversations_replies"
            arguments["ts"] = parent["ts"]
        for _ in range(_PAGES):
            try:
                answer = await self._client.call(
                    self._channel, lambda client: getattr(client, method)(**arguments)
                )
            except SlackSetupError as error:
                if error.code != "missing_scope":
                    raise
                _LOG.warning(
                    "%s. A message may be there twice: it cannot be looked for. "
                    "The scopes for that are channels:history and groups:history",
                    error.message,
                )
                return None
            messages = answer.get("messages")
            for message in messages if isinstance(messages, list) else ():
                if isinstance(message, Mapping) and self._is_mine(key, message):
                    place = {"ts": message.get("ts"), "channel": arguments["channel"]}
                    return _read_place(self._channel, place, "")
            following = answer.get("response_metadata")
            cursor = following.get("next_cursor") if isinstance(following, Mapping) else ""
            if not cursor:
                break
            arguments["cursor"] = cursor
        return None

    def _metadata(self, key: str) -> dict[str, Any]:
        return {"event_type": EVENT_TYPE, "event_payload": {"id": self._name(key)}}

    def _name(self, key: str) -> str:
        return f"{self._report}#{key}"

    def _is_mine(self, key: str, message: Mapping[str, Any]) -> bool:
        metadata = message.get("metadata")
        if not isinstance(metadata, Mapping) or metadata.get("event_type") != EVENT_TYPE:
            return False
        payload = metadata.get("event_payload")
        return isinstance(payload, Mapping) and payload.get("id") == self._name(key)

    async def _save(self, made: str = "") -> None:
        self._making.pop(made, None)
        await self._remember({"pieces": deepcopy(self._pieces), "making": dict(self._making)})


def _read_pieces(state: JsonObject | None) -> dict[str, dict[str, Any]]:
    pieces = state.get("pieces") if state is not None else None
    if not isinstance(pieces, Mapping):
        return {}
    return {key: dict(entry) for key, entry in pieces.items() if isinstance(entry, Mapping)}


def _read_place(channel: ChannelSpec, answer: Mapping[str, Any], digest: str) -> dict[str, Any]:
    """Read where a message is.

    Raises:
        UnclearError: It is not said.
    """
    ts, conversation = answer.get("ts"), answer.get("channel")
    if not isinstance(ts, str) or not ts:
        raise UnclearError(f"channel {channel.name}: Slack does not say where the message is")
    if not isinstance(conversation, str) or not conversation:
        conversation = channel.conversation
    return {"ts": ts, "channel": conversation, "digest": digest}
