"""Starts services within milliseconds: one process loads the program, and forks for each of them.

``python -m tests.support.nursery`` reads a request a line and answers each with a line. A service
that it starts is a process in a session and group of its own, with its own environment and log, and
dies with the nursery.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tests.support.processes import inherited_environment

_PR_SET_PDEATHSIG = 1
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(slots=True)
class Nursling:
    """A service that a nursery started.

    Attributes:
        pid: Its id, which is its group's too.
        pidfd: Readable once it has ended.
        code: How it ended; negative for a signal, None while it runs.
    """

    pid: int
    pidfd: FileIO
    nursery: Nursery
    code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the whole group; one that has ended hears nothing."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def has_ended(self) -> bool:
        """Tell whether it has ended, and note how."""
        if self.code is None:
            self.code = self.nursery.reap(self.pid)
        return self.code is not None

    def stop(self) -> None:
        """Kill it. Safe to repeat.

        A service that has only just been forked is in no group of its own yet, so it is told again
        until it has ended.
        """
        while not self.has_ended():
            self.send(signal.SIGKILL)
            signal.sigtimedwait(set(), 0.01)
        self.pidfd.close()


class Nursery:
    """The process that starts services.

    Args:
        popen: The running child.
    """

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    def start(self, environment: Mapping[str, str], info: Path, log: Path) -> Nursling:
        """Start a service.

        Args:
            environment: Its whole environment.
            info: Where it writes that it is ready.
            log: Appended to.
        """
        request = {"environment": dict(environment), "info": str(info), "log": str(log)}
        pid = int(self._ask({"start": request}))
        return Nursling(pid, FileIO(os.pidfd_open(pid), "rb"), self)

    def reap(self, pid: int) -> int | None:
        """Tell how a service ended; None while it runs."""
        code = self._ask({"reap": pid})
        return None if code is None else int(code)

    def _ask(self, request: object) -> Any:  # noqa: ANN401 - any answer
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write(json.dumps(request).encode() + b"\n")
        self._popen.stdin.flush()
        return json.loads(self._popen.stdout.readline())


@contextmanager
def run_nursery() -> Iterator[Nursery]:
    """Run a nursery until the block ends; what it started ends with it."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**inherited_environment("PATH"), "PYTHONPATH": str(_ROOT)},
        cwd=_ROOT,
    ) as popen:
        try:
            yield Nursery(popen)
        finally:
            popen.kill()


def _serve() -> None:
    from tests.support import crash_service  # noqa: PLC0415 - what makes a start slow

    _warm()
    gc.freeze()
    for line in sys.stdin.buffer:
        request = json.loads(line)
        answer: int | None
        if "reap" in request:
            pid, status = os.waitpid(request["reap"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _become(crash_service.serve, **request["start"])
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()


def _warm() -> None:
    """Load what is loaded when it is first used."""
    from gitopsd.store.migrate import migrate  # noqa: PLC0415 - as above

    with tempfile.TemporaryDirectory() as folder:
        migrate(f"sqlite:///{folder}/warm.db")


def _become(serve: Any, environment: dict[str, str], info: str, log: str) -> None:  # noqa: ANN401 - any function
    """Be the service from here on; never returns."""
    code = 1
    try:
        os.setsid()
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        _redirect(Path(log))
        os.environ.clear()  # noqa: TID251 - the service sees what its test gave it
        os.environ.update(environment)  # noqa: TID251 - as above
        serve(environment, Path(info))
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:  # noqa: BLE001 - the process ends here, whatever happened
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stderr.flush()
        os._exit(code)


def _redirect(log: Path) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.close(nothing)
    os.close(output)


if __name__ == "__main__":
    _serve()
