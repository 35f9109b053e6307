"""Gates and checks on the metrics of a real Prometheus that scrapes a tiny exporter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gitopsd.adapters.clock import SystemClock
from gitopsd.adapters.gates.by_kind import GateProberByKind
from gitopsd.adapters.prometheus.analysing import MetricAnalyst
from gitopsd.domain.asked_gates import Finding, ProbeAnswer, PrometheusGate
from gitopsd.domain.checks import PrometheusCheck
from gitopsd.domain.config import ClusterSpec, Configuration
from gitopsd.domain.metrics import (
    Comparison,
    Condition,
    MetricsServer,
    OnEmpty,
    Worsening,
)
from gitopsd.ports import Baseline, CheckTarget
from tests.support.gate_questions import ask_for
from tests.support.prometheus import PrometheusServer, run_exporter, run_prometheus

pytestmark = pytest.mark.timeout(60)

FEW = Condition(Comparison.LESS, 0.05)
SECOND = timedelta(seconds=1)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[PrometheusServer]:
    """A server that has scraped a few figures."""
    async with run_exporter() as exporter, run_prometheus(tmp_path, exporter) as running:
        exporter.gauges |= {
            'errors_ratio{namespace="shop-prod"}': "0.01",
            'errors_ratio{namespace="elsewhere"}': "0.9",
            "unknown": "NaN",
            "endless": "+Inf",
        }
        await running.until("endless")
        yield running


@pytest.fixture
async def prober(server: PrometheusServer) -> AsyncIterator[GateProberByKind]:
    """A prober of a cluster whose metrics are there."""
    cluster = ClusterSpec("one", metrics=MetricsServer(server.url))
    made = GateProberByKind(lambda: Configuration(clusters={"one": cluster}), SystemClock())
    yield made
    await made.close()


async def _ask(
    prober: GateProberByKind, query: str, duration: timedelta = timedelta(0)
) -> ProbeAnswer:
    return await prober.ask(ask_for(PrometheusGate(query, FEW, duration=duration)))


OWN = 'errors_ratio{namespace="{{ namespace }}"}'


async def test_a_figure_is_read_and_judged_as_it_changes(
    server: PrometheusServer, prober: GateProberByKind
) -> None:
    """Good now; bad a moment later; and bad for as long as the range still holds the bad moment."""
    good = await _ask(prober, f"sum({OWN}) # of this release")
    assert (good.finding, good.sentence) == (Finding.MET, "0.01 is < 0.05")
    assert isinstance(good.details, dict)
    assert 'namespace="shop-prod"' in str(good.details["query"])

    own = 'errors_ratio{namespace="shop-prod"}'
    server.exporter.gauges[own] = "0.5"
    await server.until(f"{own} == 0.5")
    bad = await _ask(prober, OWN)
    assert (bad.finding, bad.sentence) == (Finding.FAILED, "0.5 is not < 0.05")

    server.exporter.gauges[own] = "0.02"
    await server.until(f"{own} == 0.02")
    assert (await _ask(prober, OWN)).finding is Finding.MET
    long = await _ask(prober, OWN, 4 * SECOND)
    assert long.finding in (Finding.FAILED, Finding.INCONCLUSIVE), long
    await server.until(f"min_over_time({own}[4s]) == 0.02 and max_over_time({own}[4s]) == 0.02")
    held = await _ask(prober, OWN, 2 * SECOND)
    assert held.finding is Finding.MET, held
    assert held.sentence == "0.02 is < 0.05, as all of 3 samples of 2s"


async def test_what_tells_nothing_says_why(prober: GateProberByKind) -> None:
    """No series, several, no number, no vector, or a query that cannot be read."""
    found = {
        query: await _ask(prober, query)
        for query in (
            "nobody_exports_this",
            "errors_ratio",
            "unknown",
            "endless",
            "scalar(endless)",
            "errors_ratio[5m]",
            "sum(",
            "up) or vector(0",
        )
    }
    assert {one.finding for one in found.values()} == {Finding.INCONCLUSIVE}
    said = [one.sentence for one in found.values()]
    assert said[0] == "the query finds nothing"
    assert said[1] == "the query finds 2 series instead of one: join them, with sum() say"
    assert said[2].startswith("nan at ")
    assert said[3].startswith("inf at ")
    for sentence in said[4:7]:
        assert sentence.startswith("the metric server answered bad_data:"), sentence
    assert said[7].startswith("the metric server answered bad_data:"), said[7]

    zero = PrometheusGate("nobody_exports_this", FEW, on_empty=OnEmpty.ZERO)
    answer = await prober.ask(ask_for(zero))
    assert (answer.finding, answer.sentence) == (Finding.MET, "0 is < 0.05")
    old = replace(zero, query="endless offset 1h", on_empty=OnEmpty.INCONCLUSIVE)
    assert (await prober.ask(ask_for(old))).sentence == "the query finds nothing"


async def test_what_is_fine_now_and_worse_than_before_fails(
    server: PrometheusServer, prober: GateProberByKind
) -> None:
    """Three measurements a second apart, all below the bound, against three of before."""
    own = 'errors_ratio{namespace="shop-prod"}'
    clock, exporter = SystemClock(), server.exporter
    await server.until(f"count_over_time({own}[5s]) >= 15")
    replaced = clock.now()
    exporter.gauges[own] = "0.04"
    await server.until(f"{own} == 0.04")
    check = PrometheusCheck(
        "errors", OWN, FEW, Worsening(0.1), interval=SECOND, count=3, timeout=5 * SECOND
    )
    target = CheckTarget(
        "one",
        "shop-prod",
        values={"namespace": "shop-prod"},
        since=clock.now(),
        baseline=Baseline("r-0000", replaced),
    )
    analyst = MetricAnalyst(prober.metrics, clock)
    attempt = await analyst.run(check, target)
    assert (attempt.passed, attempt.underway) == (False, True)
    while attempt.underway:
        await exporter.scraped.wait()
        attempt = await analyst.run(check, target)
    assert attempt.passed is False
    assert attempt.message == "0.04 is worse than the 0.01 of before by more than 10%"

    alone = await analyst.run(replace(check, worsening=None), target)
    assert (alone.passed, alone.message) == (
        True,
        "0.04 after 3 measurements, 3 of them < 0.05",
    )
    exporter.gauges[own] = "0.5"
    await server.until(f"{own} == 0.5")
    bad = await analyst.run(check, replace(target, since=None, baseline=None))
    assert bad.passed is False
    assert "0.5 is not < 0.05" in bad.message
