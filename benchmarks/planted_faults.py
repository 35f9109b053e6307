"""Faults of one line, planted in a copy of a module, that random histories have to find.

The tree is never changed: in a process of its own the module is loaded from its source with the
one line replaced, and everything above it is imported anew. ``python -m benchmarks.planted_faults
--histories N NAME...`` prints for each fault the first history that breaks a rule, or null.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder, SourceLoader
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]
_PROCESSES = 2
_ANEW = ("gitopsd.pipeline", "benchmarks.histor", "tests.support.pipeline_")
"""What is imported anew for each fault: the pipeline, and everything that imports it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One line that is wrong.

    Attributes:
        name: What goes wrong, in a few words.
        module: The module under ``gitopsd.pipeline``.
        old: A piece of its text that is there once.
        new: What is there instead.
    """

    name: str
    module: str
    old: str
    new: str


FAULTS: tuple[Fault, ...] = (
    Fault(
        "a stale outcome is believed",
        "machine",
        "if isinstance(event, _Outcome) and event.command != run.command:",
        "if isinstance(event, _Outcome) and run.command is None:",
    ),
    Fault(
        "no sight is a verdict",
        "machine",
        "if run.last_look is LastLook.NOT_HEALTHY and _is_recent(run, at):",
        "if run.last_look is not LastLook.HEALTHY and _is_recent(run, at):",
    ),
    Fault(
        "a frozen run expires",
        "machine",
        "if run.step_deadline is None or run.clock_stopped_at is not None:",
        "if run.step_deadline is None:",
    ),
    Fault(
        "a writing run forgets that it writes",
        "machine",
        "mutated=run.mutated or step in MUTATING_STEPS,",
        "mutated=run.mutated,",
    ),
    Fault(
        "attempts never end",
        "machine",
        "spent = run.attempt >= event.limit and not event.locked_out",
        "spent = run.attempt > 1000 and not event.locked_out",
    ),
    Fault(
        "an abort restores though nobody asked",
        "endings",
        "    if run.aborting_restore:",
        "    if run.aborting:",
    ),
    Fault(
        "a failure without a write is restored",
        "endings",
        'if run.mutated else ((), "nothing was changed")',
        'if run.rendered else ((), "nothing was changed")',
    ),
    Fault(
        "a rollback that failed starts another",
        "endings",
        "    if run.kind is RunKind.ROLLBACK:\n        key = run.stage",
        "    if run.kind is RunKind.SYNC:\n        key = run.stage",
    ),
    Fault(
        "an outdated plan passes its Gate",
        "table",
        "        _VALIDATE | _DIFF | _GATE,",
        "        _VALIDATE | _DIFF,",
    ),
    Fault(
        "Prune is left out",
        "steps",
        "    following = order.index(step) + 1",
        "    following = order.index(step) + 1 + (step is Step.VERIFY)",
    ),
    Fault(
        "a held stage takes whatever is offered",
        "implicit_gates",
        "    if hold is None:",
        "    if hold is None or hold.by:",
    ),
    Fault(
        "what was revoked is restored",
        "rollback",
        "standing = (item for item in facts.verifications if item.revoked_at is None)",
        "standing = (item for item in facts.verifications if item.sequence)",
    ),
)


def find_faults(histories: int) -> dict[str, int | None]:
    """Plant each fault, in two processes side by side.

    Args:
        histories: How many may be played until it is found.

    Returns:
        Fault -> how many histories it took; None when it was not found.
    """
    names = [fault.name for fault in FAULTS]
    command = [sys.executable, "-m", "benchmarks.planted_faults", "--histories", str(histories)]
    children = [
        subprocess.Popen(
            [*command, *names[number::_PROCESSES]], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for number in range(_PROCESSES)
    ]
    found: dict[str, int | None] = {}
    for child in children:
        said, _ = child.communicate()
        if child.returncode != 0:
            raise subprocess.CalledProcessError(child.returncode, command)
        found |= json.loads(said)
    return {name: found[name] for name in names}


class _Planted(SourceLoader):
    """Loads a module from its source with one piece of it replaced."""

    def __init__(self, path: str, fault: Fault) -> None:
        self._path = path
        self._fault = fault

    def get_filename(self, fullname: str) -> str:
        """Tell where the module's text is."""
        return self._path if fullname == _module(self._fault) else ""

    def get_data(self, path: str) -> bytes:
        """Read the text, the fault in it; nothing compiled is looked for."""
        text = Path(path).read_text("utf-8")
        if path != self._path or text.count(self._fault.old) != 1:
            message = f"{self._fault.name}: {path} does not hold its line just once"
            raise OSError(message)
        return text.replace(self._fault.old, self._fault.new).encode()


class _Finder(MetaPathFinder):
    """Finds the one module that the fault is in."""

    def __init__(self, path: str, fault: Fault) -> None:
        self._loader = _Planted(path, fault)
        self._name = _module(fault)

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol of importlib
        target: ModuleType | None = None,  # noqa: ARG002 - the protocol of importlib
    ) -> ModuleSpec | None:
        """Find the module, or leave it to the others."""
        return spec_from_loader(fullname, self._loader) if fullname == self._name else None


def _module(fault: Fault) -> str:
    return f"gitopsd.pipeline.{fault.module}"


def _search(fault: Fault, histories: int) -> int | None:
    """Plant a fault and play; tell the first history that notices."""
    for name in [name for name in sys.modules if name.startswith(_ANEW)]:
        del sys.modules[name]
    spec = find_spec(_module(fault))
    if spec is None or spec.origin is None:
        message = f"there is no {_module(fault)}"
        raise ImportError(message)
    finder = _Finder(spec.origin, fault)
    sys.meta_path.insert(0, finder)
    try:
        player = importlib.import_module("benchmarks.history_player")
        found: int | None = player.find_broken(range(histories))
    finally:
        sys.meta_path.remove(finder)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant some faults, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planted_faults")
    parser.add_argument("--histories", type=int, required=True)
    parser.add_argument("names", nargs="+")
    options = parser.parse_args(arguments)
    by_name: Mapping[str, Fault] = {fault.name: fault for fault in FAULTS}
    found = {name: _search(by_name[name], options.histories) for name in options.names}
    sys.stdout.write(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
