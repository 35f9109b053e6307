"""Kubernetes quantities of memory, read. Pure."""

from __future__ import annotations

import re

_QUANTITY = re.compile(r"([0-9.]+)(Ki|Mi|Gi|Ti|k|M|G|T|m)?")
_FACTORS = {
    None: 1.0,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2.0**10,
    "Mi": 2.0**20,
    "Gi": 2.0**30,
    "Ti": 2.0**40,
}


def parse_mebibytes(text: str) -> float:
    """A memory quantity such as ``256Mi`` in MiB; 0 when there is none or it is none."""
    found = _QUANTITY.fullmatch(text)
    if found is None:
        return 0
    return float(found[1]) * _FACTORS[found[2]] / 2**20
