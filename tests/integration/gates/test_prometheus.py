"""``prometheus:`` against a metric server that lies, over real sockets."""

from __future__ import annotations

import re
import tracemalloc
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from gitopsd.adapters.gates.by_kind import GateProberByKind
from gitopsd.domain.asked_gates import Finding, ProbeAnswer, PrometheusGate
from gitopsd.domain.config import ClusterSpec, Configuration
from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import Comparison, Condition, MetricsServer
from gitopsd.testing.clock import ManualClock
from tests.support.gate_questions import ask_for
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

GATE = PrometheusGate('errors{namespace="{{ namespace }}"}', Condition(Comparison.LESS, 0.05))
QUICK = timedelta(milliseconds=300)


@pytest.fixture
async def server() -> AsyncIterator[LyingServer]:
    """A server on loopback."""
    async with run_lying_server() as running:
        yield running


@pytest.fixture
def clusters(server: LyingServer) -> dict[str, ClusterSpec]:
    """Clusters; the one of the stage has the server's metrics."""
    return {
        "one": ClusterSpec("one", metrics=MetricsServer(f"{server.url}/prom/")),
        "bare": ClusterSpec("bare"),
    }


@pytest.fixture
def clock() -> ManualClock:
    """Tells which moment is asked for."""
    return ManualClock()


@pytest.fixture
async def prober(
    clusters: dict[str, ClusterSpec], clock: ManualClock
) -> AsyncIterator[GateProberByKind]:
    """A prober that asks the stage's metric server, on this machine too."""
    made = GateProberByKind(lambda: Configuration(clusters=clusters), clock)
    yield made
    await made.close()


def form(server: LyingServer) -> dict[str, str]:
    """What was asked last."""
    fields = parse_qs(server.requests[-1].body.decode(), strict_parsing=True)
    return {name: value for name, (value,) in fields.items()}


def mark_of(server: LyingServer) -> str:
    """The mark that the last query asks for."""
    found = re.search(r'"gitopsd_question", "([0-9a-f]{16})"', form(server)["query"])
    assert found is not None
    return found[1]


def vector(*values: Json, mark: str = "", **more: Json) -> Answering:
    """Answer the query with series of these values; with the mark of the query unless given."""

    async def answering(server: LyingServer, writer: object) -> None:
        labels: Json = {"gitopsd_question": mark or mark_of(server)}
        result: Json = [{"metric": labels, "value": value} for value in values]
        data: Json = {"resultType": "vector", "result": result}
        said: Json = {"status": "success", "data": data, **more}
        await reply_json(said)(server, writer)  # type: ignore[arg-type]  # the server's writer

    return answering


async def _ask(
    prober: GateProberByKind,
    server: LyingServer,
    answering: Answering,
    gate: PrometheusGate = GATE,
) -> ProbeAnswer:
    server.answer(answering)
    return await prober.ask(ask_for(gate))


async def test_the_moment_of_asking_is_asked_for(
    server: LyingServer, prober: GateProberByKind, clock: ManualClock
) -> None:
    """As a form, at the server's address, with the namespace filled in and a mark."""
    now = clock.now().timestamp()
    answer = await _ask(prober, server, vector([now, "0.01"]))

    assert (answer.finding, answer.sentence, answer.figure) == (
        Finding.MET,
        "0.01 is < 0.05",
        "0.01",
    )
    (asked,) = server.requests
    assert (asked.method, asked.target) == ("POST", "/prom/api/v1/query")
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in asked.headers
    assert float(form(server)["time"]) == now
    assert 'errors{namespace="shop-prod"}\n' in form(server)["query"]
    assert isinstance(answer.details, dict)
    assert answer.details["query"] == 'errors{namespace="shop-prod"}'
    assert answer.details["samples"] == [[clock.now().isoformat(), "0.01"]]


