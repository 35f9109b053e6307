"""Verbs that change what happens to stages and runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from gitopsd.cli.client import make_client, path_of
from gitopsd.cli.columns import QUARANTINES
from gitopsd.cli.groups import read_plans
from gitopsd.cli.printing import (
    Column,
    Form,
    Output,
    Server,
    TokenFile,
    say,
    show_document,
    show_rows,
)
from gitopsd.cli.reading import RunOrStage, find_run
from gitopsd.cli.spans import parse_seconds
from gitopsd.domain.stages import RestoredChoice

Application = Annotated[str, typer.Argument(help="The application.")]
Stage = Annotated[str, typer.Argument(help="The stage.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why, for the log.")]

quarantine = typer.Typer(help="Look at quarantined bytes, or let them be admitted again.")


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    for verb in (promote, rollback, sync, reverify, adopt, suspend, resume):
        app.command()(verb)
    for of_run in (approve, reject, skip, abort, retry):
        app.command()(of_run)
    app.command()(freeze)
    app.command()(thaw)
    app.command()(confirm_removals)
    app.add_typer(quarantine, name="quarantine", no_args_is_help=True)


def promote(
    application: Application,
    stage: Stage,
    release: Annotated[str, typer.Argument(help="Release id, alias or full commit.")],
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Ask for a release in a stage; an older one sets a hold."""
    path = path_of("applications", application, "stages", stage, "promote")
    _post(path, {"release": release, "reason": reason}, output, server, token_file)


