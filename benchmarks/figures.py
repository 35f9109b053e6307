"""The arithmetic of a benchmark's figures; pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gitopsd.domain.manifests import Json

_TWENTIETHS = 20


@dataclass(frozen=True, slots=True)
class Requirement:
    """A figure beside the ratio that has to be reached, too.

    Attributes:
        name: What it is, in a few words.
        value: What was measured.
        limit: What it has to be at least.
        at_most: Whether the limit is an upper one instead.
    """

    name: str
    value: float
    limit: float
    at_most: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is met."""
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Measured:
    """What a benchmark measured.

    Attributes:
        unit: ``s``, ``ms`` or ``MB``.
        values: One for each round; smaller is better.
        reference: The same of the reference, or the limit that must be kept, once.
        reference_is: What the reference is, in a few words.
        required: Smallest ratio that passes.
        further: What has to be reached beside it.
        details: Whatever explains the figures.
    """

    unit: str
    values: Sequence[float]
    reference: Sequence[float]
    reference_is: str
    required: float = 1.0
    further: Sequence[Requirement] = ()
    details: Mapping[str, Json] = field(default_factory=dict)


def compute_p50(values: Sequence[float]) -> float:
    """Compute the median.

    Raises:
        ValueError: There are no values.
    """
    return statistics.median(_some(values))


def compute_p95(values: Sequence[float]) -> float:
    """Compute the 95th percentile, interpolated between the two values beside it.

    Raises:
        ValueError: There are no values.
    """
    if len(_some(values)) == 1:
        return values[0]
    return statistics.quantiles(values, n=_TWENTIETHS, method="inclusive")[-1]


def compute_ratio(reference: Sequence[float], values: Sequence[float]) -> float:
    """Compute how many times the reference's median is ours: above 1, we are better.

    Raises:
        ValueError: There are no values, or ours are not positive.
    """
    ours = compute_p50(values)
    if ours <= 0:
        message = f"a median of {ours} cannot be compared with anything"
        raise ValueError(message)
    return compute_p50(reference) / ours


def summarise(name: str, measured: Measured) -> dict[str, Json]:
    """Write a benchmark's figures as one JSON object, rounded for people."""
    ratio = compute_ratio(measured.reference, measured.values)
    further: dict[str, Json] = {
        one.name: {
            "value": _rounded(one.value),
            "at_most" if one.at_most else "at_least": one.limit,
            "ok": one.ok,
        }
        for one in measured.further
    }
    return {
        "benchmark": name,
        "unit": measured.unit,
        "rounds": len(measured.values),
        "p50": _rounded(compute_p50(measured.values)),
        "p95": _rounded(compute_p95(measured.values)),
        "reference": measured.reference_is,
        "reference_p50": _rounded(compute_p50(measured.reference)),
        "reference_p95": _rounded(compute_p95(measured.reference)),
        "ratio": _rounded(ratio),
        "required_ratio": measured.required,
        "ok": ratio >= measured.required and all(one.ok for one in measured.further),
        **({"requirements": further} if further else {}),
        "details": dict(measured.details),
    }


def _some(values: Sequence[float]) -> Sequence[float]:
    if not values:
        raise ValueError("nothing was measured")
    return values


def _rounded(value: float) -> float:
    return round(value, 4)
