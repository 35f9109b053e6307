"""The verb ``demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the verb."""
    app.command()(demo)


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Play, say what came of it, and end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as JSON in the last line.")
    ] = False,
    hold: Annotated[
        bool, typer.Option("--hold", help="Play nothing: start everything and stay up.")
    ] = False,
    info: Annotated[
        Path | None,
        typer.Option("--info", help="Write addresses, tokens and pids here.", metavar="FILE"),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave configuration, data and logs behind.")
    ] = False,
    listen: Annotated[
        str, typer.Option("--listen", help="Where gitopsd listens.", metavar="HOST:PORT")
    ] = "127.0.0.1:0",
) -> None:
    """Play releases and rollbacks on this machine, with two simulated clusters."""
    from gitopsd.cli.demo.session import Wishes, run_demo

    wishes = Wishes(
        headless=headless, as_json=as_json, hold=hold, keep=keep, info=info, listen=listen
    )
    raise typer.Exit(run_demo(wishes))
