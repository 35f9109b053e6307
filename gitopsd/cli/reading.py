"""Verbs that look: ``get``, ``history``, ``diff``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from gitopsd.cli.client import Client, Document, make_client, path_of
from gitopsd.cli.columns import (
    APPROVALS,
    AUDIT,
    CHANNELS,
    DELIVERIES,
    FREEZES,
    IMAGES,
    QUARANTINES,
    QUEUE,
    RELEASES,
    RUNS,
    STAGES,
    TOKENS,
    list_notes,
    say_offers,
)
from gitopsd.cli.groups import list_groups, show_groups
from gitopsd.cli.printing import (
    Column,
    Form,
    Output,
    Server,
    TokenFile,
    clean,
    say,
    show_document,
    show_fields,
    show_lines,
    show_rows,
    show_time,
)
from gitopsd.errors import PermanentError

Limit = Annotated[int, typer.Option("--limit", min=1, max=10_000, help="Rows at most.")]


class Kind(StrEnum):
    """What can be listed."""

    APPLICATIONS = "applications"
    STAGES = "stages"
    RELEASES = "releases"
    RUNS = "runs"
    IMAGES = "images"
    CHANNELS = "channels"
    GROUPS = "groups"
    APPROVALS = "approvals"
    QUARANTINES = "quarantines"
    FREEZES = "freezes"
    DELIVERIES = "deliveries"
    AUDIT = "audit"
    TOKENS = "tokens"


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(get)
    app.command()(history)
    app.command()(diff)


@dataclass(frozen=True, slots=True)
class _Listing:
    """How a kind is listed.

    Attributes:
        path: Its list.
        columns: Its table.
    """

    path: str
    columns: Sequence[Column]


_PLAIN = {
    Kind.APPROVALS: _Listing("/approvals", APPROVALS),
    Kind.QUARANTINES: _Listing("/quarantines", QUARANTINES),
    Kind.FREEZES: _Listing("/freezes", FREEZES),
    Kind.DELIVERIES: _Listing("/deliveries", DELIVERIES),
    Kind.AUDIT: _Listing("/audit", AUDIT),
    Kind.CHANNELS: _Listing("/channels", CHANNELS),
    Kind.TOKENS: _Listing("/tokens", TOKENS),
}


def get(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.STAGES,
    name: Annotated[
        str,
        typer.Argument(help="APP, APP/STAGE, or the id of one run or release.", metavar="[NAME]"),
    ] = "",
    limit: Limit = 50,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """List what there is, or show one thing."""
    client = make_client(server, token_file)
    listing = _PLAIN.get(kind)
    if listing is not None:
        show_rows(client.list_all(listing.path, limit), listing.columns, output)
    elif kind in (Kind.APPLICATIONS, Kind.STAGES):
        _get_stages(client, kind, name, limit, output)
    elif kind is Kind.GROUPS:
        found = _find_applications(client, name, limit)
        show_groups(list_groups(found), output, stages=bool(name))
    elif kind is Kind.IMAGES:
        _get_images(client, name, limit, output)
    else:
        _get_of_application(client, kind, name, limit, output)


def _get_stages(client: Client, kind: Kind, name: str, limit: int, output: Form) -> None:
    application, _, stage = name.partition("/")
    found = _find_applications(client, application, limit)
    if kind is Kind.APPLICATIONS and output in (Form.JSON, Form.YAML):
        show_document(found[0] if application else {"items": found}, output)
        return
    stages = [row for one in found for row in one["stages"] if stage in ("", row["name"])]
    if stage and stages:
        stages = [client.get(path_of("applications", application, "stages", stage))]
    if stage and not stages:
        raise PermanentError(f"{application} has no stage {stage}")
    if stage and output in (Form.JSON, Form.YAML):
        show_document(stages[0], output)
    else:
        show_rows(stages, STAGES, output)
        if stage and stages[0]["queue"]:
            say("")
            show_rows(stages[0]["queue"], QUEUE, output)
        _show_notes(found, output)


def _find_applications(client: Client, name: str, limit: int) -> list[Document]:
    if name:
        return [client.get(path_of("applications", name))]
    return client.list_all("/applications", limit)


def _get_images(client: Client, application: str, limit: int, output: Form) -> None:
    found = _find_applications(client, application, limit)
    rows = [{"application": one["name"], **image} for one in found for image in one["images"]]
    show_rows(rows, IMAGES, output)
    if output in (Form.TABLE, Form.WIDE):
        for one in found:
            for sentence in one["waiting"]:
                say(f"{one['name']}: {sentence}")


def _show_notes(applications: Sequence[Document], output: Form) -> None:
    """Say below a table what keeps news from coming; not where a program reads the rows."""
    for one in applications if output in (Form.TABLE, Form.WIDE) else ():
        for sentence in list_notes(one):
            sys.stderr.write(f"{clean(one['name'])}: {clean(sentence)}\n")


def _get_of_application(client: Client, kind: Kind, name: str, limit: int, output: Form) -> None:
    if not name:
        one = "run" if kind is Kind.RUNS else "release"
        raise PermanentError(f"name an application or a {one}: gitopsd get {kind.value} NAME")
    application, _, stage = name.partition("/")
    known = [row["name"] for row in client.list_all("/applications", 10_000)]
    if application in known:
        path = path_of("applications", application, kind.value)
        rows = client.list_all(path, limit, stage=stage if kind is Kind.RUNS else "")
        show_rows(rows, RUNS if kind is Kind.RUNS else RELEASES, output)
        return
    document = client.get(path_of(kind.value, name))
    if output in (Form.JSON, Form.YAML):
        show_document(document, output)
    elif kind is Kind.RUNS:
        _show_run(document)
    else:
        _show_release(document)


def _show_run(run: Document) -> None:
    show_fields(
        {
            "run": run["id"],
            "release": f"{run['alias']} ({run['release']})" if run["alias"] else run["release"],
            "commit": run["commit"],
            "stage": f"{run['application']}/{run['stage']}",
            "kind": run["kind"],
            "phase": run["phase"],
            "why": f"{run['reason']} {run['message']}".strip(),
            "waits for": "" if run["endedAt"] else run["waitingFor"],
            "created": show_time(run["createdAt"]),
            "ended": show_time(run["endedAt"]),
            "plan": run["plan"],
            "asked for by": run["requestedBy"],
        }
    )
    show_lines(
        [
            (step["step"], step["state"], show_time(step["startedAt"]), show_time(step["endedAt"]))
            for step in run["steps"]
        ]
    )
    closed = [gate for gate in run["gates"] if gate["state"] != "Open"]
    for gate in closed if not run["endedAt"] else ():
        opener = f" (to open: {gate['opener']})" if gate["opener"] else ""
        say(f"gate {gate['name']}: {gate['state']}: {gate['reason']}{opener}")


def _show_release(release: Document) -> None:
    commit = release["commit"]
    show_fields(
        {
            "release": release["id"],
            "alias": release["alias"],
            "application": release["application"],
            "commit": commit["sha"],
            "subject": commit["subject"],
            "author": commit["author"],
            "created": show_time(release["createdAt"]),
            "offered": say_offers(release),
        }
    )
    for image, digest in release["images"].items():
        tag, revision = release["tags"].get(image, ""), release["revisions"].get(image, "")
        built = f" (built from {revision})" if revision else ""
        say(f"image {image}{f':{tag}' if tag else ''}@{digest}{built}")
    rows = []
    for stage in release["stages"]:
        run = stage["lastRun"]
        last = f"{run['id']} {run['phase']}" if run else "no run"
        verified = f"verified {show_time(stage['verifiedAt'])}" if stage["verifiedAt"] else ""
        held = f"quarantined by {stage['quarantine']}" if stage["quarantine"] else ""
        rows.append((stage["stage"], last, verified, held))
    show_lines(rows)


def history(
    application: Annotated[str, typer.Argument(help="The application.")],
    stage: Annotated[str, typer.Argument(help="Only this stage.", metavar="[STAGE]")] = "",
    limit: Limit = 20,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Show what was tried and what came of it, newest first."""
    client = make_client(server, token_file)
    rows = client.list_all(path_of("applications", application, "runs"), limit, stage=stage)
    show_rows(rows, RUNS, output)


