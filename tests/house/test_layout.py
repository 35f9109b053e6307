"""The layout of the code: charters, sizes, names, and what the core does without."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from gitopsd.engine.execution import execute_step, expire_deadlines
from gitopsd.engine.intake import accept_delivery, process_deliveries, process_delivery
from gitopsd.engine.looks import run_look
from gitopsd.engine.observation import watch_run
from gitopsd.engine.sending import send_queued
from gitopsd.engine.step_handlers import HANDLERS
from tests.support.projects import REPOSITORY

_CODE = REPOSITORY / "gitopsd"
_CORE = ("domain", "kube", "pipeline", "webhooks")
_LONGEST = 400
_SAY_NOTHING = {"utils", "util", "helpers", "common", "manager", "base", "data", "info", "misc"}
_HANDLERS = (
    accept_delivery,
    execute_step,
    expire_deadlines,
    process_deliveries,
    process_delivery,
    run_look,
    send_queued,
    watch_run,
    *HANDLERS.values(),
)


def _modules(*packages: str) -> Iterator[Path]:
    for folder in [_CODE / package for package in packages] or [_CODE]:
        yield from sorted(folder.rglob("*.py"))


def _place(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


def test_every_package_has_a_charter_and_nothing_else() -> None:
    """Its first lines say what belongs there and what never does; code has a module of its own."""
    wrong = []
    for path in _modules():
        if path.name != "__init__.py" or path.parent == _CODE:
            continue
        module = ast.parse(path.read_text())
        charter = ast.get_docstring(module) or ""
        if "Belongs here" not in charter or "Never" not in charter or len(module.body) > 1:
            wrong.append(_place(path))

    assert wrong == []


def test_no_module_is_too_long_to_read() -> None:
    """Four hundred lines are the ceiling."""
    lengths = {_place(path): len(path.read_text().splitlines()) for path in _modules()}

    assert {path: length for path, length in lengths.items() if length > _LONGEST} == {}


def test_every_name_says_something() -> None:
    """No module or package is called by what could hold anything."""
    names = [path.parent if path.name == "__init__.py" else path for path in _modules()]

    assert [_place(path) for path in names if path.stem in _SAY_NOTHING] == []


def test_no_branch_of_the_core_is_excused() -> None:
    """What `make coverage` asks of the core, it asks of every line."""
    excused = [_place(path) for path in _modules(*_CORE) if "pragma:" in path.read_text()]

    assert excused == []


@pytest.mark.parametrize("handler", _HANDLERS, ids=lambda handler: handler.__name__)
def test_every_handler_says_why_it_may_run_twice(handler: object) -> None:
    """One line of its docstring does: every effect may be repeated after a crash."""
    assert "Safe to repeat: " in (handler.__doc__ or "")
