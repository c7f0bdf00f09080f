"""Many measurements as few numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from statistics import median
from typing import NamedTuple


class Spread(NamedTuple):
    """What is shown of one thing's measurements: never the best one alone."""

    least: float
    median: float
    most: float
    p99: float

    def times(self, factor: float) -> Spread:
        """The same in another unit, or on a machine of another speed."""
        return Spread(*(factor * value for value in self))


def spread(values: Sequence[float]) -> Spread:
    """Of at least one value."""
    return Spread(min(values), median(values), max(values), percentile(values, 0.99))


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured, so that p99 of fewer than a hundred is the largest."""
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def ratios(values: Sequence[float], peers: Sequence[float]) -> list[float]:
    """Pair by pair: what was measured together is compared, whatever the machine did between two rounds."""
    return [value / peer for value, peer in zip(values, peers, strict=True)]
