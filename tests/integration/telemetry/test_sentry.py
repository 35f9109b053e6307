"""Reports of bugs: fifty planted secrets, none of which leaves the process."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

import pytest
import sentry_sdk
from sentry_sdk.transport import Transport

from gitopsd.adapters.telemetry.metrics import PrometheusTelemetry
from gitopsd.adapters.telemetry.sentry import (
    SHUTDOWN,
    redact_event,
    report_error,
    start_sentry,
    stop_sentry,
)
from gitopsd.errors import TemporaryError
from gitopsd.testing.clock import LoopClock
from tests.support.lying_server import hang, reply, run_lying_server
from tests.support.planted import plant

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope

DSN = "https://public@sentry.example.test/1"
SECRETS = plant()


class _Catching(Transport):
    """Keeps what would be sent."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[str] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Write it as it would go over the wire."""
        self.sent.append(envelope.serialize().decode())


@pytest.fixture
def caught() -> Iterator[_Catching]:
    """Sentry begun with a transport that keeps everything."""
    transport = _Catching()
    start_sentry(DSN, release="1.2.3", transport=transport)
    yield transport
    stop_sentry()


def _report(transport: _Catching) -> dict[str, Any]:
    [envelope] = transport.sent
    report: dict[str, Any] = json.loads(envelope.splitlines()[-1])
    return report


def _see_the_end_of_sending() -> None:
    """Wait for the SDK's own threads: they go on with what they have, and would log elsewhere."""
    for thread in threading.enumerate():
        if thread.name == "sentry-sdk.BackgroundWorker":
            thread.join(timeout=10)
            assert not thread.is_alive(), "it still sends"


def _raise(text: str) -> NoReturn:
    held_in_a_local_variable = text
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "stringData": {"key": held_in_a_local_variable},
    }
    raise ValueError(text, manifest)


def test_there_are_fifty_secrets() -> None:
    """Each of its own form, and each in its text."""
    assert len(SECRETS) == 50
    assert all(planted.secret in planted.text for planted in SECRETS)


@pytest.mark.parametrize("number", range(50))
def test_no_planted_secret_leaves(caught: _Catching, number: int) -> None:
    """Not from messages, causes, locals, breadcrumbs, tags, contexts, requests or users."""
    planted = SECRETS[number]
    logging.getLogger("gitopsd.test").warning("said %s", planted.text)
    sentry_sdk.add_breadcrumb(
        message=planted.text, data={"url": planted.text, "deep": [planted.text]}
    )
    sentry_sdk.set_user({"id": planted.secret})
    sentry_sdk.set_context("run", {"log": [{"line": planted.text}], planted.text: "key"})
    sentry_sdk.set_extra("note", planted.text)
    try:
        try:
            _raise(planted.text)
        except ValueError as error:
            raise TemporaryError(f"step failed: {planted.text}") from error
    except TemporaryError as error:
        report_error(error, {"run": "run-1", "where": planted.text})
    [sent] = caught.sent
    assert planted.secret not in sent
    assert planted.secret not in json.dumps(_report(caught))
    assert _report(caught)["tags"]["run"] == "run-1"


def test_a_report_says_what_is_needed(caught: _Catching) -> None:
    """Type, message, place and version are there; values of variables and source lines are not."""
    try:
        _raise("the disk is full")
    except ValueError as error:
        report_error(error, {"step": "Apply"})
    report = _report(caught)
    [exception] = report["exception"]["values"]
    assert exception["type"] == "ValueError"
    assert "the disk is full" in exception["value"]
    frames = exception["stacktrace"]["frames"]
    assert frames[-1]["function"] == "_raise"
    assert all("vars" not in frame and "context_line" not in frame for frame in frames)
    assert report["release"] == "gitopsd@1.2.3"
    assert report["tags"] == {"step": "Apply"}
    assert not {"request", "user", "extra", "modules"} & report.keys()


def test_reports_do_not_share_tags(caught: _Catching) -> None:
    """One report's context does not reach the next."""
    report_error(ValueError("one"), {"run": "run-1"})
    report_error(ValueError("two"), {"step": "Apply"})
    assert "run-1" not in caught.sent[1]


def test_bytes_are_never_sent() -> None:
    """A body that found its way into a report is only counted."""
    assert redact_event({"contexts": {"body": b"topsecret"}}) == {"contexts": {"body": "<9 bytes>"}}


def test_deep_and_odd_values_are_bounded() -> None:
    """Redaction ends, whatever the report holds."""
    deep: Any = "token=abc"
    for _ in range(100):
        deep = [deep]
    redacted = redact_event({"contexts": {"deep": deep, "n": 1, "none": None, "set": {1}}})
    assert "abc" not in str(redacted)
    assert redacted["contexts"]["n"] == 1
    assert len(redact_event({"message": "x" * 1_000_000})["message"]) < 10_000
    assert redact_event({"my_token": "abc", "tokens": {"a": "token=abc"}}) == {
        "my_token": "***",
        "tokens": {"a": "token=***"},
    }


def test_without_address_nothing_begins() -> None:
    """An empty DSN reports nothing and costs nothing; ending is safe to repeat."""
    start_sentry("", release="1")
    report_error(ValueError("x"), {})
    assert not sentry_sdk.get_client().is_active()
    stop_sentry()
    stop_sentry()


def test_the_end_ends_it(caught: _Catching) -> None:
    """After the end nothing is reported."""
    stop_sentry()
    report_error(ValueError("x"), {})
    assert caught.sent == []


def test_telemetry_reports(caught: _Catching) -> None:
    """The telemetry port leads here."""
    PrometheusTelemetry().report(ValueError("boom"), run="run-1")
    assert _report(caught)["tags"] == {"run": "run-1"}


def test_errors_in_threads_are_reported(
    caught: _Catching, recwarn: pytest.WarningsRecorder
) -> None:
    """A thread that dies tells, without its variables."""
    hook, threading.excepthook = threading.excepthook, lambda _: None
    try:
        thread = threading.Thread(target=_raise, args=("password=hunter22",))
        thread.start()
        thread.join()
    finally:
        threading.excepthook = hook
    recwarn.clear()
    assert "hunter22" not in "".join(caught.sent)
    assert len(caught.sent) == 1


async def test_reports_go_over_http_and_an_outage_costs_nothing() -> None:
    """The SDK's own transport: received when Sentry is there; two seconds at most when it hangs."""
    clock = LoopClock()
    async with run_lying_server(reply(200)) as server:
        start_sentry(f"http://public@127.0.0.1:{server.port}/1", release="1")
        report_error(ValueError("token=abcdef"), {})
        await asyncio.to_thread(stop_sentry)
        [request] = server.requests
        assert b"ValueError" in gzip.decompress(request.body)
        assert b"abcdef" not in gzip.decompress(request.body)
        waited = asyncio.Event()
        server.answer(hang(waited))
        start_sentry(f"http://public@127.0.0.1:{server.port}/1", release="1")
        begin = clock.monotonic()
        for number in range(50):
            report_error(ValueError(str(number)), {})
        assert clock.monotonic() - begin < 2
        begin = clock.monotonic()
        await asyncio.to_thread(stop_sentry)
        assert timedelta(seconds=clock.monotonic() - begin) < SHUTDOWN + timedelta(seconds=1)
        waited.set()
        await asyncio.to_thread(_see_the_end_of_sending)