def rollback(
    application: Application,
    stage: Stage,
    to: Annotated[
        str, typer.Option("--to", help="Release id, alias or commit; the one before if left out.")
    ] = "",
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Restore a verified release; what is under way ends, nothing newer follows until resume."""
    path = path_of("applications", application, "stages", stage, "rollback")
    _post(path, {"release": to or None, "reason": reason}, output, server, token_file)


def sync(
    application: Application,
    stage: Stage,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Apply a stage's applied set again."""
    path = path_of("applications", application, "stages", stage, "sync")
    _post(path, {"reason": reason}, output, server, token_file)


def reverify(
    application: Application,
    stage: Stage,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Make the checks of what a stage runs again, now; nothing is applied."""
    path = path_of("applications", application, "stages", stage, "reverify")
    _post(path, {"reason": reason}, output, server, token_file)


def adopt(
    application: Application,
    stage: Stage,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Take a stage over that another installation holds."""
    path = path_of("applications", application, "stages", stage, "adopt")
    _post(path, {"reason": reason}, output, server, token_file)


def suspend(
    application: Application,
    stage: Stage,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Stop admitting rollouts to a stage."""
    path = path_of("applications", application, "stages", stage, "suspend")
    _post(path, {"reason": reason}, output, server, token_file)


KeepCluster = Annotated[
    bool,
    typer.Option(
        "--keep-cluster", help="After a restored database: keep what the cluster has for now."
    ),
]
Redeploy = Annotated[
    bool,
    typer.Option(
        "--redeploy", help="After a restored database: bring the newest, or apply the set again."
    ),
]


def resume(
    application: Application,
    stage: Stage,
    *,
    keep_cluster: KeepCluster = False,
    redeploy: Redeploy = False,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Lift suspension, hold, stall and a held rewind of a stage."""
    path = path_of("applications", application, "stages", stage, "resume")
    if keep_cluster and redeploy:
        raise typer.BadParameter("--keep-cluster and --redeploy exclude each other")
    chosen = RestoredChoice.REDEPLOY if redeploy else RestoredChoice.KEEP_CLUSTER
    restored = {"restored": chosen.value} if keep_cluster or redeploy else {}
    body = {"reason": reason, **restored}
    _post(path, body, output, server, token_file)


Plan = Annotated[
    str,
    typer.Option(
        "--plan", help="The plan you saw, or the name of a group's plans; the present if empty."
    ),
]


Group = Annotated[
    str,
    typer.Option("--group", help="All plans that this group of the APPLICATION waits with."),
]


def approve(
    run: RunOrStage,
    plan: Plan = "",
    group: Group = "",
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Approve the plan of a run that stands at its gate, or those of a group, which are shown."""
    _vote("approve", run, group, plan, reason, (output, server, token_file))


def reject(
    run: RunOrStage,
    plan: Plan = "",
    group: Group = "",
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Reject the plan of a run, or those of a group, which are shown; the runs end."""
    _vote("reject", run, group, plan, reason, (output, server, token_file))


def _vote(
    verb: str, named: list[str], group: str, plan: str, reason: str, how: tuple[Form, str, str]
) -> None:
    """Vote for one plan, or for all those of a group that are shown just before."""
    output, server, token_file = how
    if not group:
        body = {"plan": plan, "reason": reason}
        _post_to_run(named, verb, body, output, server, token_file)
        return
    if len(named) != 1:
        raise typer.BadParameter(f"name the application alone: gitopsd {verb} APP --group GROUP")
    client = make_client(server, token_file)
    plans = read_plans(client, (named[0], group), verb, plan, output)
    path = path_of("applications", named[0], "groups", group, verb)
    _post(path, {"plans": plans, "reason": reason}, output, server, token_file)


def skip(
    run_and_gate: Annotated[
        list[str],
        typer.Argument(
            help="A run, or APPLICATION STAGE for its last one; then the gate.", metavar="RUN GATE"
        ),
    ],
    reason: Annotated[str, typer.Option("--reason", "-m", help="Why, for the log; needed.")],
    plan: Plan = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Let a run pass one gate that is not open, for its present plan."""
    *run, gate = run_and_gate
    if not run:
        raise typer.BadParameter("name a run and one of its gates: gitopsd skip RUN GATE")
    body = {"gate": gate, "reason": reason, "plan": plan}
    _post_to_run(run, "skip", body, output, server, token_file)


def abort(
    run: RunOrStage,
    *,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore/--leave",
            help="Restore what was last verified, if the run wrote; or leave what it wrote.",
        ),
    ] = True,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """End a run, and restore what was last verified."""
    _post_to_run(run, "abort", {"restore": restore, "reason": reason}, output, server, token_file)


def retry(
    run: RunOrStage,
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Try a run's release again; at its gate, ask again; after a rollback, commit again."""
    _post_to_run(run, "retry", {"reason": reason}, output, server, token_file)


def freeze(
    scope: Annotated[
        str,
        typer.Argument(
            help="*, application:NAME, stage:APPLICATION/STAGE, project:NAME or cluster:NAME."
        ),
    ] = "*",
    lasts: Annotated[str, typer.Option("--for", help="End by itself after, e.g. 2h.")] = "",
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Stop everything new in a scope; rollbacks still run."""
    seconds = round(parse_seconds(lasts)) if lasts else None
    body = {"scope": scope, "reason": reason, "seconds": seconds}
    _post("/freezes", body, output, server, token_file)


def thaw(
    freeze_id: Annotated[str, typer.Argument(help="The freeze.", metavar="FREEZE")],
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """End a freeze."""
    body = {"reason": reason}
    _post(path_of("freezes", freeze_id, "thaw"), body, output, server, token_file)


_REMOVALS = (
    Column("file", lambda row: row["file"]),
    Column("kind", lambda row: row["kind"]),
    Column("name", lambda row: row["name"]),
    Column("retires", lambda row: ", ".join(row["stages"])),
)


def confirm_removals(
    yes: Annotated[bool, typer.Option("--yes", help="Confirm what is shown.")] = False,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Show the configuration files that vanished at once; with --yes their stages are retired."""
    rows = make_client(server, token_file).get("/configuration")["heldRemovals"]
    for_people = output in (Form.TABLE, Form.WIDE)
    if not rows and for_people:
        say("No removal of files waits to be confirmed.")
        return
    if for_people or not yes:
        show_rows(rows, _REMOVALS, output)
    if yes and rows:
        files = [row["file"] for row in rows]
        _post("/configuration/confirm-removals", {"files": files}, output, server, token_file)
    elif for_people:
        say("What they said still counts. Put them back, or: gitopsd confirm-removals --yes")


@quarantine.command("list")
def list_quarantines(
    limit: Annotated[int, typer.Option("--limit", min=1, help="Rows at most.")] = 50,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """List quarantines, newest first, lifted ones too."""
    rows = make_client(server, token_file).list_all("/quarantines", limit)
    show_rows(rows, QUARANTINES, output)


@quarantine.command("lift")
def lift_quarantine(
    quarantine_id: Annotated[str, typer.Argument(help="The quarantine.", metavar="QUARANTINE")],
    reason: Reason = "",
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Let quarantined bytes be admitted again."""
    body = {"reason": reason}
    _post(path_of("quarantines", quarantine_id, "lift"), body, output, server, token_file)


def _post_to_run(
    run: list[str],
    verb: str,
    body: Mapping[str, object],
    output: Form,
    server: str,
    token_file: str,
) -> None:
    found = find_run(make_client(server, token_file), run)
    _post(path_of("runs", found, verb), body, output, server, token_file)


def _post(
    path: str, body: Mapping[str, object], output: Form, server: str, token_file: str
) -> None:
    done = make_client(server, token_file).post(path, body)
    if output in (Form.JSON, Form.YAML):
        show_document(done, output)
    else:
        say(done["message"])
