"""One demo from its start to its end."""

from __future__ import annotations

import errno
import json
import shutil
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from rich.console import Console

from gitopsd.cli.demo.children import LOOK_SECONDS, NAME_A_FOLDER
from gitopsd.cli.demo.configuration import NAMESPACES
from gitopsd.cli.demo.installation import (
    Installation,
    make_installation,
    remove_installation,
    start_installation,
)
from gitopsd.cli.demo.preparation import check_machine
from gitopsd.cli.demo.pushing import WorkTree
from gitopsd.cli.demo.scenarios import SCENARIOS, Play, Result, Stage
from gitopsd.cli.demo.screen import Screen, make_screen
from gitopsd.cli.demo.witness import Witness
from gitopsd.errors import GitopsdError, PermanentError

_ENDINGS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""How people end it: by asking, with Ctrl-C, and by closing the terminal."""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked for.

    Attributes:
        headless: Play, and end.
        as_json: End with a line for programs.
        hold: Play nothing; stay up.
        keep: Leave the directory behind.
        info: File that says where everything is, once it runs.
        listen: Where gitopsd listens.
    """

    headless: bool = False
    as_json: bool = False
    hold: bool = False
    keep: bool = False
    info: Path | None = None
    listen: str = "127.0.0.1:0"


class Stopped(BaseException):
    """Somebody asked the demo to end."""


