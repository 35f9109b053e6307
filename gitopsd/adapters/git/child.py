"""The child that speaks to remotes: one JSON request a line in, one JSON answer a line out.

It is a program of its own because libgit2 cannot be interrupted: a fetch that hangs, drips or
loops ends with its process. It starts with nothing but the standard library; libgit2 is loaded
for the first request. It never outlives its parent, and it is told secrets only over its pipe.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import sys
from typing import IO

MAX_MEMORY_BYTES = 4 << 30
MAX_FILE_BYTES = 8 << 30
MAX_FILES = 1024
_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Answer requests until standard input ends."""
    _limit()
    _die_with(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Nothing but answers may reach the parent, whatever a library prints.
    os.dup2(2, 1)
    serve(sys.stdin, answers)


def serve(requests: IO[str], answers: IO[str]) -> None:
    """Answer each request line with one line."""
    for line in requests:
        answer = _answer(line)
        answers.write(f"{json.dumps(answer)}\n")
        answers.flush()


def _answer(line: str) -> dict[str, object]:
    from gitopsd.adapters.git.pushing import run_push
    from gitopsd.adapters.git.transfer import TransferError, list_tags, run_transfer

    try:
        request = json.loads(line)
        if request.get("push"):
            return {"refused": run_push(request)}
        if not request["ref"]:
            return {"tags": list_tags(request)}
        return {"head": run_transfer(request)}
    except TransferError as error:
        return {"error": error.reason, "message": str(error)}
    except MemoryError:
        return {"error": "TooLarge", "message": "the repository needs more memory than is allowed"}


def _limit() -> None:
    for what, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MAX_MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, MAX_FILE_BYTES),
        (resource.RLIMIT_NOFILE, MAX_FILES),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(what, (allowed, allowed))


def _die_with(parent: int) -> None:
    """Let the kernel kill this process when its parent ends, however that happens."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
