"""Asks a query in a cluster's metric server, and says what was asked and answered."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from gitopsd.adapters.prometheus.client import PrometheusClient
from gitopsd.domain.config import Configuration
from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import (
    MetricAnswer,
    MetricWindow,
    Unclear,
)
from gitopsd.errors import GitopsdError
from gitopsd.kube.redaction import redact_clause, redact_text
from gitopsd.pipeline.metric_answers import parse_answer
from gitopsd.pipeline.metric_queries import fill_query, mark_query

SAMPLES_KEPT = 10
"""Samples that stay with the evidence: the last ones."""


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """What is asked.

    Attributes:
        cluster: Cluster whose metric server is asked.
        query: The query, with placeholders.
        values: What stands for them.
        timeout: How long the answer may take.
    """

    cluster: str
    query: str
    values: Mapping[str, str]
    timeout: timedelta


@dataclass(frozen=True, slots=True)
class Reading:
    """What came of it.

    Attributes:
        found: The answer, or why there is none.
        evidence: What was asked and answered, redacted.
    """

    found: MetricAnswer | Unclear
    evidence: Json


class MetricReader:
    """Asks the metric servers of clusters.

    Args:
        client: Asks one.
        configuration: Tells which cluster has which server.
    """

    def __init__(
        self, client: PrometheusClient, configuration: Callable[[], Configuration]
    ) -> None:
        self._client = client
        self._configuration = configuration

    async def read(self, wanted: MetricQuery, window: MetricWindow) -> Reading:
        """Ask once. Never raises what the server, the network or a file is to blame for.

        Each query carries a mark of its own, which each series of its answer has to carry back.
        """
        evidence: dict[str, Json] = {
            "cluster": wanted.cluster,
            "from": window.start.isoformat(),
            "to": window.end.isoformat(),
        }
        try:
            query = fill_query(wanted.query, wanted.values)
        except ValueError as error:
            return Reading(Unclear(str(error)), evidence)
        evidence["query"] = redact_text(query)
        answer = await self._ask(wanted, query, window)
        if isinstance(answer, Unclear):
            clear = Unclear(redact_clause(answer.sentence), answer.retry_after)
            return Reading(clear, evidence)
        evidence["series"] = len(answer.series)
        if answer.series:
            evidence["samples"] = [
                [one.at.isoformat(), str(one.figure)]
                for one in answer.series[0].samples[-SAMPLES_KEPT:]
            ]
        return Reading(answer, evidence)

    async def _ask(
        self, wanted: MetricQuery, query: str, window: MetricWindow
    ) -> MetricAnswer | Unclear:
        cluster = self._configuration().clusters.get(wanted.cluster)
        if cluster is None or cluster.metrics is None:
            return Unclear(f"cluster {wanted.cluster} has no `metrics` any more")
        mark = secrets.token_hex(8)
        try:
            document = await self._client.fetch(
                cluster.metrics, mark_query(query, mark), window, wanted.timeout
            )
        except GitopsdError as error:
            return Unclear(error.message, getattr(error, "retry_after", None))
        if isinstance(document, Unclear):
            return document
        return parse_answer(document, ranged=window.ranged, mark=mark)
