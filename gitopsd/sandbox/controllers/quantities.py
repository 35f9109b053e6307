"""Kubernetes quantities as exact numbers, and back to text. Pure.

Rules: ``k8s.io/apimachinery/pkg/api/resource/quantity.go``.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

_QUANTITY = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:([eE][+-]?\d+)|([numkKMGTPE]i?))?")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
ZERO = Fraction(0)


def parse_quantity(value: Json) -> Fraction:
    """A quantity as a number; what is none counts as zero, validation keeps it out."""
    if isinstance(value, bool) or value is None:
        return ZERO
    if isinstance(value, int):
        return Fraction(value)
    return _parse(str(value))


@lru_cache(maxsize=1024)
def _parse(text: str) -> Fraction:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return ZERO
    number, exponent, suffix = Fraction(found[1]), found[2], found[3]
    if exponent:
        return number * _power(int(exponent[1:]))
    if not suffix:
        return number
    if suffix in _BINARY:
        return number * (1 << _BINARY[suffix])
    return number * _power(_DECIMAL[suffix]) if suffix in _DECIMAL else ZERO


def _power(exponent: int) -> Fraction:
    return Fraction(10**exponent) if exponent >= 0 else Fraction(1, 10**-exponent)


def say_quantity(number: Fraction, *, binary: bool) -> str:
    """A number as Kubernetes writes it: the largest suffix that leaves a whole number.

    Args:
        number: Not finer than a thousandth.
        binary: Whether to count in powers of 1024, as memory is.
    """
    if number == 0:
        return "0"
    if binary and number.denominator == 1:
        whole = number.numerator
        for suffix, bits in reversed(_BINARY.items()):
            if whole % (1 << bits) == 0:
                return f"{whole >> bits}{suffix}"
        return str(whole)
    if number.denominator != 1:
        return f"{-(-number * 1000 // 1)}m"
    whole = number.numerator
    for suffix in ("E", "P", "T", "G", "M", "k"):
        if whole % 10 ** _DECIMAL[suffix] == 0:
            return f"{whole // 10 ** _DECIMAL[suffix]}{suffix}"
    return str(whole)
