"""Values that Kubernetes writes in one way of its own: quantities and times. Pure.

Source: k8s.io/apimachinery ``pkg/api/resource`` (canonical form: no fraction, the largest suffix
without loss) and ``pkg/apis/meta/v1`` (times in UTC, whole seconds or microseconds).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal
from functools import lru_cache

QUANTITY_RULE = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))([A-Za-z]*)([-+]?[0-9]*)")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_SUFFIXES = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_NANO = Decimal("1e-9")
_LARGEST = Decimal(2**63 - 1)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


class AmountError(ValueError):
    """The text is no quantity or no time; the message is Kubernetes' own."""


@lru_cache(maxsize=4096)
def parse_quantity(text: str) -> Decimal:
    """The number that a quantity stands for.

    Raises:
        AmountError: It is no quantity.
    """
    return _parse(text)[0]


def _parse(text: str) -> tuple[Decimal, str]:
    """The number and the family of its suffix: ``Binary``, ``Exponent`` or ``Decimal``."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise AmountError(_not_a_quantity(text))
    digits, suffix, exponent = match.groups()
    number = Decimal(digits)
    if suffix in {"e", "E"} and exponent:
        return number.scaleb(int(exponent)), "Exponent"
    if exponent:
        raise AmountError(_not_a_quantity(text))
    if suffix in _DECIMAL:
        return number.scaleb(_DECIMAL[suffix]), "Decimal"
    if suffix in _BINARY:
        return number * 2 ** (10 * _BINARY.index(suffix)), "Binary"
    raise AmountError("unable to parse quantity's suffix")


def _not_a_quantity(text: str) -> str:
    if re.fullmatch(QUANTITY_RULE.strip("^$"), text):
        return "unable to parse quantity's suffix"
    return f"quantities must match the regular expression '{QUANTITY_RULE}'"


@lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """A quantity as Kubernetes writes it: ``1000m`` is ``1``, ``0.5`` is ``500m``.

    Raises:
        AmountError: It is no quantity.
    """
    number, family = _parse(text)
    number = min(number, _LARGEST)
    if number != number.quantize(_NANO, ROUND_UP):
        number = number.quantize(_NANO, ROUND_UP)
    if number == 0:
        return "0"
    if family == "Binary" and abs(number) >= 1024 and number == number.to_integral_value():  # noqa: PLR2004 - as Kubernetes does
        return _binary(int(number))
    exponent = 0
    for candidate in sorted(_DECIMAL_SUFFIXES, reverse=True):
        if number.scaleb(-candidate) == number.scaleb(-candidate).to_integral_value():
            exponent = candidate
            break
    mantissa = int(number.scaleb(-exponent))
    if family == "Exponent":
        return f"{mantissa}e{exponent}" if exponent else str(mantissa)
    return f"{mantissa}{_DECIMAL_SUFFIXES[exponent]}"


def _binary(number: int) -> str:
    power = 0
    while power + 1 < len(_BINARY) and number % 1024 == 0:
        number //= 1024
        power += 1
    return f"{number}{_BINARY[power]}"


@lru_cache(maxsize=1024)
def canonical_time(text: str, *, micro: bool = False) -> str:
    """A time as Kubernetes writes it.

    Args:
        text: RFC 3339.
        micro: With microseconds.

    Raises:
        AmountError: It is no time.
    """
    match = _TIME.fullmatch(text)
    layout = "2006-01-02T15:04:05.000000Z07:00" if micro else "2006-01-02T15:04:05Z07:00"
    what = f'parsing time "{text}" as "{layout}": cannot parse'
    if match is None:
        raise AmountError(f'{what} "{text}" as "2006"')
    whole, fraction, zone = match.groups()
    if micro and (fraction is None or len(fraction) != len(".000000")):
        raise AmountError(f'{what} "{fraction or ""}{zone}" as ".000000"')
    digits = ((fraction or ".")[1:] + "000000")[:6]
    try:
        moment = datetime.fromisoformat(f"{whole}.{digits}{zone}").astimezone(UTC)
    except ValueError as error:
        raise AmountError(f'{what} "{text}" as "2006"') from error
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")
