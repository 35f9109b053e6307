"""The verb ``sandbox``: a simulated cluster in the foreground, for a demo or for trying things."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(sandbox)


def sandbox(
    listen: Annotated[
        str, typer.Option("--listen", help="Where the API listens.", metavar="HOST:PORT")
    ] = "127.0.0.1:0",
    info: Annotated[
        Path | None,
        typer.Option("--info", help="Write kubeconfig, addresses and pid here when ready."),
    ] = None,
    registry: Annotated[
        list[str] | None,
        typer.Option(
            "--registry",
            help="Pull every image from here, or with NAME= those of one host. Repeatable.",
            metavar="[NAME=]HOST:PORT",
        ),
    ] = None,
    probe_scale: Annotated[
        float, typer.Option("--probe-scale", help="Factor on the waits of probes.", min=0.01)
    ] = 1.0,
    back_off_base: Annotated[
        float, typer.Option("--back-off-base", help="First wait of a restart, in seconds.", min=0.1)
    ] = 10.0,
    back_off_cap: Annotated[
        float,
        typer.Option("--back-off-cap", help="Longest wait of a restart, in seconds.", min=0.1),
    ] = 300.0,
) -> None:
    """Run a simulated Kubernetes cluster: API, controllers and a node, all in memory."""
    from datetime import timedelta

    from gitopsd.sandbox.restarts import BackOffPolicy
    from gitopsd.sandbox.running import Options, parse_listen, parse_registries, run

    options = Options(
        listen=parse_listen(listen),
        info=info,
        registries=parse_registries(registry or ()),
        back_off=BackOffPolicy(
            base=timedelta(seconds=back_off_base), cap=timedelta(seconds=back_off_cap)
        ),
        probe_scale=probe_scale,
    )
    run(options, _say)


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()
