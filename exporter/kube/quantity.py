"""Kubernetes quantities (``k8s.io/apimachinery/pkg/api/resource``) and Go durations (``time.ParseDuration``), exact."""

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

_DURATION_PART = re.compile(r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?P<unit>ns|us|µs|\u03bcs|ms|s|m|h)")
_UNITS = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "µs": Fraction(1, 10**6),
    "\u03bcs": Fraction(1, 10**6),  # Greek mu, which Go reads as the micro sign
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "m": Fraction(60),
    "h": Fraction(3600),
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


def parse_duration(text: str) -> float:
    """A Go duration (``100ms``, ``1m30s``, ``0``) in seconds; raises :class:`ValueError`."""
    unsigned = text.removeprefix("-") if text.startswith("-") else text.removeprefix("+")
    if unsigned == "0":
        return 0.0
    total, at = Fraction(0), 0
    while at < len(unsigned) <= _LONGEST and (part := _DURATION_PART.match(unsigned, at)):
        total += Fraction(part["number"]) * _UNITS[part["unit"]]
        at = part.end()
    if at == 0 or at < len(unsigned):
        raise ValueError("not a duration")
    return float(-total if text.startswith("-") else total)
