"""``wait`` and ``events``: what happens, as it happens."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Annotated

import typer

from gitopsd.cli.client import ApiError, Client, Document, make_client, path_of
from gitopsd.cli.printing import Form, Output, Server, TokenFile, say, show_document
from gitopsd.cli.spans import parse_seconds
from gitopsd.errors import GitopsdError, PermanentError, TemporaryError

LONGEST_POLL_SECONDS = 55.0
"""One request waits no longer, because proxies end idle requests after a minute."""

RECONNECT_SECONDS = 1.0
"""Pause before a stream that ended is opened again where it stopped."""

_FULL_SHA = (40, 64)
_PASSING = (502, 503, 504)
"""What a server that starts or ends, or a proxy before it, answers for a while."""


class Outcome(IntEnum):
    """Exit codes of ``wait``."""

    LIVE = 0
    FAILED = 1
    ROLLED_BACK = 3
    SUPERSEDED = 4
    HELD = 5
    TIMED_OUT = 124


def add_to(app: typer.Typer) -> None:
    """Add the verbs of this module."""
    app.command()(wait)
    app.command()(events)


def wait(
    commit: Annotated[
        str, typer.Argument(help="Commit, tag, digest or image@digest; anything Git knows here.")
    ] = "HEAD",
    application: Annotated[
        str, typer.Option("--application", "--app", "-a", help="Only this application.")
    ] = "",
    stage: Annotated[
        str, typer.Option("--stage", "-s", help="Only this stage; all that it concerns if empty.")
    ] = "",
    timeout: Annotated[str, typer.Option("--timeout", help="Give up after, e.g. 10m.")] = "10m",
    exact: Annotated[
        bool, typer.Option("--exact", help="A release that merely contains it does not count.")
    ] = False,
    fail_on_gate: Annotated[
        bool, typer.Option("--fail-on-gate", help="End when a gate holds it.")
    ] = False,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Wait until a commit is live.

    Exit codes: 0 live, 1 failed, 2 usage or API error, 3 rolled back, 4 superseded by one that
    does not contain it, 5 held at a gate (with --fail-on-gate), 124 timed out.
    """
    seconds = parse_seconds(timeout)
    client = make_client(server, token_file)
    path = path_of("commits", resolve(commit))
    end = time.monotonic() + seconds
    told: tuple[str, ...] = ()
    known = ""
    patience = _Patience()
    while True:
        left = max(end - time.monotonic(), 0.0)
        poll = min(left, LONGEST_POLL_SECONDS)
        asked = 0.0 if not told else poll
        try:
            found = client.get(
                path,
                timeout=asked + 30,
                application=application,
                stage=stage,
                wait=f"{asked:.3f}" if asked else "",
                known=known,
            )["stages"]
        except GitopsdError as error:
            if left <= 0:
                raise
            patience.bear(error)
            continue
        patience.answered()
        known = ",".join(f"{one['application']}/{one['stage']}" for one in found if one["terminal"])
        told = _tell(found, told, output)
        outcome = judge(found, exact=exact, fail_on_gate=fail_on_gate)
        if outcome is None and left <= 0:
            outcome = Outcome.TIMED_OUT
            sys.stderr.write(f"gitopsd: not live after {timeout}\n")
        if outcome is not None:
            if output in (Form.JSON, Form.YAML):
                show_document({"outcome": outcome.name, "stages": found}, output)
            raise typer.Exit(int(outcome))


def judge(found: Sequence[Document], *, exact: bool, fail_on_gate: bool) -> Outcome | None:
    """Tell how the wait ends; None while it goes on.

    Every stage that the commit concerns has to be live; one where it failed ends the wait.

    Args:
        found: Statuses of the commit, in stage order.
        exact: Whether a release that merely contains the commit does not count.
        fail_on_gate: Whether being held at a gate ends the wait.
    """
    known = [one for one in found if one["state"] != "NotSeen"]
    seen = [one for one in known if one["state"] != "NotConcerned"]
    if known and not seen:
        return Outcome.LIVE
    for state, outcome in (
        ("RolledBack", Outcome.ROLLED_BACK),
        ("Failed", Outcome.FAILED),
        ("Quarantined", Outcome.FAILED),
        ("Superseded", Outcome.SUPERSEDED),
    ):
        if any(one["state"] == state for one in seen):
            return outcome
    live = [one for one in seen if one["state"] == "Live"]
    if seen and len(live) == len(seen):
        through = any(not one["exact"] for one in live)
        return Outcome.SUPERSEDED if exact and through else Outcome.LIVE
    if fail_on_gate and any(one["state"] == "Held" for one in seen):
        return Outcome.HELD
    return None


