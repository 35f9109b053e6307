"""Counting: what was killed, what survived, and how that reads in a terminal and in a file."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.mutants.children import Outcome, Result
from tools.mutants.sites import Mutant


@dataclass(frozen=True, slots=True)
class Score:
    """Mutants of one file or of all.

    Attributes:
        killed: Noticed by a test, by a crash or by a time limit.
        survived: Noticed by nobody, or run by nobody.
    """

    killed: int
    survived: int

    @property
    def percent(self) -> float:
        """The killed share of all; 100 when there are none."""
        total = self.killed + self.survived
        return 100.0 * self.killed / total if total else 100.0


@dataclass(frozen=True, slots=True)
class Outcomes:
    """Every mutant of a run with how it ended."""

    results: Mapping[Mutant, Result]

    def score(self) -> Score:
        """The score over all files."""
        return _count(self.results.values())

    def scores(self) -> dict[str, Score]:
        """The score of each file."""
        files: dict[str, list[Result]] = defaultdict(list)
        for mutant, result in self.results.items():
            files[mutant.path].append(result)
        return {path: _count(results) for path, results in sorted(files.items())}

    def survivors(self) -> list[Mutant]:
        """Mutants nobody noticed, by place."""
        alive = (mutant for mutant, result in self.results.items() if _is_alive(result))
        return sorted(alive, key=lambda mutant: (mutant.path, mutant.line, mutant.number))

    def lines(self) -> list[str]:
        """The words for a terminal: survivors, a table of files, the sum."""
        lines = [
            f"survived: {each.path}:{each.line}: {each.operator}: {each.change}"
            for each in self.survivors()
        ]
        lines += ["", f"{'file':<44} {'killed':>7} {'survived':>9} {'score':>7}"]
        rows = {**self.scores(), "all": self.score()}
        lines += [
            f"{path:<44} {score.killed:>7} {score.survived:>9} {score.percent:>6.1f}%"
            for path, score in rows.items()
        ]
        return lines

    def save(self, path: Path) -> None:
        """Writes the whole run as JSON."""
        total = self.score()
        files = {
            name: {"killed": score.killed, "survived": score.survived}
            for name, score in self.scores().items()
        }
        rows = [
            {
                "path": mutant.path,
                "line": mutant.line,
                "operator": mutant.operator,
                "change": mutant.change,
                "outcome": result.outcome.value,
                "by": result.note,
            }
            for mutant, result in self.results.items()
        ]
        text = json.dumps(
            {
                "killed": total.killed,
                "survived": total.survived,
                "percent": round(total.percent, 2),
                "files": files,
                "mutants": rows,
            },
            indent=1,
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


def _is_alive(result: Result) -> bool:
    return result.outcome in (Outcome.Survived, Outcome.NotRun)


def _count(results: Iterable[Result]) -> Score:
    alive = [_is_alive(result) for result in results]
    return Score(killed=alive.count(False), survived=alive.count(True))
