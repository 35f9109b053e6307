"""What every channel that shows reports promises: the fake, Slack and GitHub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Protocol

import pytest

from gitopsd.adapters.notify.by_type import NotifierByType
from gitopsd.adapters.notify.outgoing import Outgoing
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.reports import Check, Report
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import MISCONFIGURED, Notifier
from gitopsd.testing.clock import ManualClock
from gitopsd.testing.notifier import MemoryNotifier
from tests.support import github_server, slack_server
from tests.support.github_server import GitHubServer, run_github
from tests.support.odd_answers import drop_after, say
from tests.support.report_values import RELEASE, STAGE, Memory, settled
from tests.support.slack_server import CONVERSATION, SlackServer, run_slack

IMPATIENT = timedelta(milliseconds=300)


class Board(Protocol):
    """A notifier, one channel of it, and a hand on the channel's other end."""

    spec: ChannelSpec
    early: Report
    late: Report

    @property
    def notifier(self) -> Notifier:
        """The notifier under test."""
        ...

    def break_down(self) -> None:
        """Let the other end fail."""
        ...

    def hang(self) -> None:
        """Let the other end take requests and say nothing."""
        ...

    def refuse(self) -> None:
        """Let the other end refuse until a person does something."""
        ...

    def mend(self) -> None:
        """Let the other end work."""
        ...

    def lose_answer(self) -> None:
        """Let the other end do what makes something new, and its answer be lost."""
        ...

    def places(self) -> int:
        """Tell in how many places something is shown."""
        ...

    def says(self) -> str:
        """Tell which report the places show: ``early``, ``late`` or nothing."""
        ...

    def changes(self) -> int:
        """Tell how often anything was made or changed."""
        ...


class MemoryBoard:
    """A channel of the fake."""

    def __init__(self) -> None:
        self.notifier = MemoryNotifier()
        self.spec = ChannelSpec("deploys", ChannelType.SLACK)
        self.early: Report = RELEASE
        self.late: Report = settled(RELEASE)

    def break_down(self) -> None:
        """See `Board`."""
        self.notifier.break_channel(self.spec.name, TemporaryError("away"))

    def hang(self) -> None:
        """See `Board`; nobody waits for the fake."""
        self.break_down()

    def refuse(self) -> None:
        """See `Board`."""
        error = PermanentError("channel deploys: bad token", reason=MISCONFIGURED)
        self.notifier.break_channel(self.spec.name, error)

    def mend(self) -> None:
        """See `Board`."""
        self.notifier.mend_channel(self.spec.name)

    def lose_answer(self) -> None:
        """See `Board`."""
        self.notifier.forget_after.add(self.early.id)

    def places(self) -> int:
        """See `Board`."""
        return len(self.notifier.made)

    def says(self) -> str:
        """See `Board`."""
        shown = self.notifier.shown.get(self.spec.name, {}).get(self.early.id)
        return {self.early: "early", self.late: "late"}.get(shown, "") if shown else ""

    def changes(self) -> int:
        """See `Board`."""
        return len(self.notifier.history)


class SlackBoard:
    """A channel to a Slack of this test's own."""

    def __init__(self, server: SlackServer, token_file: Path) -> None:
        token_file.write_text(f"{slack_server.TOKEN}\n")
        self._server = server
        self.notifier = NotifierByType(
            ManualClock(), slack_url=server.url, outgoing=Outgoing(timeout=IMPATIENT)
        )
        self.spec = ChannelSpec(
            "deploys",
            ChannelType.SLACK,
            token_file=str(token_file),
            conversation=CONVERSATION,
        )
        self.early: Report = RELEASE
        self.late: Report = settled(RELEASE)

    def break_down(self) -> None:
        """See `Board`."""
        self._server.odd.always("chat.", say(500, b"<html>oops"))

    def hang(self) -> None:
        """See `Board`."""
        self._server.odd.always("/api/", self._server.odd.hang())

    def refuse(self) -> None:
        """See `Board`."""
        self._server.odd.always("/api/", say(200, {"ok": False, "error": "invalid_auth"}))

    def mend(self) -> None:
        """See `Board`."""
        self._server.odd.forever.clear()

    def lose_answer(self) -> None:
        """See `Board`."""
        self._server.odd.once("postMessage", drop_after())

    def places(self) -> int:
        """See `Board`."""
        return len(self._server.parents)

    def says(self) -> str:
        """See `Board`."""
        if not self._server.parents:
            return ""
        told = [self._server.parents[0], *self._server.below(self._server.parents[0])]
        late = ["verified" in told[0].text, ":large_blue_circle:" not in told[-1].text]
        return "late" if all(late) else "early"

    def changes(self) -> int:
        """See `Board`."""
        return sum(len(message.versions) for message in self._server.messages)


