"""The rollback scenarios as data, and the table of what came of them: ``build/rollback.json``.

Three drivers play them: ``virtual time`` is the whole engine with everything outside in memory;
``sandbox`` and ``control plane`` are the whole product, as it is started, on a simulated cluster
and on a real API server with its controllers. Hours are played in virtual time alone.
"""

from __future__ import annotations

import fcntl
import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path

TABLE = Path(__file__).resolve().parents[2] / "build" / "rollback.json"


class Where(Enum):
    """What a scenario is played on."""

    VIRTUAL = "virtual time"
    SANDBOX = "sandbox"
    CONTROL_PLANE = "control plane"


_REAL = (Where.SANDBOX, Where.CONTROL_PLANE)
_ALL = (Where.VIRTUAL, *_REAL)


@dataclass(frozen=True, slots=True)
class Scenario:
    """One way in which a release turns out to be bad.

    Attributes:
        name: What happens, in a few words.
        where: What it is played on.
        restored: Whether everything is as before afterwards; otherwise it stays as it is, and a
            person is called.
    """

    name: str
    where: tuple[Where, ...]
    restored: bool = True


SCENARIOS: tuple[Scenario, ...] = (
    Scenario("bad image", _ALL),
    Scenario("crash at once", _REAL),
    Scenario("crash after ten minutes", (Where.VIRTUAL,)),
    Scenario("failing metric", _ALL),
    Scenario("failing Job", _ALL),
    Scenario("deleted object", _ALL),
    Scenario("CRD change", _ALL),
    Scenario("declared manual", _ALL, restored=False),
    Scenario("rollback that fails", _ALL, restored=False),
    Scenario("Git down", _ALL),
    Scenario("registry down", _ALL),
    Scenario("three newer releases during a 20-hour approval", (Where.VIRTUAL,)),
    Scenario("three newer releases during an approval", _REAL),
    Scenario("image policy after a quarantine", _ALL),
    Scenario("three correlated failures", _ALL, restored=False),
    Scenario("daemon killed at each boundary", _ALL),
)


def played_on(where: Where) -> tuple[Scenario, ...]:
    """List the scenarios that a driver plays."""
    return tuple(one for one in SCENARIOS if where in one.where)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one scenario.

    Attributes:
        scenario: Its name.
        where: What it was played on.
        restored: Whether the live objects were as before, but for what nobody wishes.
        target: Release that was restored, or to be restored; empty when there was none.
        seconds: From the verdict to the healthy end of the Rollback, in the time it was played in;
            None when nothing was restored.
    """

    scenario: str
    where: str
    restored: bool
    target: str
    seconds: float | None


def record(outcome: Outcome, table: Path = TABLE) -> None:
    """Put an outcome into the table; others of this run, and of other processes, stay."""
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        rows = json.loads(table.read_text()) if table.exists() else []
        kept = {(row["scenario"], row["where"]): row for row in rows}
        kept[outcome.scenario, outcome.where] = asdict(outcome)
        order = {(one.name, place.value): None for one in SCENARIOS for place in one.where}
        draft = table.with_suffix(".part")
        found = [kept[key] for key in order if key in kept]
        draft.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
        draft.replace(table)


def forget(where: Where, table: Path = TABLE) -> None:
    """Take what an earlier run says about a driver out of the table."""
    if not table.exists():
        return
    with table.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        kept = [row for row in json.loads(table.read_text()) if row["where"] != where.value]
        table.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")