@dataclass(slots=True)
class Account:
    """What came of everything.

    Attributes:
        results: What came of each scenario that was played to its end.
        problem: Why it ended early; empty when it did not.
    """

    results: dict[str, Result] = field(default_factory=dict)
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether every scenario came out right."""
        return not self.problem and len(self.results) == len(SCENARIOS)

    def describe(self) -> dict[str, object]:
        """The same for programs."""
        scenarios = {}
        for scenario in SCENARIOS:
            played = scenario.name in self.results
            result = self.results.get(scenario.name, Result("NotReached"))
            scenarios[scenario.name] = {
                "ok": played,
                "outcome": result.outcome,
                "push_to_production_seconds": _round(result.push_to_production),
                "fault_to_restored_seconds": _round(result.fault_to_restored),
            }
        return {"ok": self.ok, "scenarios": scenarios}


def run_demo(wishes: Wishes) -> int:
    """Run the demo; returns the exit code.

    Raises:
        PermanentError: It cannot run on this machine; says what helps.
    """
    console = Console()
    account = Account()
    with _ended_by_signals():
        try:
            check_machine(wishes.listen)
            _run(wishes, console, account)
        except Stopped:
            if wishes.headless:
                account.problem = account.problem or "it was asked to end"
        except GitopsdError as error:
            account.problem = account.problem or error.message
        except BrokenPipeError:
            account.problem = account.problem or "nobody reads what it says"
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            account.problem = f"{error}. {NAME_A_FOLDER}" if full else str(error)
        except Exception as error:  # noqa: BLE001 - programs get their last line all the same
            account.problem = f"a bug in the demo, please report it: {error!r}"
            traceback.print_exc()
    with suppress(OSError):  # the terminal may be gone
        _conclude(account, as_json=wishes.as_json)
    done = account.ok or (not account.problem and not wishes.headless)
    return 0 if done else 1


def _conclude(account: Account, *, as_json: bool) -> None:
    if account.problem:
        Console(stderr=True).print(f"gitopsd demo: {account.problem}", markup=False, soft_wrap=True)
    if as_json:
        print(json.dumps(account.describe()), flush=True)  # noqa: T201 - this line is the result


def _run(wishes: Wishes, console: Console, account: Account) -> None:
    made = make_installation()
    live = console.is_terminal and not wishes.headless and not wishes.hold
    try:
        with make_screen(console, {one.name: one.title for one in SCENARIOS}, live=live) as screen:
            start_installation(made, wishes.listen, screen.say)
            play = _make_play(made, screen)
            if wishes.hold:
                play.push_first()
            if wishes.info is not None:
                _write_info(wishes.info, made)
            if not wishes.hold:
                _play_all(play, screen, account)
        if wishes.headless and not wishes.hold:
            return
        _invite(console, made)
        _stay(made)
    finally:
        _end(made, console, keep=wishes.keep)


def _play_all(play: Play, screen: Screen, account: Account) -> None:
    for scenario in SCENARIOS:
        screen.begin(scenario.name, scenario.title)
        try:
            result = scenario.play(play)
        except GitopsdError as error:
            account.problem = f"{scenario.name}: {_tell_cause(play, error)}"
            screen.end(scenario.name, ok=False, outcome="did not come out right")
            raise
        account.results[scenario.name] = result
        screen.end(scenario.name, ok=True, outcome=_tell(result))


def _tell_cause(play: Play, error: GitopsdError) -> str:
    """What went wrong: a dead process or a full disk, rather than what somebody met thereby."""
    try:
        play.site.children.check()
    except GitopsdError as cause:
        return cause.message
    return f"{error.message}{_tell_standing(play)}"


def _tell_standing(play: Play) -> str:
    """What gitopsd says of each stage, for the person who looks for the cause."""
    told = ""
    for stage in play.stages:
        try:
            newest = play.runs(stage)[:1]
        except GitopsdError:
            return told  # it does not answer, and the error says so
        for run in newest:
            why = run["message"] or run["waitingFor"] or "no trouble known"
            told += f"\n  {stage}: {run['kind']} {run['phase']} in {run['step']}: {why}"
    return told


def _make_play(made: Installation, screen: Screen) -> Play:
    stages = {
        name: Stage(name, Witness(str(made.clusters[name]["kubeconfig"]), namespace))
        for name, namespace in NAMESPACES.items()
    }
    work = WorkTree(made.directory / "ai-core", made.push_address)
    return Play(made, work, stages, screen.say, {})


def _stay(made: Installation) -> None:
    pause = threading.Event()
    while True:
        made.children.check()
        pause.wait(LOOK_SECONDS)


def _end(made: Installation, console: Console, *, keep: bool) -> None:
    for number in _ENDINGS:
        signal.signal(number, signal.SIG_IGN)  # it is ending already
    remove_installation(made, keep=keep)
    if keep:
        console.print(f"Left behind: {made.directory}", markup=False, soft_wrap=True)


def _write_info(file: Path, made: Installation) -> None:
    partial = file.with_name(f"{file.name}.partial")
    try:
        partial.touch(mode=0o600)
        partial.write_text(json.dumps(made.describe(), indent=2) + "\n")
        partial.replace(file)
    except OSError as error:
        raise PermanentError(f"--info {file} cannot be written: {error.strerror}") from error


def _invite(console: Console, made: Installation) -> None:
    token = made.directory / "approver.token"
    token.touch(mode=0o600)
    token.write_text(made.tokens["approver"])
    kubeconfigs = {name: found["kubeconfig"] for name, found in made.clusters.items()}
    gitopsd, kubectl = _command("gitopsd"), _command("kubectl")
    lines = [
        "",
        "Everything stays up until Ctrl-C. In another terminal, try:",
        "",
        f"  export GITOPSD_SERVER={made.api} GITOPSD_TOKEN_FILE={token}",
        f"  {gitopsd} get",
        f"  {gitopsd} history ai-core production",
        f"  {gitopsd} explain ai-core production",
        f"  {kubectl} --kubeconfig {kubeconfigs['production']} get pods --namespace ai-core",
        "",
        "Or release something: clone, change, commit and push. Production asks for an approval:",
        "",
        f"  git clone {made.push_address}",
        f"  {gitopsd} approve ai-core production",
        "",
        f"Configuration, to copy: {made.directory / 'config'}",
        f"Logs: {made.children.directory}",
    ]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _command(name: str) -> str:
    """What a person types for a program that came with this one."""
    beside = Path(sys.executable).parent / name
    found = shutil.which(name)
    return str(beside) if beside.exists() and found != str(beside) else name


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise Stopped

    hangup_is_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as nohup asks for
    before = {
        number: signal.signal(number, stop)
        for number in _ENDINGS
        if number != signal.SIGHUP or not hangup_is_ignored
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tell(result: Result) -> str:
    told = [result.outcome]
    if result.push_to_production is not None:
        told.append(f"live {result.push_to_production:.1f} s after the push")
    if result.fault_to_restored is not None:
        told.append(f"well {result.fault_to_restored:.1f} s after the fault")
    return ", ".join(told)


def _round(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
