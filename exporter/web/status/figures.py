"""Numbers as cells show them: the words of the findings, and a dash where nothing is known."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from exporter.analysis import text as words

ABSENT: Final = "–"
NOT_KNOWN: Final = "not known"


def percent(share: float | None) -> str:
    """``67 %``."""
    return ABSENT if share is None else words.percent(share)


def cpus(cores: float | None) -> str:
    """``0.25 CPUs``."""
    return ABSENT if cores is None else words.cpus(cores)


def rate(seconds: float | None) -> str:
    """``2.8 s/s``: seconds lost in each second, over all CPUs."""
    return ABSENT if seconds is None else f"{words.amount(seconds)} s/s"


def seconds(value: float) -> str:
    """``0.3 s``, ``12 s``, ``3 min``, ``5 h``, ``2 days``: how long ago."""
    if value < 120:
        return f"{words.amount(value)} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.0f} h" if value < 172800 else f"{value / 86400:.0f} days"


def moment(epoch: float) -> datetime:
    """Seconds since the epoch, in UTC."""
    return datetime.fromtimestamp(epoch, UTC)
