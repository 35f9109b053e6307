"""The verb that tells why: ``explain``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from gitopsd.cli.client import ApiError, Client, Document, make_client, path_of
from gitopsd.cli.printing import (
    Form,
    Output,
    Server,
    TokenFile,
    say,
    show_document,
    show_time,
)
from gitopsd.cli.spans import parse_moment
from gitopsd.errors import PermanentError

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}|sha256:[0-9a-f]{64}")
_MISSING = 404


def add_to(app: typer.Typer) -> None:
    """Add the verb of this module."""
    app.command()(explain)


def explain(
    subject: Annotated[
        list[str],
        typer.Argument(
            help="APPLICATION, APPLICATION STAGE, a run, a full commit or an image digest.",
            metavar="SUBJECT",
        ),
    ],
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="What would the gates say then, and when do they open: 2030-06-03T08:00, or +2h.",
            metavar="TIME",
        ),
    ] = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Tell why something stands as it does, and what makes it go on."""
    client = make_client(server, token_file)
    told = _ask(client, subject, parse_moment(at) if at else {})
    if output in (Form.JSON, Form.YAML):
        show_document(told, output)
        return
    for number, one in enumerate(_parts(told)):
        if number:
            say("")
        _show(one)
    if "stages" in told and not told["stages"]:
        say("No stage is concerned.")


def _ask(client: Client, subject: Sequence[str], at: Mapping[str, str]) -> Document:
    """Ask for what is meant: by its form, and else by what there is.

    Raises:
        PermanentError: Nothing is called so.
    """
    parts = subject[0].split("/") if len(subject) == 1 and "/" in subject[0] else list(subject)
    if len(parts) > 2:  # noqa: PLR2004 - an application and a stage
        raise PermanentError("name one run, or an application and a stage")
    if len(parts) > 1:
        path = path_of("applications", parts[0], "stages", parts[1], "explain")
        return _get(client, path, at)
    [name] = parts
    if _COMMIT.fullmatch(name):
        return _get(client, path_of("commits", name, "explain"), at)
    for kind in ("applications", "runs"):
        try:
            return _get(client, path_of(kind, name, "explain"), at)
        except ApiError as error:
            if error.status != _MISSING:
                raise
    message = (
        f"there is no application and no run {name}; list them: gitopsd get, or "
        "gitopsd get runs APPLICATION; a commit is named in full"
    )
    raise PermanentError(message)


def _get(client: Client, path: str, at: Mapping[str, str]) -> Document:
    return client.get(path, at=at.get("at"), inSeconds=at.get("inSeconds"))


def _parts(told: Document) -> list[Document]:
    """List the explanations of an answer: of an application also those of its stages."""
    return [*([told] if "text" in told else []), *told.get("stages", [])]


def _show(told: Document) -> None:
    for line in told["text"]:
        say(line)
    for line in told.get("lines", []):
        times = f" ({line['times']} times)" if line["times"] > 1 else ""
        say(f"{show_time(line['at'])}  {line['text']}{times}")
