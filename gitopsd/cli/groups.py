"""Groups of stages at a terminal: what they wait with, and one vote for all of it."""

from __future__ import annotations

from collections.abc import Sequence

from gitopsd.cli.client import Client, Document, path_of
from gitopsd.cli.printing import Column, Form, say, show_rows, show_time
from gitopsd.errors import PermanentError

_QUIET = ("unchanged", "skipped")


def _say_stages(group: Document) -> str:
    stages = group["stages"]
    verified = sum(one["state"] == "Verified" for one in stages)
    failed = sum(one["state"] == "Failed" for one in stages)
    told = f"{verified} of {len(stages)} verified"
    return f"{told}, {failed} failed" if failed else told


def _say_changes(changes: Document) -> str:
    return ", ".join(f"{count} {name}" for name, count in changes.items() if name not in _QUIET)


GROUPS = (
    Column("application", lambda row: row["application"]),
    Column("group", lambda row: row["name"]),
    Column("release", lambda row: row["release"]),
    Column("stages", _say_stages),
    Column("waits for a vote", lambda row: ", ".join(one["stage"] for one in row["waiting"])),
    Column("stopped", lambda row: row["stopped"]),
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


def read_plans(client: Client, application: str, group: str, output: Form) -> dict[str, str]:
    """Show the plans that a group waits with, and return them by run: what is voted on.

    Raises:
        PermanentError: There is no such group, or nothing waits.
    """
    document = client.get(path_of("applications", application))
    found = [row for row in list_groups([document]) if row["name"] == group]
    if not found:
        raise PermanentError(f"{application} has no group {group}")
    waiting = found[0]["waiting"]
    if not waiting:
        raise PermanentError(f"nothing of group {group} of {application} waits for a vote")
    if output in (Form.TABLE, Form.WIDE):
        show_rows(waiting, PLANS, output)
        say("")
    return {row["run"]: row["plan"] for row in waiting}
