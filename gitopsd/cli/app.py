"""``gitopsd``: the verbs, put together.

Each verb imports what it needs when it runs, so that ``--help`` and the client's verbs start fast.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from gitopsd.cli import (
    acting,
    explaining,
    local_checks,
    processes,
    reading,
    sandbox,
    tokens,
    waiting,
)
from gitopsd.cli.demo import verb as demo

app = typer.Typer(
    name="gitopsd",
    help="Signed Git push to staging, gated production, automatic rollback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_GROUPS = (processes, sandbox, demo, reading, explaining, waiting, acting, tokens, local_checks)
for group in _GROUPS:
    group.add_to(app)

_INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def root(
    version: bool = typer.Option(False, "--version", help="Print the version."),
) -> None:
    """Signed Git push to staging, gated production, automatic rollback."""
    if version:
        from gitopsd import __version__

        sys.stdout.write(f"gitopsd {__version__}\n")
        raise typer.Exit


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a verb and end the process; what cannot be done is said on stderr, with exit code 2.

    Args:
        arguments: The words after ``gitopsd``; those of the process unless given.
    """
    from gitopsd.errors import GitopsdError

    try:
        app(args=arguments)
    except GitopsdError as error:
        sys.stderr.write(f"gitopsd: {error.message}\n")
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
