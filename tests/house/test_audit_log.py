"""The reader of audit logs: it reads on, and misses nothing."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.support.audit_log import AuditLog

if TYPE_CHECKING:
    from pathlib import Path


def _numbers(log: AuditLog, since: int = 0) -> list[int]:
    return [event["n"] for event in log.events(since)]


def _append(path: Path, text: str) -> None:
    with path.open("a", encoding="utf-8") as log:
        log.write(text)


def test_a_log_is_read_on_from_any_event(tmp_path: Path) -> None:
    """Events that come later are found, from the number that was asked for; none is lost."""
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    assert (log.length(), _numbers(log)) == (0, [])

    _append(path, "".join(json.dumps({"n": n, "who": "ü"}) + "\n" for n in range(3)))
    assert (log.length(), _numbers(log), _numbers(log, 1)) == (3, [0, 1, 2], [1, 2])

    _append(path, '{"n": 3}\n')
    assert (_numbers(log, 3), _numbers(log), _numbers(log, 4)) == ([3], [0, 1, 2, 3], [])


def test_a_line_that_is_being_written_is_no_event_yet(tmp_path: Path) -> None:
    """It counts when its end has come, once and whole."""
    path = tmp_path / "audit.log"
    log = AuditLog(path)
    _append(path, '{"n": 0}\n{"n"')
    assert (log.length(), _numbers(log)) == (1, [0])

    _append(path, ": 1}\n")
    assert (log.length(), _numbers(log, 1)) == (2, [1])
