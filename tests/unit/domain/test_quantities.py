"""Amounts as manifests write them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from gitopsd.domain.manifests import Json
from gitopsd.domain.quantities import parse_quantity, say_quantity

NANO = Fraction(1, 10**9)


@pytest.mark.parametrize(
    "value, amount",
    [
        ("10", 10),
        (7, 7),
        (1.5, Fraction(3, 2)),
        ("1.", 1),
        (".5", Fraction(1, 2)),
        ("+5", 5),
        ("-1", -1),
        ("0.5Gi", 2**29),
        ("1Ki", 1024),
        ("2Ei", 2**61),
        ("3k", 3000),
        ("1M", 10**6),
        ("2E", 2 * 10**18),
        ("250m", Fraction(1, 4)),
        ("5u", 5000 * NANO),
        ("1n", NANO),
        ("2e3", 2000),
        ("2E-1", Fraction(1, 5)),
        ("", None),
        (".", None),
        ("--1", None),
        ("1 Gi", None),
        ("1gi", None),
        ("1mi", None),
        ("1e", None),
        ("1.2.3", None),
        ("1e999999999", None),
        ("9" * 31, None),
        (True, None),
        (None, None),
        ({"a": 1}, None),
    ],
)
def test_amounts_are_read(value: Json, amount: Fraction | int | None) -> None:
    """Signs, suffixes of both kinds and exponents; what is no amount is none, however long."""
    assert parse_quantity(value) == amount


@pytest.mark.parametrize(
    "amount, binary, said",
    [
        (Fraction(0), True, "0"),
        (Fraction(2), False, "2"),
        (Fraction(1, 10), False, "100m"),
        (Fraction(3, 2), False, "1500m"),
        (Fraction(1000), False, "1k"),
        (Fraction(1500), False, "1500"),
        (Fraction(5 * 10**9), False, "5G"),
        (Fraction(7 * 10**21), False, "7000E"),
        (5 * NANO, False, "5n"),
        (NANO / 3, False, "1n"),
        (-NANO / 3, False, "-1n"),
        (Fraction(-2000), False, "-2k"),
        (Fraction(2**30), True, "1Gi"),
        (Fraction(2**30), False, "1073741824"),
        (Fraction(3 * 2**29), True, "1536Mi"),
        (Fraction(1025), True, "1025"),
        (Fraction(-2048), True, "-2Ki"),
        (Fraction(2**71), True, "2048Ei"),
        (Fraction(512), True, "512"),
        (Fraction(1000), True, "1k"),
        (Fraction(4097, 2), True, "2048500m"),
    ],
)
def test_amounts_are_said(amount: Fraction, binary: bool, said: str) -> None:
    """In the largest unit that leaves a whole number, binary ones for no less than 1024."""
    assert say_quantity(amount, binary=binary) == said


@pytest.mark.parametrize("said", ["1500m", "1k", "7000E", "-1n", "1Gi", "1536Mi", "1025", "-2Ki"])
def test_what_is_said_is_read_again(said: str) -> None:
    """Nothing is lost between the two."""
    amount = parse_quantity(said)
    assert amount is not None
    assert say_quantity(amount, binary=said.endswith("i")) == said