async def test_a_range_is_asked_for(
    server: LyingServer, prober: GateProberByKind, clock: ManualClock
) -> None:
    """From its begin to now, in steps, all of them judged."""

    async def answering(lying: LyingServer, writer: object) -> None:
        begin = clock.now().timestamp() - 300
        values: Json = [[begin + 10 * n, "0.01" if n != 7 else "0.06"] for n in range(31)]
        series: Json = {"metric": {"gitopsd_question": mark_of(lying)}, "values": values}
        data: Json = {"resultType": "matrix", "result": [series]}
        await reply_json({"status": "success", "data": data})(lying, writer)  # type: ignore[arg-type]  # the server's writer

    gate = replace(GATE, duration=timedelta(minutes=5))
    answer = await _ask(prober, server, answering, gate)
    assert answer.finding is Finding.FAILED
    assert answer.sentence.startswith("0.06 at ")
    assert server.requests[0].target == "/prom/api/v1/query_range"
    asked = form(server)
    assert float(asked["end"]) - float(asked["start"]) == 300
    assert (asked["step"], "time" in asked) == ("10", False)


async def test_each_query_has_a_mark_of_its_own(
    server: LyingServer, prober: GateProberByKind, clock: ManualClock
) -> None:
    """So the answer to another query is none, though it says what would open the gate."""
    good: Json = [clock.now().timestamp(), "0"]
    await _ask(prober, server, vector(good))
    before = mark_of(server)
    answer = await _ask(prober, server, vector(good, mark=before))
    assert answer.finding is Finding.INCONCLUSIVE
    assert answer.sentence.endswith("it is the answer to another query")


@pytest.mark.parametrize("kind", ["token", "password"])
async def test_it_signs_in_with_what_the_file_says_now(
    server: LyingServer,
    prober: GateProberByKind,
    clusters: dict[str, ClusterSpec],
    tmp_path: Path,
    kind: str,
) -> None:
    """A rotated file counts with the next query; one that is gone asks nothing."""
    file = tmp_path / "credential"
    metrics = MetricsServer(server.url, token_file=str(file))
    if kind == "password":
        metrics = MetricsServer(server.url, username="reader", password_file=str(file))
    clusters["one"] = ClusterSpec("one", metrics=metrics)
    for secret in ("first", "second"):
        file.write_text(secret + "\n")
        await _ask(prober, server, reply(401))
        pair = b64encode(f"reader:{secret}".encode()).decode()
        wanted = f"Bearer {secret}" if kind == "token" else f"Basic {pair}"
        assert server.requests[-1].headers["authorization"] == wanted
    file.unlink()
    answer = await _ask(prober, server, reply(401))
    assert answer.finding is Finding.INCONCLUSIVE
    assert "cannot be read" in answer.sentence
    assert len(server.requests) == 2


ERROR: Json = {"status": "error", "errorType": "bad_data", "error": "parse error at char 3"}
SUCCESS: Json = {"status": "success", "data": {"resultType": "vector", "result": []}}
NO_ANSWERS: dict[str, tuple[Answering, str]] = {
    "empty": (vector(), "the query finds nothing"),
    "two": (vector([0, "1"], [0, "1"]), "the query finds 2 series instead of one"),
    "an hour old": (vector([-3600, "0"]), "a value has no time"),
    "nan": (vector([0, "NaN"]), "the newest sample is"),
    "warned": (vector([0, "0"], warnings=["store b is away"]), "part only: store b is away"),
    "error": (reply_json(ERROR, 400), "answered bad_data: parse error at char 3"),
    "error as success": (reply_json(ERROR), "answered bad_data: parse error at char 3"),
    "error with words": (reply_json(ERROR, 503), "answered bad_data: parse error at char 3"),
    "success as error": (reply_json(SUCCESS, 503), "answered 503"),
    "away": (reply(502, b"<html>", Content_Type="text/html"), "answered 502"),
    "unknown": (reply(404, b"{}", Content_Type="application/json"), "answered 404"),
    "bad words": (reply(400, b"<html>", Content_Type="text/html"), "answered 400"),
    "redirect": (reply_json(SUCCESS, 302, Location="/"), "302; redirects are not followed"),
    "html": (reply(200, b"<html>", Content_Type="text/html"), "text/html instead of"),
    "no json": (reply(200, b"<html>", Content_Type="application/json"), "is no JSON"),
    "deep": (reply(200, b"[" * 100_000, Content_Type="application/json"), "is no JSON"),
    "scalar": (
        reply_json({"status": "success", "data": {"resultType": "scalar", "result": [0, "1"]}}),
        "it is a scalar, not a vector",
    ),
    "bomb": (gzip_bomb(), "answered"),
    "garbage": (garbage(), ""),
    "dropped": (drop(), ""),
    "cut off": (reset_in_body(), ""),
}


