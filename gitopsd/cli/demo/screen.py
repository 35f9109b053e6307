"""What a person sees while the demo plays: live in a terminal, plain lines elsewhere."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from time import monotonic
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

SHOWN_LINES = 8
REFRESHES_PER_SECOND = 8


class Screen(Protocol):
    """Shows the play; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def say(self, line: str) -> None:
        """Tell what happens now."""
        ...

    def begin(self, name: str, title: str) -> None:
        """A scenario begins."""
        ...

    def end(self, name: str, *, ok: bool, outcome: str) -> None:
        """A scenario is over."""
        ...


@dataclass(slots=True)
class _Row:
    title: str
    began: float | None = None
    took: float | None = None
    ok: bool | None = None
    outcome: str = ""


class PlainScreen:
    """Prints a line for each thing that happens.

    Args:
        console: Where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = monotonic()
        self._summary: list[str] = []

    def __enter__(self) -> Self:
        """Nothing to begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Print the summary."""
        for line in ("", *self._summary) if self._summary else ():
            self._print(line)

    def say(self, line: str) -> None:
        """Print a line with the time since the start."""
        self._print(f"{monotonic() - self._began:6.1f} s  {line}")

    def begin(self, name: str, title: str) -> None:
        """Print the scenario's title."""
        self.say(f"{name}: {title}")

    def end(self, name: str, *, ok: bool, outcome: str) -> None:
        """Print what came of it."""
        self.say(f"{name}: {outcome}")
        self._summary.append(f"{'ok' if ok else 'NOT OK':8}{name:24}{outcome}")

    def _print(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveScreen:
    """A table that changes in place, and the last lines below it.

    Args:
        console: A terminal.
        titles: Title of each scenario, in order.
    """

    def __init__(self, console: Console, titles: dict[str, str]) -> None:
        self._rows = {name: _Row(title) for name, title in titles.items()}
        self._lines: deque[str] = deque(maxlen=SHOWN_LINES)
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=REFRESHES_PER_SECOND,
        )

    def __enter__(self) -> Self:
        """Take the terminal."""
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the last picture."""
        self._live.stop()

    def say(self, line: str) -> None:
        """Add a line."""
        self._lines.append(line)

    def begin(self, name: str, title: str) -> None:
        """Show the scenario as being played."""
        self._rows[name].began = monotonic()
        self.say(title)

    def end(self, name: str, *, ok: bool, outcome: str) -> None:
        """Show what came of it."""
        row = self._rows[name]
        row.ok, row.outcome = ok, outcome
        row.took = monotonic() - row.began if row.began is not None else None

    def _draw(self) -> Group:
        table = Table(expand=False)
        for head in ("scenario", "what happens", "outcome", "seconds"):
            table.add_column(head, justify="right" if head == "seconds" else "left")
        for name, row in self._rows.items():
            took = row.took
            if took is None and row.began is not None:
                took = monotonic() - row.began
            table.add_row(name, row.title, _outcome(row), "" if took is None else f"{took:.1f}")
        return Group(table, *(Text(f"  {line}", style="dim") for line in self._lines))


def make_screen(console: Console, titles: dict[str, str], *, live: bool) -> Screen:
    """Choose how to show it."""
    return LiveScreen(console, titles) if live else PlainScreen(console)


def _outcome(row: _Row) -> Text:
    if row.ok is None:
        return Text("" if row.began is None else "playing", style="yellow")
    return Text(row.outcome, style="green" if row.ok else "bold red")
