"""Log lines: JSON, redacted, bounded, and never the reason for a crash."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest

from gitopsd.adapters.telemetry.logs import (
    MAX_FIELDS,
    JsonFormatter,
    TextFormatter,
    start_logging,
)
from tests.support.planted import plant

LOG = logging.getLogger("gitopsd.test")


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """What was written, with the process's logging restored afterwards."""
    root = logging.getLogger()
    before = (root.level, root.handlers[:], logging.raiseExceptions)
    written = io.StringIO()
    yield written
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    logging.raiseExceptions = before[2]


@pytest.fixture
def lines(stream: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    """Read what was logged as JSON."""
    start_logging("json", level="DEBUG", stream=stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def _raise(error: Exception) -> NoReturn:
    raise error


Lines = Callable[[], list[dict[str, Any]]]


def test_a_line_is_one_object(lines: Lines) -> None:
    """Time, level, logger, message and the fields given."""
    LOG.info("stage %s is %s", "production", "stalled", extra={"run": "run-1", "tries": 3})
    [line] = lines()
    assert line.pop("time").endswith("+00:00")
    assert line == {
        "level": "info",
        "logger": "gitopsd.test",
        "message": "stage production is stalled",
        "run": "run-1",
        "tries": 3,
    }


def test_an_error_has_its_traceback(lines: Lines) -> None:
    """With its cause, on the same line."""
    try:
        try:
            _raise(ValueError("password=hunter22"))
        except ValueError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        LOG.exception("it failed")
    [line] = lines()
    assert "ValueError: password=***" in line["error"]
    assert line["error"].rstrip().endswith("RuntimeError: outer")


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize("number", range(0, 50, 5))
def test_no_planted_secret_is_written(stream: io.StringIO, number: int, form: str) -> None:
    """Neither from messages nor from fields nor from errors."""
    planted = plant()[number]
    start_logging(form, stream=stream)
    try:
        _raise(ValueError(planted.text))
    except ValueError:
        LOG.exception(
            "said %s", planted.text, extra={"note": planted.text, "token": planted.secret}
        )
    assert planted.secret not in stream.getvalue()
    assert "ValueError" in stream.getvalue()


def test_fields_are_bounded(lines: Lines) -> None:
    """Many fields, long values and long messages are cut, and it is said."""
    fields = {f"field{number}": "x" * 5000 for number in range(MAX_FIELDS + 5)}
    LOG.info("y" * 100_000, extra=fields)
    [line] = lines()
    assert line["leftOut"] == 5
    assert len(line) == 5 + MAX_FIELDS
    assert len(line["field0"]) <= 1000
    assert len(line["message"]) <= 4000


class _Odd:
    """Cannot be written."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")

    __repr__ = __str__


class _OddError(Exception):
    """An error that cannot be written."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no text")


def _format(message: str, *arguments: object, **fields: object) -> dict[str, Any]:
    """Format a record that no other handler sees: pytest's own could not write these."""
    record = logging.makeLogRecord({"msg": message, "args": arguments, "name": "x", **fields})
    line: dict[str, Any] = json.loads(JsonFormatter().format(record))
    assert TextFormatter().format(record).encode()
    return line


def test_odd_values_are_written_somehow() -> None:
    """What has no text, or arguments that do not fit, never raise."""
    line = _format("a", odd=_Odd(), none=None, yes=True, big=2**70, bytes=b"\xff", nan=1.5)
    assert line["odd"] == "<_Odd: RuntimeError>"
    assert (line["none"], line["yes"], line["big"], line["nan"]) == (None, True, str(2**70), 1.5)
    assert _format("%d", "no number")["message"].startswith("%d (its arguments do not fit: ")
    assert _format("%s", _Odd())["message"].startswith("%s (its arguments do not fit: ")
    assert _format("nul \x00 and half \udcff")["message"] == "nul \x00 and half ?"
    error = _OddError()
    assert "_OddError" in _format("b", exc_info=(_OddError, error, None))["error"]
    assert "error" not in _format("b", exc_info=(None, None, None))


def test_fields_do_not_replace_what_every_line_has() -> None:
    """A field named like one of them is set aside."""
    line = _format("c", time="mine", error="mine", level="mine")
    assert (line["time_"], line["error_"], line["level_"]) == ("mine", "mine", "mine")
    assert line["level"] != "mine"


def test_text_is_for_people(stream: io.StringIO) -> None:
    """One line, with fields behind the message."""
    start_logging("text", stream=stream)
    LOG.warning("stalled", extra={"run": "run-1"})
    LOG.debug("not shown")
    [line] = stream.getvalue().splitlines()
    assert line[8:] == " warning  stalled run=run-1"


def test_setting_up_twice_writes_once(stream: io.StringIO) -> None:
    """Safe to repeat; libraries that talk much are asked to be quiet."""
    start_logging("json", stream=io.StringIO())
    start_logging("json", stream=stream)
    LOG.info("once")
    logging.getLogger("arq.worker").info("a job")
    logging.getLogger("aiohttp.access").info("GET /")
    assert len(stream.getvalue().splitlines()) == 1
