"""What every notifier promises: the fake and the signed webhook, in trouble or not."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from gitopsd.adapters.notify.by_type import NotifierByType
from gitopsd.domain.channels import ChannelSpec, ChannelType
from gitopsd.domain.work import Notification
from gitopsd.errors import PermanentError, TemporaryError
from gitopsd.ports import Notifier
from gitopsd.testing.clock import START, ManualClock
from gitopsd.testing.notifier import MemoryNotifier
from tests.support.lying_server import LyingServer, reply, run_lying_server

NOTIFICATION = Notification(
    id="run-1.7.on-deployed",
    trigger="on-deployed",
    application="shop",
    stage="staging",
    message="staging runs 1.4.2",
    at=START,
    details={"run": "run-1"},
)


class Channel(Protocol):
    """A notifier, one channel of it, and a hand on the channel's other end."""

    spec: ChannelSpec

    @property
    def notifier(self) -> Notifier:
        """The notifier under test."""
        ...

    def break_down(self) -> None:
        """Let the other end be in trouble."""
        ...

    def refuse(self) -> None:
        """Let the other end refuse for good."""
        ...

    def mend(self) -> None:
        """Let the other end take messages."""
        ...

    def received(self) -> list[str]:
        """Tell the ids of the messages that were taken, each once."""
        ...


class MemoryChannel:
    """A channel of the fake."""

    def __init__(self) -> None:
        self.notifier = MemoryNotifier()
        self.spec = ChannelSpec("on-call", ChannelType.WEBHOOK)

    def break_down(self) -> None:
        """See `Channel`."""
        self.notifier.break_channel(self.spec.name, TemporaryError("away"))

    def refuse(self) -> None:
        """See `Channel`."""
        self.notifier.break_channel(self.spec.name, PermanentError("gone"))

    def mend(self) -> None:
        """See `Channel`."""
        self.notifier.mend_channel(self.spec.name)

    def received(self) -> list[str]:
        """See `Channel`."""
        return [one.id for one in self.notifier.received.get(self.spec.name, [])]


class WebhookChannel:
    """A channel to a real server."""

    def __init__(self, server: LyingServer, secret_file: Path) -> None:
        self.notifier = NotifierByType(ManualClock())
        self.spec = ChannelSpec(
            "on-call", ChannelType.WEBHOOK, url=server.url, secret_file=str(secret_file)
        )
        self._server = server
        self._taking = True
        self._taken: dict[str, str] = {}
        self._seen = 0

    def break_down(self) -> None:
        """See `Channel`."""
        self._switch(503)

    def refuse(self) -> None:
        """See `Channel`."""
        self._switch(410)

    def mend(self) -> None:
        """See `Channel`."""
        self._switch(202)

    def received(self) -> list[str]:
        """See `Channel`; equal message ids are one message, as the specification asks."""
        fresh = self._server.requests[self._seen :]
        self._seen = len(self._server.requests)
        if self._taking:
            for request in fresh:
                told = json.loads(request.body)["data"]["id"]
                self._taken.setdefault(request.headers["webhook-id"], told)
        return list(self._taken.values())

    def _switch(self, status: int) -> None:
        self.received()
        self._taking = status == 202
        self._server.answer(reply(status))


@asynccontextmanager
async def _open_webhook(folder: Path) -> AsyncIterator[Channel]:
    (folder / "secret").write_text("topsecret")
    async with run_lying_server(reply(202)) as server:
        made = WebhookChannel(server, folder / "secret")
        yield made
        await made.notifier.close()


@pytest.fixture(params=["memory", "webhook"])
async def channel(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Channel]:
    """A channel of each kind."""
    if request.param == "memory":
        yield MemoryChannel()
        return
    async with _open_webhook(tmp_path) as made:
        yield made


async def test_a_message_arrives(channel: Channel) -> None:
    """What is sent is received."""
    await channel.notifier.send(channel.spec, NOTIFICATION)
    assert channel.received() == [NOTIFICATION.id]


async def test_a_message_that_is_sent_twice_is_one(channel: Channel) -> None:
    """A crash after sending sends again; the receiver can tell."""
    await channel.notifier.send(channel.spec, NOTIFICATION)
    await channel.notifier.send(channel.spec, NOTIFICATION)
    await channel.notifier.send(channel.spec, replace(NOTIFICATION, id="another"))
    assert channel.received() == [NOTIFICATION.id, "another"]


async def test_trouble_passes(channel: Channel) -> None:
    """A channel in trouble takes nothing, says so, and takes it later."""
    channel.break_down()
    with pytest.raises(TemporaryError):
        await channel.notifier.send(channel.spec, NOTIFICATION)
    assert channel.received() == []
    channel.mend()
    await channel.notifier.send(channel.spec, NOTIFICATION)
    assert channel.received() == [NOTIFICATION.id]


async def test_a_refusal_is_final(channel: Channel) -> None:
    """A channel that will never take a message says so in another way."""
    channel.refuse()
    with pytest.raises(PermanentError):
        await channel.notifier.send(channel.spec, NOTIFICATION)
    assert channel.received() == []
