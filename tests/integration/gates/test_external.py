"""``external:`` over real sockets: what is sent, and what counts as an answer."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.gates.by_kind import GateProberByKind
from gitopsd.adapters.outgoing_addresses import CheckedResolver
from gitopsd.domain.asked_gates import ExternalGate, Finding, ProbeAnswer
from gitopsd.domain.config import Configuration
from gitopsd.errors import SignatureError
from gitopsd.testing.clock import ManualClock
from gitopsd.webhooks.signatures import check_standard_webhook
from tests.support.gate_questions import COMMIT, ask_for
from tests.support.lying_server import (
    Answering,
    LyingServer,
    drip,
    drop,
    garbage,
    gzip_bomb,
    hang,
    pour,
    reply,
    reply_json,
    reset_in_body,
    run_lying_server,
)

SECRET = b"made for this test"
YES = {"decision": "open", "reason": "the index is built"}
QUICK = timedelta(milliseconds=300)


@pytest.fixture
async def server() -> AsyncIterator[LyingServer]:
    """A server on loopback."""
    async with run_lying_server() as running:
        yield running


@pytest.fixture
def clock() -> ManualClock:
    """Time of the signatures."""
    return ManualClock()


@pytest.fixture
async def prober(clock: ManualClock) -> AsyncIterator[GateProberByKind]:
    """A prober that may ask this machine."""
    made = GateProberByKind(Configuration, clock, allow_loopback=True)
    yield made
    await made.close()


@pytest.fixture
def gate(server: LyingServer, tmp_path: Path) -> ExternalGate:
    """A gate that asks the server."""
    secret = tmp_path / "secret"
    secret.write_bytes(SECRET + b"\n")
    return ExternalGate(f"{server.url}/gate?x=1", str(secret))


async def _ask(
    prober: GateProberByKind, server: LyingServer, gate: ExternalGate, answering: Answering
) -> ProbeAnswer:
    server.answer(answering)
    return await prober.ask(ask_for(gate))


async def test_the_question_is_signed_and_says_what_it_is_about(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate, clock: ManualClock
) -> None:
    """Who has the secret can tell that gitopsd asks, when, and about which plan."""
    answer = await _ask(prober, server, gate, reply_json(YES))

    assert answer.finding is Finding.MET
    where = gate.url.split("/")[2]
    assert answer.sentence == f"{where} says open: the index is built"
    assert answer.details == {"url": gate.url, "status": 200, "answer": json.dumps(YES)}
    (asked,) = server.requests
    assert (asked.method, asked.target) == ("POST", "/gate?x=1")
    assert asked.headers["content-type"] == "application/json"
    assert json.loads(asked.body) == {
        "application": "shop",
        "stage": "production",
        "run": "shop-production-0011",
        "release": "r-0011",
        "alias": "bold-heron",
        "plan": "sha256:plan",
        "repository": "https://github.com/acme/shop-deploy.git",
        "commit": COMMIT,
    }
    check_standard_webhook(asked.headers, asked.body, [SECRET], clock.now())
    with pytest.raises(SignatureError):
        check_standard_webhook(asked.headers, asked.body + b" ", [SECRET], clock.now())


async def test_each_asking_is_a_message_of_its_own(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate, clock: ManualClock
) -> None:
    """A receiver that passes over repeated messages answers each of them."""
    await _ask(prober, server, gate, reply_json(YES))
    clock.advance(timedelta(seconds=30))
    await _ask(prober, server, gate, reply_json(YES))
    assert len({one.headers["webhook-id"] for one in server.requests}) == 2


@pytest.mark.parametrize(
    "said, finding",
    [("open", Finding.MET), ("closed", Finding.UNMET), ("refused", Finding.REFUSED)],
)
async def test_three_decisions_count(
    server: LyingServer,
    prober: GateProberByKind,
    gate: ExternalGate,
    said: str,
    finding: Finding,
) -> None:
    """Each means what it says."""
    answer = await _ask(prober, server, gate, reply_json({"decision": said, "reason": "so"}))
    assert answer.finding is finding


_BODY = json.dumps(YES).encode()
_TWICE = b'{"decision": "closed", "decision": "open", "reason": ""}'


_JSON = "application/json"
NO_ANSWERS: dict[str, tuple[Answering, str]] = {
    "201": (reply_json(YES, 201), "answered 201 instead of 200"),
    "404": (reply_json(YES, 404), "answered 404 instead of 200"),
    "503": (reply_json(YES, 503), "answered 503 instead of 200"),
    "redirect": (
        reply_json(YES, 302, Location="/yes"),
        "answered 302 instead of 200; redirects are not followed: write the final url",
    ),
    "html": (reply(200, _BODY, Content_Type="text/html"), "answered text/html instead of"),
    "no type": (reply(200, _BODY), "answered no type instead of application/json"),
    "packed": (
        reply(200, _BODY, Content_Type=_JSON, Content_Encoding="gzip"),
        "answered it packed, as gzip",
    ),
    "bomb": (gzip_bomb(), "answered"),
    "no json": (reply(200, b"<html>", Content_Type=_JSON), "what is no JSON"),
    "empty": (reply(200, b"", Content_Type=_JSON), "what is no JSON"),
    "deep": (reply(200, b"[" * 50_000, Content_Type=_JSON), "nested too deeply"),
    "twice": (reply(200, _TWICE, Content_Type=_JSON), "it says one thing twice"),
    "nan": (reply(200, b'{"decision": NaN}', Content_Type=_JSON), "NaN is no JSON"),
    "no text": (reply(200, b"\xff\xfe{}", Content_Type=_JSON), "what is no JSON"),
    "no decision": (reply_json({"decision": "yes"}), "the decision 'yes', not open, closed or"),
    "no object": (reply_json(["open"]), "no JSON object"),
    "endless": (pour(200_000_000), "more than 65536 bytes"),
    "garbage": (garbage(), ""),
    "dropped": (drop(), ""),
    "cut off": (reset_in_body(), ""),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_what_is_no_answer_opens_nothing(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate, name: str
) -> None:
    """Another status, type, shape or size, a redirect, or half an answer; it says which."""
    answering, problem = NO_ANSWERS[name]
    answer = await _ask(prober, server, gate, answering)
    assert answer.finding is Finding.INCONCLUSIVE
    assert problem in answer.sentence
    assert len(server.requests) == 1


@pytest.mark.parametrize("drips", [False, True])
async def test_a_late_answer_is_none(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate, *, drips: bool
) -> None:
    """The bound is on the whole answer, not on the time between two of its bytes."""
    answering = drip() if drips else hang()
    answer = await _ask(prober, server, replace(gate, timeout=QUICK), answering)
    assert answer.finding is Finding.INCONCLUSIVE
    assert answer.sentence.endswith("no complete answer within 0.3 s")


async def test_patience_is_kept_when_it_is_asked_for(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate
) -> None:
    """Retry-After says how long."""
    answer = await _ask(prober, server, gate, reply_json({}, 429, Retry_After="120"))
    assert answer.retry_after == timedelta(minutes=2)


async def test_a_long_answer_is_not_read_to_its_end(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate
) -> None:
    """An answer without end costs neither time nor memory."""
    tracemalloc.start()
    try:
        await _ask(prober, server, gate, pour(200_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 40_000_000


async def test_a_secret_that_is_gone_asks_nothing(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate
) -> None:
    """Nothing goes out unsigned."""
    lost = replace(gate, secret_file=f"{gate.secret_file}.gone")
    answer = await _ask(prober, server, lost, reply_json(YES))
    assert answer.finding is Finding.INCONCLUSIVE
    assert "cannot be read" in answer.sentence
    assert not server.requests


async def test_secrets_in_an_answer_are_masked(
    server: LyingServer, prober: GateProberByKind, gate: ExternalGate
) -> None:
    """In the sentence and in what is kept."""
    token = "ghp_" + "a1B2" * 9
    told = {"decision": "closed", "reason": f"used {token}"}
    answer = await _ask(prober, server, gate, reply_json(told))
    assert token not in f"{answer.sentence} {answer.details}"


@pytest.mark.parametrize(
    "url, refusal",
    [
        ("http://127.0.0.1:1/", "is a loopback address"),
        ("http://169.254.169.254/latest", "is a link-local address"),
        ("http://[::ffff:169.254.169.254]/", "is a link-local address"),
        ("http://169.254.1.1/", "is a link-local address"),
        ("http://0.0.0.0/", "is no address of a host"),
    ],
)
async def test_addresses_that_are_nobodys_are_refused(
    gate: ExternalGate, url: str, refusal: str
) -> None:
    """An application file cannot have the machine itself, or its cloud, asked."""
    prober = GateProberByKind(Configuration, ManualClock())
    try:
        answer = await prober.ask(ask_for(replace(gate, url=url)))
    finally:
        await prober.close()
    assert answer.finding is Finding.INCONCLUSIVE
    assert refusal in answer.sentence


async def test_a_name_that_turns_bad_is_refused_at_connect(
    server: LyingServer, gate: ExternalGate
) -> None:
    """The first asking goes to a good address, the second finds a bad one and goes nowhere."""
    addresses = [["127.0.0.1"], ["169.254.169.254"]]

    async def look_up(_host: str, _port: int) -> Sequence[str]:
        return addresses.pop(0)

    resolver = CheckedResolver(allow_loopback=True, look_up=look_up)
    prober = GateProberByKind(Configuration, ManualClock(), allow_loopback=True, resolver=resolver)
    server.answer(reply_json(YES))
    named = ask_for(replace(gate, url=f"http://decide.example:{server.port}/"))
    try:
        answers = [await prober.ask(named) for _ in range(2)]
    finally:
        await prober.close()
    assert [one.finding for one in answers] == [Finding.MET, Finding.INCONCLUSIVE]
    assert "169.254.169.254 is a link-local address" in answers[1].sentence
    assert len(server.requests) == 1