class GitHubBoard:
    """A channel to a GitHub of this test's own."""

    def __init__(self, server: GitHubServer, token_file: Path) -> None:
        token_file.write_text(f"{github_server.TOKEN}\n")
        self._server = server
        self.notifier = NotifierByType(
            ManualClock(), github_url=server.url, outgoing=Outgoing(timeout=IMPATIENT)
        )
        self.spec = ChannelSpec("commits", ChannelType.GITHUB, token_file=str(token_file))
        self.early: Report = STAGE
        done = replace(STAGE.deployments[0], state=Check.SUCCESS, sentence="verified")
        self.late: Report = replace(
            STAGE, state=Check.SUCCESS, sentence="verified", deployments=(done,)
        )

    def break_down(self) -> None:
        """See `Board`."""
        self._server.odd.always("/repos/", say(502, b"<html>oops"))

    def hang(self) -> None:
        """See `Board`."""
        self._server.odd.always("/repos/", self._server.odd.hang())

    def refuse(self) -> None:
        """See `Board`."""
        self._server.odd.always("/repos/", say(401, {"message": "Bad credentials"}))

    def mend(self) -> None:
        """See `Board`."""
        self._server.odd.forever.clear()

    def lose_answer(self) -> None:
        """See `Board`."""
        self._server.odd.once("/deployments", drop_after())

    def places(self) -> int:
        """See `Board`."""
        return len(self._server.deployments)

    def says(self) -> str:
        """See `Board`."""
        statuses = [status["state"] for _, status in self._server.statuses]
        said = [one["statuses"][-1]["state"] for one in self._server.deployments]
        if not statuses or not said:
            return ""
        last = {statuses[-1], *said}
        return "late" if last == {"success"} else "early"

    def changes(self) -> int:
        """See `Board`."""
        deployed = sum(1 + len(one["statuses"]) for one in self._server.deployments)
        return len(self._server.statuses) + deployed


@asynccontextmanager
async def _open(kind: str, folder: Path) -> AsyncIterator[Board]:
    if kind == "memory":
        yield MemoryBoard()
    elif kind == "slack":
        async with run_slack() as slack:
            slack_board = SlackBoard(slack, folder / "token")
            yield slack_board
            await slack_board.notifier.close()
    else:
        async with run_github(ManualClock()) as github:
            github_board = GitHubBoard(github, folder / "token")
            yield github_board
            await github_board.notifier.close()


@pytest.fixture(params=["memory", "slack", "github"])
async def board(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Board]:
    """A channel of each kind."""
    async with _open(str(request.param), tmp_path) as made:
        yield made


async def _show(board: Board, report: Report, memory: Memory) -> None:
    await board.notifier.show(board.spec, report, memory.state, memory.remember)


async def test_a_report_is_shown_in_one_place(board: Board) -> None:
    """Shown again as it stands, it is left alone."""
    memory = Memory()
    await _show(board, board.early, memory)
    assert (board.places(), board.says()) == (1, "early")
    changes = board.changes()
    await _show(board, board.early, memory)
    assert (board.places(), board.changes()) == (1, changes)


async def test_a_report_is_updated_in_its_place(board: Board) -> None:
    """When things stand differently the place says so, and no second place is made."""
    memory = Memory()
    await _show(board, board.early, memory)
    await _show(board, board.late, memory)
    assert (board.places(), board.says()) == (1, "late")


async def test_a_channel_that_was_away_shows_the_newest(board: Board) -> None:
    """What was between is left out."""
    memory = Memory()
    board.break_down()
    with pytest.raises(TemporaryError):
        await _show(board, board.early, memory)
    board.mend()
    await _show(board, board.late, memory)
    assert (board.places(), board.says()) == (1, "late")


async def test_what_was_made_and_not_remembered_is_found_again(board: Board) -> None:
    """The answer is lost between making and remembering: nothing is made twice."""
    memory = Memory()
    board.lose_answer()
    with pytest.raises(TemporaryError):
        await _show(board, board.early, memory)
    await _show(board, board.late, memory)
    assert (board.places(), board.says()) == (1, "late")


async def test_a_channel_that_says_nothing_is_not_waited_for(board: Board) -> None:
    """No answer in time is trouble that may pass."""
    memory = Memory()
    board.hang()
    with pytest.raises(TemporaryError):
        await _show(board, board.early, memory)
    board.mend()
    await _show(board, board.early, memory)
    assert (board.places(), board.says()) == (1, "early")


async def test_a_channel_that_a_person_must_mend_says_so(board: Board) -> None:
    """It is told apart from trouble that passes by itself, and afterwards everything is shown."""
    memory = Memory()
    board.refuse()
    with pytest.raises(PermanentError) as caught:
        await _show(board, board.early, memory)
    assert caught.value.reason == MISCONFIGURED
    assert board.spec.name in caught.value.message
    board.mend()
    await _show(board, board.late, memory)
    assert (board.places(), board.says()) == (1, "late")
