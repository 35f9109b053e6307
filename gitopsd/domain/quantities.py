"""Amounts as manifests write them, read and written exactly, and what is counted by its name.

Rules: ``k8s.io/apimachinery/pkg/api/resource`` (read: sign, number, suffix or exponent; written:
no fraction, the largest suffix that loses nothing, binary ones from 1024) and
``pkg/quota/v1/evaluator/core`` of Kubernetes.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gitopsd.domain.manifests import Json

COUNTED_BY_NAME = frozenset(
    {
        "configmaps",
        "persistentvolumeclaims",
        "pods",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "services",
    }
)
"""Core kinds whose objects a quota counts under their own name, besides ``count/...``."""

DECIMAL_EXPONENTS = dict(
    zip(("E", "P", "T", "G", "M", "k", "", "m", "u", "n"), range(18, -10, -3), strict=True)
)
"""Suffix of a decimal amount -> power of ten, the largest first."""

_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_STEP = 1024
_SCALES = {
    **{suffix: Fraction(10) ** exponent for suffix, exponent in DECIMAL_EXPONENTS.items()},
    **{suffix: Fraction(_STEP) ** power for power, suffix in enumerate(_BINARY)},
}
_QUANTITY = re.compile(
    r"([+-]?(?:[0-9]{1,30}(?:\.[0-9]{0,30})?|\.[0-9]{1,30}))"
    r"([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?"
)


def parse_quantity(value: Json) -> Fraction | None:
    """Read an amount such as ``10``, ``1.5Gi`` or ``2e3``; None for what is none.

    More than 30 digits before or after the point, and exponents of three digits, are none: nobody
    has that much, and a few bytes must not make numbers of any length.
    """
    return _parse(str(value)) if isinstance(value, str | int | float) else None


@lru_cache(maxsize=4096)
def _parse(text: str) -> Fraction | None:
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return None
    number, suffix = Fraction(found[1]), found[2] or ""
    scale = _SCALES.get(suffix)
    return number * (scale if scale is not None else Fraction(10) ** int(suffix[1:]))


def say_quantity(amount: Fraction, *, binary: bool) -> str:
    """Write an amount as Kubernetes does; what is finer than a nano is rounded away from zero.

    Args:
        amount: The amount.
        binary: Whether to count in powers of 1024, as memory is.
    """
    if amount == 0:
        return "0"
    if binary and abs(amount) >= _STEP and amount.denominator == 1:
        power = max(p for p in range(len(_BINARY)) if amount.numerator % _STEP**p == 0)
        return f"{amount.numerator // _STEP**power}{_BINARY[power]}"
    nanos = math.ceil(abs(amount) * 10**9) * (1 if amount > 0 else -1)
    suffix = next(s for s, e in DECIMAL_EXPONENTS.items() if nanos % 10 ** (e + 9) == 0)
    return f"{nanos // 10 ** (DECIMAL_EXPONENTS[suffix] + 9)}{suffix}"
