"""Groups of stages at a terminal: what they wait with, and one vote for all of it."""

from __future__ import annotations

from collections.abc import Sequence

from gitopsd.cli.client import Client, Document, path_of
from gitopsd.cli.printing import Column, Form, say, show_rows, show_time
from gitopsd.errors import PermanentError
from gitopsd.pipeline.groups import name_plans

_QUIET = ("unchanged", "skipped")


def _say_stages(group: Document) -> str:
    stages = group["stages"]
    verified = sum(one["state"] == "Verified" for one in stages)
    failed = sum(one["state"] == "Failed" for one in stages)
    told = f"{verified} of {len(stages)} verified"
    return f"{told}, {failed} failed" if failed else told


def _say_changes(changes: Document) -> str:
    return ", ".join(f"{count} {name}" for name, count in changes.items() if name not in _QUIET)


def _list_asked(group: Document) -> list[Document]:
    return [one for one in group["waiting"] if one["asked"]]


GROUPS = (
    Column("application", lambda row: row["application"]),
    Column("group", lambda row: row["name"]),
    Column("release", lambda row: row["release"]),
    Column("stages", _say_stages),
    Column("waits for a vote", lambda row: ", ".join(one["stage"] for one in _list_asked(row))),
    Column("stopped", lambda row: row["stopped"]),
)
MEMBERS = (
    Column("wave", lambda row: row["wave"]),
    Column("stage", lambda row: row["stage"]),
    Column("state", lambda row: row["state"]),
    Column("why", lambda row: row["reason"]),
    Column("run", lambda row: row["run"]),
)
PLANS = (
    Column("stage", lambda row: row["stage"]),
    Column("run", lambda row: row["run"]),
    Column("release", lambda row: row["release"]),
    Column("plan", lambda row: row["plan"]),
    Column("changes", lambda row: _say_changes(row["changes"])),
    Column("expires", lambda row: show_time(row["expiresAt"])),
)


def list_groups(applications: Sequence[Document]) -> list[Document]:
    """List the groups of applications, as the API shows these."""
    return [group for one in applications for group in one["groups"]]


def show_groups(groups: Sequence[Document], output: Form, *, stages: bool) -> None:
    """Show groups, and for people their stages, where those of one application are asked for."""
    show_rows(groups, GROUPS, output)
    for group in groups if stages and output in (Form.TABLE, Form.WIDE) else ():
        say("")
        show_rows(group["stages"], MEMBERS, output)


def read_plans(
    client: Client, named: tuple[str, str], verb: str, plans: str, output: Form
) -> dict[str, str]:
    """Show the plans that a group waits with, and return them by run: what is voted on.

    Args:
        client: The API.
        named: The application, and its group.
        verb: ``approve`` or ``reject``; what is approved already can be rejected still.
        plans: Name of the plans that were seen (see `name_plans`); empty for the present ones.
        output: How they are shown.

    Raises:
        PermanentError: There is no such group, nothing waits, or other plans than were seen.
    """
    application, group = named
    groups = list_groups([client.get(path_of("applications", application))])
    found = [row for row in groups if row["name"] == group]
    if not found:
        known = ", ".join(row["name"] for row in groups)
        has = f"; it has {known}" if known else ""
        raise PermanentError(f"{application} has no group {group}{has}")
    waiting, asked = found[0]["waiting"], _list_asked(found[0])
    where = f"of group {group} of {application}"
    if not waiting:
        look = f"gitopsd get groups {application}"
        raise PermanentError(f"nothing {where} waits for a vote; where its stages are: {look}")
    if verb == "approve" and not asked:
        on = ", ".join(row["stage"] for row in waiting)
        look = f"gitopsd explain {application}"
        message = f"no plan {where} lacks an approval; {on} waits for something else: {look}"
        raise PermanentError(message)
    shown = asked if verb == "approve" or plans else waiting
    if plans:
        shown = _find_seen(shown, plans)
    if output in (Form.TABLE, Form.WIDE):
        show_rows(shown or asked, PLANS, output)
        say("")
    if not shown:
        raise PermanentError(
            f"the plans {where} are others than you saw; to {verb} those that wait now: "
            f"gitopsd {verb} {application} --group {group}"
        )
    return {row["run"]: row["plan"] for row in shown}


def _find_seen(rows: Sequence[Document], plans: str) -> list[Document]:
    """Find the plans, all of one release, that have a name; none when there are no such."""
    for release in dict.fromkeys(row["release"] for row in rows):
        own = [row for row in rows if row["release"] == release]
        if name_plans({row["run"]: row["plan"] for row in own}) == plans:
            return own
    return []
