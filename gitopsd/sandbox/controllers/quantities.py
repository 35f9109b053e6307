"""Amounts of objects that the API has taken already. Pure."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

from gitopsd.domain.quantities import parse_quantity

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

ZERO = Fraction(0)


def read_quantity(value: Json) -> Fraction:
    """A quantity as a number; what is none counts as zero, validation keeps it out."""
    return parse_quantity(value) or ZERO