@pytest.mark.parametrize("name", NO_ANSWERS)
async def test_what_is_no_answer_tells_nothing(
    server: LyingServer, prober: GateProberByKind, name: str
) -> None:
    """Nothing opens, nothing fails; the sentence says why, and only one request was made."""
    answering, problem = NO_ANSWERS[name]
    answer = await _ask(prober, server, answering)
    assert answer.finding is Finding.INCONCLUSIVE
    assert problem in answer.sentence
    assert len(server.requests) == 1


async def test_an_hour_old_sample_tells_nothing(
    server: LyingServer, prober: GateProberByKind, clock: ManualClock
) -> None:
    """It was good then."""
    old = clock.now() - timedelta(hours=1)
    answer = await _ask(prober, server, vector([old.timestamp(), "0"]))
    assert answer.finding is Finding.INCONCLUSIVE
    assert answer.sentence == f"the newest sample is 60m old: of {old:%Y-%m-%d %H:%M:%S} UTC"


async def test_a_million_series_are_not_read(server: LyingServer, prober: GateProberByKind) -> None:
    """Reading ends with the first mebibyte; neither time nor memory is spent on the rest."""
    tracemalloc.start()
    try:
        answer = await _ask(prober, server, pour(500_000_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert answer.finding is Finding.INCONCLUSIVE
    assert "more than 1048576 bytes; a query that finds one series answers little" in (
        answer.sentence
    )
    assert peak < 40_000_000
    assert server.sent < 100_000_000


@pytest.mark.parametrize("drips", [False, True])
async def test_a_late_answer_is_none(
    server: LyingServer, prober: GateProberByKind, *, drips: bool
) -> None:
    """The server is told the bound, and it is kept here."""
    answering = drip() if drips else hang()
    answer = await _ask(prober, server, answering, replace(GATE, timeout=QUICK))
    assert answer.finding is Finding.INCONCLUSIVE
    assert "no complete answer within 0.3 s" in answer.sentence
    assert form(server)["timeout"] == "0.3s"


async def test_patience_is_kept_when_it_is_asked_for(
    server: LyingServer, prober: GateProberByKind
) -> None:
    """Retry-After says how long."""
    answer = await _ask(prober, server, reply_json({}, 429, Retry_After="120"))
    assert answer.retry_after == timedelta(minutes=2)


async def test_who_has_no_metrics_is_not_asked(
    server: LyingServer, prober: GateProberByKind
) -> None:
    """A cluster that lost its `metrics`, or its file, while a release waits."""
    for name in ("bare", "gone"):
        answer = await _ask(prober, server, vector(), replace(GATE, cluster=name))
        assert answer.sentence == f"cluster {name} has no `metrics` any more"
    assert not server.requests


async def test_a_ca_file_that_is_none_asks_nothing(
    server: LyingServer,
    prober: GateProberByKind,
    clusters: dict[str, ClusterSpec],
    tmp_path: Path,
) -> None:
    """Better no answer than one from anybody."""
    file = tmp_path / "ca"
    file.write_text("none")
    metrics = MetricsServer(server.url.replace("http:", "https:"), ca_file=str(file))
    clusters["one"] = ClusterSpec("one", metrics=metrics)
    answer = await _ask(prober, server, vector())
    assert answer.finding is Finding.INCONCLUSIVE
    assert "holds no CA certificates that can be used" in answer.sentence
    assert not server.requests
