"""Log lines: one JSON object each, redacted and bounded."""

from __future__ import annotations

import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

import orjson

from gitopsd.kube.redaction import is_sensitive_name, redact_text

MAX_FIELDS = 20
"""Further fields of a line are left out and counted."""

_MAX_MESSAGE = 4000
_MAX_VALUE = 1000
_MAX_TRACEBACK = 8000
_QUIET = ("aiohttp.access", "alembic", "arq", "asyncio", "sqlalchemy", "urllib3")
_RESERVED = frozenset(("time", "level", "logger", "message", "error", "leftOut"))
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """Writes a record as one JSON object on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what cannot be written is said to be so, never raised."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact_text(_read_message(record)[:_MAX_MESSAGE]),
            **_select_fields(record),
        }
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _write_error(record.exc_info[1])
        return orjson.dumps(line).decode()


class TextFormatter(logging.Formatter):
    """Writes a record for people at a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Write a record on one line, a traceback below it."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S")
        message = redact_text(_read_message(record)[:_MAX_MESSAGE])
        fields = "".join(f" {name}={value}" for name, value in _select_fields(record).items())
        text = f"{at} {record.levelname.lower():<8} {message}{fields}"
        if record.exc_info and record.exc_info[1] is not None:
            text += "\n" + _write_error(record.exc_info[1])
        return text


def start_logging(form: str, *, level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send all logs of the process to one stream. Safe to repeat: replaces what it set up before.

    Args:
        form: ``json`` or ``text``.
        level: Lowest level that is written.
        stream: Where to; standard error unless given.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.set_name("gitopsd")
    handler.setFormatter(TextFormatter() if form == "text" else JsonFormatter())
    root = logging.getLogger()
    for old in [one for one in root.handlers if one.get_name() == "gitopsd"]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.raiseExceptions = False


def _read_message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - arguments that do not fit must not end anything
        return f"{record.msg} (its arguments do not fit: {type(error).__name__})"


def _select_fields(record: logging.LogRecord) -> dict[str, object]:
    names = [name for name in vars(record) if name not in _OWN]
    fields: dict[str, object] = {}
    for name in names[:MAX_FIELDS]:
        key = f"{name}_" if name in _RESERVED else redact_text(name[:100])
        fields[key] = _write_value(name, vars(record)[name])
    if len(names) > MAX_FIELDS:
        fields["leftOut"] = len(names) - MAX_FIELDS
    return fields


def _write_value(name: str, value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float) and abs(value) < 2**53:
        return value
    if is_sensitive_name(name):
        return "***"
    try:
        text = str(value)
    except Exception as error:  # noqa: BLE001 - as above
        text = f"<{type(value).__name__}: {type(error).__name__}>"
    return redact_text(text[:_MAX_VALUE])


def _write_error(error: BaseException) -> str:
    try:
        text = "".join(traceback.format_exception(error, limit=-30))
    except Exception as trouble:  # noqa: BLE001 - as above
        text = f"{type(error).__name__} (it cannot be written: {type(trouble).__name__})"
    # The end of a traceback says what happened.
    return redact_text(text[-_MAX_TRACEBACK:])
