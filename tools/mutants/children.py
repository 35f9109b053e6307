"""Child processes that a mutant may break, hang or fill: forked, silent, bounded, ended by id."""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

_MEMORY_BYTES = 6 * 1024**3
_LONGEST_NOTE_BYTES = 4096


class Outcome(Enum):
    """What became of a mutant."""

    Killed = "Killed"
    TimedOut = "TimedOut"
    Survived = "Survived"
    NotRun = "NotRun"


_EXIT = {Outcome.Survived: 0, Outcome.Killed: 1, Outcome.NotRun: 3}


@dataclass(frozen=True, slots=True)
class Result:
    """How a child ended.

    Attributes:
        outcome: The verdict; a child that crashed has noticed the mutant too.
        note: The test that noticed, when one did.
    """

    outcome: Outcome
    note: str = ""


def _run_child(work: Callable[[], Result], note_end: int, log: Path) -> None:
    """Runs in the child; never returns."""
    code = _EXIT[Outcome.Killed]
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        result = work()
        os.write(note_end, result.note.encode()[:_LONGEST_NOTE_BYTES])
        code = _EXIT[result.outcome]
    finally:
        # No exit handlers: they belong to the parent.
        os._exit(code)


def run_in_child(
    work: Callable[[], Result], seconds: float, log: Path = Path(os.devnull)
) -> Result:
    """Forks, does the work there, and says how it ended; kills a child that takes too long.

    Args:
        work: What to do; its result is passed back.
        seconds: How long it may take.
        log: Where its output goes.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        _run_child(work, writer, log)
    os.close(writer)
    handle = os.pidfd_open(child)
    try:
        ended = bool(select.select([handle], [], [], seconds)[0])
        if not ended:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        note = os.read(reader, _LONGEST_NOTE_BYTES).decode(errors="replace") if ended else ""
    finally:
        os.close(handle)
        os.close(reader)
    if not ended:
        return Result(Outcome.TimedOut)
    code = os.waitstatus_to_exitcode(status)
    for outcome, expected in _EXIT.items():
        if code == expected:
            return Result(outcome, note)
    return Result(Outcome.Killed, note)
