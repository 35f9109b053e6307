"""``python -m tools.mutants``: breaks the core and exits 1 when too many breaks go unnoticed."""

from __future__ import annotations

import argparse
import json
import os
import random  # noqa: TID251 - a seeded sample of mutants, the same each time
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest

from tools.mutants.baseline import Baseline, BaselinePlugin, load_baseline
from tools.mutants.children import Outcome, Result, run_in_child
from tools.mutants.scores import Outcomes
from tools.mutants.sites import Mutant, select_mutants
from tools.mutants.workers import (
    QUIET,
    Killers,
    Report,
    SwapPlugin,
    longest_import_run,
    run_import_mutant,
)

_PACKAGES = ["gitopsd/pipeline", "gitopsd/kube", "gitopsd/webhooks"]
_BASELINE_SECONDS = 900.0
_WORKER_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does.

    Attributes:
        root: The project.
        tests: Where its tests are.
        mutants: What is tried.
        jobs: How many at a time.
        slowest: Tests that take longer, in seconds, are not asked: they would be run too often.
    """

    root: Path
    tests: str
    mutants: Sequence[Mutant]
    jobs: int
    slowest: float


def _parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__)
    parser.add_argument("sources", nargs="*", help=f"files or folders ({' '.join(_PACKAGES)})")
    parser.add_argument("--tests", default="tests/unit", help="tests to ask (%(default)s)")
    parser.add_argument("--at-least", type=float, default=90.0, help="percent (%(default)s)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--slowest", type=float, default=2.0, help="seconds a test may take")
    parser.add_argument("--sample", type=int, help="try only this many, chosen evenly by a seed")
    parser.add_argument("--report", type=Path, default=Path("build/mutants.json"))
    return parser.parse_args(arguments)


def _fetch_mutants(root: Path, sources: Sequence[str]) -> list[Mutant]:
    files: list[Path] = []
    for source in sources:
        place = root / source
        files += sorted(place.rglob("*.py")) if place.is_dir() else [place]
    return [
        mutant
        for file in dict.fromkeys(files)
        for mutant in select_mutants(str(file.relative_to(root)), file.read_text())
    ]


def _run_baseline(plan: Plan, work: Path) -> Baseline:
    target = work / "baseline.json"
    paths = tuple(sorted({mutant.path for mutant in plan.mutants}))

    def measure() -> Result:
        pytest.main([*QUIET, plan.tests], plugins=[BaselinePlugin(plan.root, paths, target)])
        return Result(Outcome.Survived)

    log = work / "baseline.log"
    run_in_child(measure, _BASELINE_SECONDS, log)
    if not target.exists():
        sys.exit(
            f"{log.read_text()[-2000:]}\nthe tests under {plan.tests} do not run without mutants"
        )
    return load_baseline(target)


def _run_worker(
    plan: Plan, baseline: Baseline, tests: frozenset[str], share: int, target: Path
) -> Result:
    """Tries every n-th mutant; runs in a child that has not imported the project."""
    mine = plan.mutants[share :: plan.jobs]
    killers = Killers()
    with target.open("w") as stream:
        report = Report(stream)
        swaps = [mutant for mutant in mine if mutant.function is not None]
        swap = SwapPlugin(plan.root, swaps, tests, baseline, report, killers)
        # In a child of its own, so that this process stays free of the project's modules.
        run_in_child(lambda: _run_pytest(plan.tests, swap), _WORKER_SECONDS)
        ended = {number_of for number_of, result in _read_results(target) if _is_final(result)}
        for mutant in mine:
            if (mutant.path, mutant.number) not in ended:
                candidates = baseline.tests_of_file(mutant.path) or tests
                chosen = killers.order(mutant.path, candidates & tests, baseline)
                seconds = longest_import_run(chosen, baseline)
                result = run_import_mutant(plan.root, mutant, chosen, seconds)
                if result.note:
                    killers.note(mutant.path, result.note)
                report.write(mutant, result)
    return Result(Outcome.Survived)


def _run_pytest(tests: str, plugin: object) -> Result:
    pytest.main([*QUIET, tests], plugins=[plugin])
    return Result(Outcome.Survived)


def _read_results(target: Path) -> Iterator[tuple[tuple[str, int], Result]]:
    for line in target.read_text().splitlines():
        path, number, outcome, note = json.loads(line)
        yield (path, number), Result(Outcome(outcome), note)


def _is_final(result: Result) -> bool:
    """A function that could not be swapped in place is tried again with a fresh import."""
    return result.outcome is not Outcome.NotRun


def _run_workers(
    plan: Plan, baseline: Baseline, work: Path
) -> Iterator[tuple[tuple[str, int], Result]]:
    tests = frozenset(test for test, took in baseline.seconds.items() if took <= plan.slowest)
    children: list[int] = []
    for share in range(plan.jobs):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _run_worker(plan, baseline, tests, share, work / f"{share}.jsonl")
                code = 0
            finally:
                os._exit(code)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    for share in range(plan.jobs):
        yield from _read_results(work / f"{share}.jsonl")


def _try_all(plan: Plan) -> Outcomes:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        baseline = _run_baseline(plan, work)
        if baseline.failed:
            sys.exit("these tests fail without any mutant:\n" + "\n".join(baseline.failed))
        if not baseline.seconds:
            sys.exit(f"there are no tests under {plan.tests}")
        slow = [test for test, took in baseline.seconds.items() if took > plan.slowest]
        print(f"{len(baseline.seconds)} tests, {len(plan.mutants)} mutants")
        for test in slow:
            print(f"not asked, takes over {plan.slowest} s: {test}")
        sys.stdout.flush()
        ended = dict(_run_workers(plan, baseline, work))
    # A mutant without a verdict (a worker died) has not been noticed by anybody.
    missing = Result(Outcome.NotRun)
    return Outcomes(
        {mutant: ended.get((mutant.path, mutant.number), missing) for mutant in plan.mutants}
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the mutants and returns the exit status."""
    options = _parse_arguments(arguments)
    root = Path.cwd()
    mutants = _fetch_mutants(root, options.sources or _PACKAGES)
    if options.sample is not None and options.sample < len(mutants):
        mutants = random.Random(0).sample(mutants, options.sample)  # noqa: S311 - no secret
    # No shrinking: the first example that notices is enough.
    hypothesis.settings.register_profile(
        "mutants",
        database=None,
        deadline=None,
        derandomize=True,
        phases=(hypothesis.Phase.explicit, hypothesis.Phase.generate),
        suppress_health_check=[hypothesis.HealthCheck.too_slow],
    )
    plan = Plan(root, options.tests, mutants, options.jobs, options.slowest)
    outcomes = _try_all(plan)
    print("\n".join(outcomes.lines()))
    outcomes.save(options.report)
    percent = outcomes.score().percent
    if percent < options.at_least:
        print(f"{percent:.1f} % killed, {options.at_least:.1f} % wanted: add the missing tests")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
