"""A process of its own that uses a store: ``python -m tests.support.store_child VERB ARGUMENT``.

``migrate URL`` migrates; ``count URL`` makes transitions of one run for ever and prints the number
of each after its commit; ``hold DIRECTORY`` takes the data directory, says so, and waits for the
end of its input.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from gitopsd.domain.releases import ApplicationName, ReleaseId, StageKey, StageName
from gitopsd.domain.runs import Phase, Run, RunId, RunKind, Step
from gitopsd.domain.stages import Stage
from gitopsd.domain.work import RunEvent, WorkItem, WorkKind
from gitopsd.store.data_directory import lock_data_directory
from gitopsd.store.migrate import migrate
from gitopsd.store.sql_store import open_store
from gitopsd.store_ports import Transaction

RUN = RunId("run-1")
STAGE = StageKey(ApplicationName("shop"), StageName("staging"))


def begin_counting(tx: Transaction) -> None:
    """Make the run and its stage unless they are there."""
    if tx.runs.get(RUN) is None:
        tx.stages.add(Stage(STAGE))
        tx.runs.add(Run(RUN, STAGE, ReleaseId("r-1"), RunKind.ROLLOUT, phase=Phase.RUNNING))


def count_one(tx: Transaction) -> int:
    """Make one transition: the run, its log, the outbox and the stage together."""
    run, stage = tx.runs.get(RUN), tx.stages.get(STAGE)
    if run is None or stage is None:
        raise LookupError(RUN)
    number = run.version + 1
    tx.runs.save(replace(run, version=number), expected_version=run.version)
    tx.runs.append_event(RunEvent(RUN, 0, tx.now, "StepPending", Step.APPLY, "Running"))
    tx.work.add(WorkItem(f"command-{number}", WorkKind.EXECUTE_STEP, RUN, tx.now))
    tx.stages.save(stage)
    return number


def start_child(verb: str, argument: str) -> subprocess.Popen[str]:
    """Start this module as a process that ends with this one."""
    command = ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", __name__]
    return subprocess.Popen(
        [*command, verb, argument],
        cwd=Path(__file__).resolve().parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


async def _count(url: str) -> None:
    store = open_store(url)
    await store.transact(begin_counting)
    while True:
        print(await store.transact(count_one), flush=True)  # noqa: T201 - the acknowledgement


def main(arguments: Sequence[str]) -> None:
    """Do what the first argument says."""
    verb, argument = arguments
    if verb == "migrate":
        migrate(argument)
    elif verb == "count":
        asyncio.run(_count(argument), debug=False)
    elif verb == "hold":
        with lock_data_directory(Path(argument)):
            print("locked", flush=True)  # noqa: T201 - for the test that waits for it
            sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
