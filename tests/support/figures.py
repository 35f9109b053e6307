"""A metric server in virtual time: figures as functions of time, over the API's own answers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from gitopsd.adapters.prometheus.client import PrometheusClient
from gitopsd.domain.manifests import Json
from gitopsd.domain.metrics import MetricsServer, MetricWindow, Unclear

Figure = Callable[[datetime], float | None]
"""What a query finds at a moment; None for nothing."""


def find_nothing(_: datetime) -> float | None:
    """What a query finds that nobody has heard of."""
    return None


_MARKED = re.compile(r'label_replace\(\n(.*)\n, "gitopsd_question", "([0-9a-f]+)"', re.DOTALL)


@dataclass
class FigureClient(PrometheusClient):
    """Answers every query by its text.

    Attributes:
        figures: Query -> its figure.
        away: Whether nobody answers.
        asked: Query and window of each asking.
    """

    figures: dict[str, Figure] = field(default_factory=dict)
    away: bool = False
    asked: list[tuple[str, MetricWindow]] = field(default_factory=list)

    async def fetch(
        self,
        server: MetricsServer,  # noqa: ARG002 - there is one
        query: str,
        window: MetricWindow,
        timeout: timedelta,  # noqa: ARG002 - it answers at once
    ) -> Json | Unclear:
        """Ask one query."""
        found = _MARKED.match(query)
        assert found is not None, query
        self.asked.append((found[1], window))
        if self.away:
            return Unclear("metrics.example answered 503")
        figure = self.figures.get(found[1], find_nothing)
        moments = [window.start]
        while window.ranged and moments[-1] + window.step <= window.end:
            moments.append(moments[-1] + window.step)
        read = [(at, figure(at)) for at in moments]
        values: list[Json] = [[at.timestamp(), repr(one)] for at, one in read if one is not None]
        series: dict[str, Json] = {"metric": {"gitopsd_question": found[2]}}
        series |= {"values": values} if window.ranged else {"value": values[0] if values else None}
        result: list[Json] = [series] if values else []
        kind = "matrix" if window.ranged else "vector"
        return {"status": "success", "data": {"resultType": kind, "result": result}}
