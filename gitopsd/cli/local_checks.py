"""Verbs that need no server: ``check-config``, ``schema``, ``render``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gitopsd.cli.printing import clean, write_yaml

if TYPE_CHECKING:
    from gitopsd.domain.config import Configuration


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command("check-config")(check_config)
    app.command()(schema)
    app.command()(render)


def check_config(
    directory: Annotated[
        Path | None,
        typer.Argument(help="The folder. [env: GITOPSD_CONFIG_DIR]", metavar="[DIRECTORY]"),
    ] = None,
    no_secrets: Annotated[
        bool, typer.Option("--no-secrets", help="The files named for secrets are not here.")
    ] = False,
) -> None:
    """Check a configuration folder; every problem with its place and what to write instead."""
    from gitopsd.adapters.config_files.live import load_configuration
    from gitopsd.cli.processes import read_settings

    folder = directory if directory is not None else read_settings().config_dir
    result = load_configuration(folder, check_secrets=not no_secrets)
    for error in result.errors:
        sys.stderr.write(clean(error) + "\n")
    if result.errors:
        count = "1 problem" if len(result.errors) == 1 else f"{len(result.errors)} problems"
        sys.stderr.write(f"{folder}: {count}\n")
        raise typer.Exit(1)
    sys.stdout.write(f"{folder}: {_summarise(result.configuration)}\n")


def _summarise(found: Configuration) -> str:
    """Say in one line what is in a valid configuration."""
    counted = (
        (len(found.applications), "application", "applications"),
        (len(found.clusters), "cluster", "clusters"),
        (len(found.repositories), "repository", "repositories"),
        (len(found.registries), "registry", "registries"),
        (len(found.receivers), "receiver", "receivers"),
        (len(found.channels), "channel", "channels"),
        (len(found.projects), "project", "projects"),
    )
    listed = [f"{count} {one if count == 1 else many}" for count, one, many in counted if count]
    return f"valid: {', '.join(listed) or 'nothing in it yet'}"


def schema(
    kind: Annotated[
        str, typer.Argument(help="The kind; all of them if left out.", metavar="[KIND]")
    ] = "",
    write: Annotated[
        Path | None, typer.Option("--write", help="Write KIND.json files here.", metavar="DIR")
    ] = None,
) -> None:
    """Print the JSON Schema of a configuration kind, or write them all to a folder."""
    from gitopsd.adapters.config_files.schemas import list_kinds, write_schema

    schemas = {name: write_schema(name) for name in ((kind,) if kind else list_kinds())}
    if write is not None:
        write.mkdir(parents=True, exist_ok=True)
        for name, text in schemas.items():
            (write / f"{name}.json").write_text(text)
            sys.stdout.write(f"{write / name}.json\n")
    elif kind:
        sys.stdout.write(schemas[kind])
    else:
        sys.stdout.write("\n".join(schemas) + "\n")


def render(
    path: Annotated[str, typer.Argument(help="Overlay directory inside the repository.")],
    repository: Annotated[
        Path, typer.Option("--repository", "-C", help="A Git repository on this machine.")
    ] = Path(),
    commit: Annotated[str, typer.Option("--commit", help="Branch, tag or commit.")] = "HEAD",
    show_secrets: Annotated[
        bool, typer.Option("--show-secrets", help="Print the bodies of Secrets, too.")
    ] = False,
) -> None:
    """Render an overlay of a local repository as the service would, as YAML.

    Only what is committed counts. Exit code 1: the overlay cannot be rendered.
    """
    import asyncio

    from gitopsd.bootstrap import render_overlay
    from gitopsd.ports import Rejection

    rendered = asyncio.run(render_overlay(repository, commit, path, show_secrets=show_secrets))
    if isinstance(rendered, Rejection):
        sys.stderr.write(f"{rendered.reason}: {clean(rendered.message)}\n")
        raise typer.Exit(1)
    for number, obj in enumerate(rendered):
        sys.stdout.write(("---\n" if number else "") + write_yaml(obj))