RunOrStage = Annotated[
    list[str], typer.Argument(help="A run, or APPLICATION STAGE for its last one.", metavar="RUN")
]


def find_run(client: Client, named: list[str]) -> str:
    """Find the run that is meant: named by its id, or the one that concerns a stage now.

    Raises:
        PermanentError: The words name neither.
    """
    parts = named[0].split("/") if len(named) == 1 and "/" in named[0] else named
    if len(parts) == 1:
        return parts[0]
    if len(parts) > 2:  # noqa: PLR2004 - an application and a stage
        raise PermanentError("name one run, or an application and a stage")
    stage = client.get(path_of("applications", parts[0], "stages", parts[1]))
    current = stage["next"] or stage["front"]
    if current:
        return str(current["id"])
    rows = client.list_all(path_of("applications", parts[0], "runs"), 1, stage=parts[1])
    if not rows:
        raise PermanentError(f"{parts[0]}/{parts[1]} had no run yet")
    return str(rows[0]["id"])


def diff(
    run: RunOrStage,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Show what a run changes. Exit code 0: nothing, 1: something, 2: it could not be found out."""
    client = make_client(server, token_file)
    found = client.get(path_of("runs", find_run(client, run)))
    changes = found["changeSet"]
    if changes is None:
        raise PermanentError(f"{found['id']} is in {found['step']} and has no change set yet")
    if output in (Form.JSON, Form.YAML):
        show_document(changes, output)
    else:
        for line in found["diff"].splitlines():
            sys.stdout.write("".join(char for char in line if char.isprintable()) + "\n")
    quiet = ("unchanged", "skipped")
    if any(change["action"] not in quiet for change in changes["objects"]):
        raise typer.Exit(1)