class _Patience:
    """Bears a server that answered before and does not for a while, because it restarts, say."""

    def __init__(self) -> None:
        self._known = False
        self._silent = False

    def answered(self) -> None:
        """Note that the server is there."""
        self._known, self._silent = True, False

    def bear(self, error: GitopsdError) -> None:
        """Say once that the server is away, and wait a little.

        Raises:
            GitopsdError: It never answered, or it did and said no.
        """
        passing = isinstance(error, TemporaryError) or (
            isinstance(error, ApiError) and error.status in _PASSING
        )
        if not self._known or not passing:
            raise error
        if not self._silent:
            sys.stderr.write(f"gitopsd: {error.message.partition(chr(10))[0]} Still trying.\n")
            sys.stderr.flush()
        self._silent = True
        threading.Event().wait(RECONNECT_SECONDS)


def _tell(found: Sequence[Document], before: tuple[str, ...], output: Form) -> tuple[str, ...]:
    """Print where the commit stands now, stages of which that changed; returns all lines."""
    lines = []
    for one in found:
        why = f": {one['reason']}" if one["reason"] else ""
        opener = f" (waits for: {one['waitingFor']})" if one["waitingFor"] else ""
        lines.append(f"{one['application']}/{one['stage']} {one['state']}{why}{opener}")
    told = tuple(lines) or ("no application follows it",)
    if output not in (Form.JSON, Form.YAML):
        for line in told:
            if line not in before:
                say(line)
    return told


def resolve(commit: str, directory: Path | None = None) -> str:
    """Let Git say which commit is meant, when the words are no full id and Git knows them here.

    Args:
        commit: What the person wrote.
        directory: Where Git is asked; the current directory unless given.

    Raises:
        PermanentError: ``HEAD`` is meant and there is no repository.
    """
    _, at, digest = commit.rpartition("@sha256:")
    if at:  # as whoever pushed an image was told: NAME@sha256:...
        return f"sha256:{digest}"
    if len(commit) in _FULL_SHA or commit.startswith("sha256:"):
        return commit
    try:
        found = subprocess.run(
            ["git", "rev-parse", "--verify", "--quiet", f"{commit}^{{commit}}"],  # noqa: S607 - git comes from PATH
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return commit
    if found.returncode != 0 and commit == "HEAD":
        raise PermanentError("name a commit: here is no Git repository with a HEAD")
    return found.stdout.strip() if found.returncode == 0 else commit


def events(
    application: Annotated[
        str, typer.Option("--application", "--app", "-a", help="Only this application.")
    ] = "",
    after: Annotated[
        int | None, typer.Option("--after", min=0, help="Begin after this number; 0 for all.")
    ] = None,
    output: Output = Form.TABLE,
    server: Server = "",
    token_file: TokenFile = "",
) -> None:
    """Follow what happens until interrupted."""
    client = make_client(server, token_file)
    position = after
    patience = _Patience()
    while True:
        try:
            for number in _follow(client, application, position, output):
                position = number
                patience.answered()
        except GitopsdError as error:
            patience.bear(error)
        else:
            # The server ended the stream: it restarts, or something between closes long answers.
            threading.Event().wait(RECONNECT_SECONDS)


def _follow(client: Client, application: str, position: int | None, output: Form) -> Iterator[int]:
    """Print events until the stream ends; yields the number to go on from after each of them."""
    number = position
    with client.stream("/events", application=application, after=position) as fields:
        for name, value in fields:
            if name == "id":
                number = int(value)
            elif name == "data":
                _print_event(json.loads(value), output)
            elif not (name or value) and number is not None:
                yield number


def _print_event(event: Document, output: Form) -> None:
    if output in (Form.JSON, Form.YAML):
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
        return
    where = "/".join(part for part in (event["application"], event["stage"]) if part)
    said = event["message"].removeprefix(where).removeprefix(":").strip()
    say(f"{event['at'][:19]}Z {event['trigger']} {where} {said}")
