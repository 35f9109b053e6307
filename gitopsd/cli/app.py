"""``gitopsd``: the verbs, put together.

Each verb imports what it needs when it runs, so that ``--help`` and the client's verbs start fast.
"""

from __future__ import annotations

import sys

import typer

from gitopsd.cli import processes

app = typer.Typer(
    name="gitopsd",
    help="Signed Git push to staging, gated production, automatic rollback.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
processes.add_to(app)


def main() -> None:
    """Run a verb; what cannot be done is one sentence on stderr and exit code 2."""
    from gitopsd.errors import GitopsdError

    try:
        app()
    except GitopsdError as error:
        sys.stderr.write(f"gitopsd: {error.message}\n")
        sys.exit(2)
