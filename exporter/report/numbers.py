"""Numbers as a document shows them."""

from __future__ import annotations

from typing import Final

DIGITS: Final = 6
"""Behind the point: a microsecond, and a millionth of a core."""


def rounded(value: float) -> float:
    """Without the noise of binary fractions."""
    return round(value, DIGITS)


def per_second(seconds: float | None, over: float) -> float | None:
    """A rate; ``None`` where the counter or the time is missing."""
    return None if seconds is None or over <= 0 else round(seconds / over, DIGITS)
