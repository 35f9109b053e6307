"""``prometheus:``: measures, and judges by the gate's condition."""

from __future__ import annotations

from gitopsd.adapters.prometheus.measuring import MetricQuery, MetricReader
from gitopsd.domain.asked_gates import Finding, GateQuestion, ProbeAnswer, PrometheusGate
from gitopsd.domain.metrics import Unclear
from gitopsd.kube.redaction import redact_clause
from gitopsd.pipeline.metric_judging import judge_condition, make_window, select_samples
from gitopsd.ports import Clock


class PrometheusProber:
    """Puts the questions of gates to metric servers.

    Args:
        reader: Measures.
        clock: Tells which moment is asked for.
    """

    def __init__(self, reader: MetricReader, clock: Clock) -> None:
        self._reader = reader
        self._clock = clock

    async def ask(self, gate: PrometheusGate, question: GateQuestion) -> ProbeAnswer:
        """Ask once. Never raises."""
        wanted = MetricQuery(
            cluster=gate.cluster or question.cluster,
            query=gate.query,
            values=placeholder_values(question),
            timeout=gate.timeout,
        )
        window = make_window(self._clock.now(), gate.duration)
        reading = await self._reader.read(wanted, window)
        found = reading.found
        measured = (
            found
            if isinstance(found, Unclear)
            else select_samples(found, window, on_empty=gate.on_empty, freshness=gate.freshness)
        )
        if isinstance(measured, Unclear):
            return ProbeAnswer(
                Finding.INCONCLUSIVE,
                redact_clause(measured.sentence),
                details=reading.evidence,
                retry_after=measured.retry_after,
            )
        verdict = judge_condition(measured, gate.condition)
        finding = Finding.MET if verdict.passed else Finding.FAILED
        return ProbeAnswer(finding, verdict.sentence, verdict.figure, reading.evidence)


def placeholder_values(question: GateQuestion) -> dict[str, str]:
    """Tell what stands for each placeholder of a query."""
    return {
        "application": question.stage.application,
        "stage": question.stage.stage,
        "cluster": question.cluster,
        "namespace": question.namespace,
        "release": question.release,
        "commit": question.commit,
        "run": question.run,
    }
