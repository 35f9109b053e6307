"""``token create|list|revoke``."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from gitopsd.cli.client import make_client, path_of
from gitopsd.cli.columns import TOKENS
from gitopsd.cli.printing import Form, Output, Server, TokenFile, say, show_document, show_rows
from gitopsd.cli.spans import parse_seconds

_ALL = 10_000

token = typer.Typer(help="Make, list and revoke API tokens.")


class Role(StrEnum):
    """Roles that a token can carry by itself."""

    NONE = ""
    VIEWER = "viewer"
    DEPLOYER = "deployer"
    APPROVER = "approver"
    SKIP_GATE = "skip-gate"
    ADMIN = "admin"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.add_typer(token, name="token", no_args_is_help=True)


@token.command()
def create(
    subject: Annotated[str, typer.Argument(help="Who acts with it.")],
    role: Annotated[
        Role, typer.Option("--role", help="Role it carries besides those of people.yaml.")
    ] = Role.NONE,
    group: Annotated[
        list[str] | None, typer.Option("--group", help="Group of its bearer; repeatable.")
    ] = None,
    application: Annotated[
        list[str] | None,
        typer.Option("--application", "--app", help="Limit it to this; repeatable."),
    ] = None,
    expires: Annotated[str, typer.Option("--expires", help="End after, e.g. 90d.")] = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Make a token and print its secret, once."""
    body = {
        "subject": subject,
        "role": role.value,
        "groups": group or [],
        "applications": application or [],
        "expiresInSeconds": round(parse_seconds(expires)) if expires else None,
    }
    made = make_client(server, token_file).post("/tokens", body)
    if output in (Form.JSON, Form.YAML):
        show_document(made, output)
        return
    sys.stderr.write(f"Token {made['id']} of {made['subject']}; it is not shown again:\n")
    sys.stdout.write(made["secret"] + "\n")


@token.command("list")
def list_tokens(
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """List tokens, without their secrets."""
    rows = make_client(server, token_file).list_all("/tokens", _ALL)
    show_rows(rows, TOKENS, output)


@token.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id.", metavar="TOKEN")],
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Revoke a token."""
    done = make_client(server, token_file).post(path_of("tokens", token_id, "revoke"))
    if output in (Form.JSON, Form.YAML):
        show_document(done, output)
    else:
        say(done["message"])
