"""Kubernetes quantities (``k8s.io/apimachinery/pkg/api/resource``), exact."""

from __future__ import annotations

import math
import re
from fractions import Fraction
from functools import lru_cache

# One sign, digits around at most one dot, then either one suffix or one exponent: "2e3m" is neither.
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:(?P<suffix>n|u|m|k|[KMGTPE]i|[MGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,3}))?"
)
_LONGEST = 64
_LARGEST = Fraction(2**63 - 1)
_NANO = 10**9
_SUFFIXES: dict[str | None, Fraction] = {
    None: Fraction(1),
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    **{letter: Fraction(1000**power) for power, letter in enumerate("MGTPE", start=2)},
    **{f"{letter}i": Fraction(1024**power) for power, letter in enumerate("KMGTPE", start=1)},
}


def parse_quantity(text: str) -> Fraction:
    """``100m``, ``0.5``, ``1Ki``, ``2e3`` as an exact number; raises :class:`ValueError` for anything else.

    As in Go, its size is at most 2^63-1, and what is finer than a billionth is rounded away from 0.
    """
    match = _QUANTITY.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError("not a quantity")
    value = Fraction(match["number"]) * _SUFFIXES[match["suffix"]] * Fraction(10) ** int(match["exponent"] or 0)
    size = Fraction(math.ceil(min(abs(value), _LARGEST) * _NANO), _NANO)
    return size if value >= 0 else -size


@lru_cache(maxsize=1024)  # a node's containers share few distinct amounts
def parse_cores(text: str) -> float:
    """A CPU quantity in cores, never negative; raises :class:`ValueError`."""
    value = parse_quantity(text)
    if value < 0:
        raise ValueError("a negative amount of CPU")
    return float(value)
