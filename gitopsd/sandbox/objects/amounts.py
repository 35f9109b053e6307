"""Values that Kubernetes writes in one way of its own: quantities and times. Pure.

Source: k8s.io/apimachinery ``pkg/api/resource`` (canonical form: no fraction, the largest suffix
without loss) and ``pkg/apis/meta/v1`` (times in UTC, whole seconds or microseconds).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from fractions import Fraction
from functools import lru_cache

from gitopsd.domain import quantities

QUANTITY_RULE = r"^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$"
_WITH_EXPONENT = re.compile(r".*[eE][-+]?[0-9]+")
_LARGEST = Fraction(2**63 - 1)
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)")


class AmountError(ValueError):
    """The text is no quantity or no time; the message is Kubernetes' own."""


def parse_quantity(text: str) -> Fraction:
    """The number that a quantity stands for.

    Raises:
        AmountError: It is no quantity.
    """
    number = quantities.parse_quantity(text)
    if number is not None:
        return number
    if re.fullmatch(QUANTITY_RULE.strip("^$"), text):
        raise AmountError("unable to parse quantity's suffix")
    raise AmountError(f"quantities must match the regular expression '{QUANTITY_RULE}'")


@lru_cache(maxsize=4096)
def canonical_quantity(text: str) -> str:
    """A quantity as Kubernetes writes it: ``1000m`` is ``1``, ``0.5`` is ``500m``.

    Raises:
        AmountError: It is no quantity.
    """
    number = min(parse_quantity(text), _LARGEST)
    said = quantities.say_quantity(number, binary=text.endswith("i"))
    suffix = said.lstrip("-0123456789")
    if not suffix or not _WITH_EXPONENT.fullmatch(text):
        return said
    return f"{said.removesuffix(suffix)}e{quantities.DECIMAL_EXPONENTS[suffix]}"


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
