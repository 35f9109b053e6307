"""Metrics as values: what a figure must be, and what a metric server answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum


class Comparison(Enum):
    """How a figure is compared with a bound."""

    LESS = "<"
    AT_MOST = "<="
    MORE = ">"
    AT_LEAST = ">="
    EQUAL = "=="
    OTHER = "!="


@dataclass(frozen=True, slots=True)
class Condition:
    """What a figure must be.

    Attributes:
        comparison: How it is compared.
        bound: With what.
    """

    comparison: Comparison
    bound: float

    def __str__(self) -> str:
        """``< 0.05``."""
        return f"{self.comparison.value} {self.bound:g}"

    def holds(self, figure: float) -> bool:
        """Tell whether a figure is as it must be."""
        match self.comparison:
            case Comparison.LESS:
                return figure < self.bound
            case Comparison.AT_MOST:
                return figure <= self.bound
            case Comparison.MORE:
                return figure > self.bound
            case Comparison.AT_LEAST:
                return figure >= self.bound
            case Comparison.EQUAL:
                return figure == self.bound
            case Comparison.OTHER:
                return figure != self.bound


class OnEmpty(Enum):
    """What it means that a query finds no series."""

    INCONCLUSIVE = "inconclusive"
    ZERO = "zero"


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of a series.

    Attributes:
        at: Its time.
        figure: Its value, which may be no number or infinite.
    """

    at: datetime
    figure: float


@dataclass(frozen=True, slots=True)
class Series:
    """One series of an answer.

    Attributes:
        labels: Its labels, ``__name__`` among them when it has a name.
        samples: Its figures, oldest first.
    """

    labels: Mapping[str, str]
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class MetricsServer:
    """Where a cluster's metrics are asked for.

    Attributes:
        url: Address of a server with Prometheus' HTTP API, without ``/api/v1``.
        token_file: File with a bearer token; empty for none.
        username: User of basic authentication; empty for none.
        password_file: File with that user's password.
        ca_file: File with the CA certificates; empty for the system's.
    """

    url: str
    token_file: str = ""
    username: str = ""
    password_file: str = ""
    ca_file: str = ""


@dataclass(frozen=True, slots=True)
class MetricAnswer:
    """What a metric server answered to one query.

    Attributes:
        ranged: Whether it answered a range (``matrix``) instead of one moment (``vector``).
        series: What it found.
        warnings: What it warned of: the answer may be a part only.
    """

    ranged: bool
    series: tuple[Series, ...] = ()
    warnings: tuple[str, ...] = field(default=())
