"""Numbers as a document shows them."""

from __future__ import annotations

from math import isfinite, nan
from typing import Final

DIGITS: Final = 6
"""Behind the point: a microsecond, and a millionth of a core."""


def rounded(value: float) -> float:
    """Without the noise of binary fractions."""
    return round(value, DIGITS)


def per_second(seconds: float | None, over: float) -> float | None:
    """A rate; ``None`` where the counter or the time is missing, or is no number."""
    rate = seconds / over if seconds is not None and over > 0 else nan
    return round(rate, DIGITS) if isfinite(rate) else None
