"""Metrics as values: what a figure must be, and what a metric server answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
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
            case _:
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
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MetricWindow:
    """The time that a query is asked for.

    Attributes:
        start: Its begin.
        end: Its end; equal to the begin for one moment.
        step: Time between two samples; zero for one moment.
    """

    start: datetime
    end: datetime
    step: timedelta = timedelta(0)

    @property
    def ranged(self) -> bool:
        """Whether it is longer than a moment."""
        return self.end > self.start


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured and can be believed.

    Attributes:
        samples: Figures of the one series, oldest first, finite, at least one.
    """

    samples: tuple[Sample, ...]

    @property
    def mean(self) -> float:
        """The mean of all figures."""
        return sum(one.figure for one in self.samples) / len(self.samples)


@dataclass(frozen=True, slots=True)
class Unclear:
    """Nothing could be found out.

    Attributes:
        sentence: Why, in one clause.
        retry_after: How long the server asked to be left alone; None when it did not.
    """

    sentence: str
    retry_after: timedelta | None = None


@dataclass(frozen=True, slots=True)
class MetricVerdict:
    """What a measurement means.

    Attributes:
        passed: Whether all is as it must be.
        sentence: Why, in one clause with the figure.
        figure: The figure that decided.
    """

    passed: bool
    sentence: str
    figure: str


class Better(Enum):
    """Which figures are the better ones."""

    LOWER = "lower"
    HIGHER = "higher"


@dataclass(frozen=True, slots=True)
class Worsening:
    """How much worse than before a figure may be.

    Attributes:
        share: Part of the former figure that it may be worse by, e.g. 0.1.
        better: Which figures are the better ones.
        least: Differences up to this count for nothing, however large their share is.
    """

    share: float
    better: Better = Better.LOWER
    least: float = 0.0
