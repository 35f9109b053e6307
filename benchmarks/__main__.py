"""``python -m benchmarks [NAME]``: measure, print one JSON line each, keep the result."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence

from benchmarks import (
    apply_2000,
    histories,
    push_to_applied,
    rest_memory,
    rollback_to_accepted,
    unit_tests,
    webhook,
)
from benchmarks.figures import Measured, summarise
from benchmarks.records import find_commit, find_versions, save_result

BENCHMARKS: Mapping[str, Callable[[int | None], Measured]] = {
    "apply-2000": apply_2000.measure,
    "histories": histories.measure,
    "push-to-applied": push_to_applied.measure,
    "rest-memory": rest_memory.measure,
    "rollback-to-accepted": rollback_to_accepted.measure,
    "unit-tests": unit_tests.measure,
    "webhook": webhook.measure,
}
"""Name -> what measures it, given a number of rounds or None for its own."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark, or all; exit code 1 when a requirement is not met."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", nargs="?", choices=sorted(BENCHMARKS), help="all if left out")
    parser.add_argument("--rounds", type=int, help="fewer, to try things out; not kept")
    options = parser.parse_args(arguments)
    passed = True
    for name in [options.name] if options.name else sorted(BENCHMARKS):
        result = summarise(name, BENCHMARKS[name](options.rounds))
        result |= {"commit": find_commit(), "versions": find_versions()}
        if options.rounds is None:
            save_result(name, result)
        sys.stdout.write(json.dumps(result) + "\n")
        sys.stdout.flush()
        passed &= bool(result["ok"])
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
