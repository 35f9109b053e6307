"""Text and blocks as Slack takes them: escaped, redacted, and within its limits.

Limits are those of Block Kit: 3,000 characters a section, 50 blocks, and about 13,000 characters
for all of them, which is not written down but refused (``msg_blocks_too_long``).
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gitopsd.domain.manifests import JsonObject
from gitopsd.kube.redaction import redact_clause

MAX_SECTION = 3000
MAX_BLOCKS = 50
MAX_TOTAL = 12_000
MAX_FALLBACK = 3900

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "`": "'"}
_ELLIPSIS = "..."
_CLIP = 300
_CUT = "_What is more than fits is left out; the API shows all of it._"
# Controls, and what turns the direction of text: a subject must not rearrange what is approved.
_INVISIBLE = ("Cc", "Cf", "Co", "Cs", "Zl", "Zp")


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        text: What a notification, and a client without blocks, shows.
        blocks: What everybody else sees.
    """

    text: str
    blocks: tuple[JsonObject, ...]

    @property
    def digest(self) -> str:
        """Names the content; equal for equal messages."""
        content = json.dumps([self.text, self.blocks], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:20]


def make_message(text: str, blocks: Iterable[JsonObject]) -> Message:
    """Make a message that keeps all limits.

    Args:
        text: Fallback, of escaped parts.
        blocks: Blocks in order; those that do not fit any more are left out, and that is said.
    """
    kept: list[JsonObject] = []
    total = len(_CUT)
    for block in blocks:
        total += _length(block)
        if len(kept) == MAX_BLOCKS - 1 or total > MAX_TOTAL:
            kept.append(context(_CUT))
            break
        kept.append(block)
    return Message(_cut_marked(text, MAX_FALLBACK), tuple(kept))


def escape(text: str, limit: int = _CLIP) -> str:
    """Write what others wrote so that it means nothing to Slack: one line, redacted.

    Args:
        text: The text.
        limit: Longest result, in characters.
    """
    signs = (sign for sign in redact_clause(text) if unicodedata.category(sign) not in _INVISIBLE)
    line = " ".join("".join(signs).split())
    pieces = [_ESCAPES.get(sign, sign) for sign in line]
    if sum(map(len, pieces)) <= limit:
        return "".join(pieces)
    kept = ""
    for piece in pieces:
        if len(kept) + len(piece) + len(_ELLIPSIS) > limit:
            break
        kept += piece
    return kept + _ELLIPSIS


def code(text: str, limit: int = _CLIP) -> str:
    """Write a name as code."""
    return f"`{escape(text, limit)}`" if text else "`-`"


def link(url: str, label: str) -> str:
    """Write a link; the label alone when there is no address."""
    usable = url.startswith(("https://", "http://")) and not any(sign in url for sign in "<>|\n ")
    return f"<{url}|{label}>" if usable else ""


def when(at: datetime) -> str:
    """Write a time in the reader's own zone."""
    fallback = f"{at.astimezone(UTC):%d %b %H:%M} UTC"
    return f"<!date^{int(at.timestamp())}^{{date_short_pretty}} {{time}}|{fallback}>"


def say_duration(duration: timedelta) -> str:
    """Write a duration for people: ``0.4 s``, ``12 s``, ``3 min 5 s``, ``2 h 10 min``."""
    seconds = max(duration.total_seconds(), 0.0)
    if seconds < 10:  # noqa: PLR2004 - below it a tenth is worth saying
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def section(text: str) -> JsonObject:
    """Make one section."""
    return {"type": "section", "text": _mrkdwn(_cut_marked(text, MAX_SECTION))}


def sections(lines: Iterable[str]) -> tuple[JsonObject, ...]:
    """Make as few sections as the lines need."""
    made: list[JsonObject] = []
    text = ""
    for line in lines:
        if text and len(text) + 1 + len(line) > MAX_SECTION:
            made.append(section(text))
            text = ""
        text = f"{text}\n{line}" if text else line
    return (*made, section(text)) if text else tuple(made)


def context(*parts: str) -> JsonObject:
    """Make a line of small print."""
    text = "  \u00b7  ".join(part for part in parts if part)
    return {"type": "context", "elements": [_mrkdwn(_cut_marked(text, MAX_SECTION))]}


def _mrkdwn(text: str) -> JsonObject:
    # Verbatim: Slack makes no links or mentions of its own out of what people wrote.
    return {"type": "mrkdwn", "text": text or " ", "verbatim": True}


def _length(block: JsonObject) -> int:
    elements = block.get("elements")
    held = elements[0] if isinstance(elements, list) else block.get("text")
    return len(str(held.get("text"))) if isinstance(held, dict) else 0


def _cut_marked(text: str, limit: int) -> str:
    """Cut text at the end of a line, so that no escape and no link is cut in two."""
    if len(text) <= limit:
        return text
    kept = text[: limit - len(_ELLIPSIS) - 1]
    line = kept.rfind("\n")
    if line > 0:
        return kept[:line] + "\n" + _ELLIPSIS
    for opening, closing in (("<", ">"), ("&", ";")):
        begun = kept.rfind(opening)
        if begun > kept.rfind(closing):
            kept = kept[:begun]
    return kept + _ELLIPSIS
