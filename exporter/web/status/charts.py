"""A container's window and last six hours as SVG paths: coordinates without styles, the newest at the right edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from exporter.analysis import text
from exporter.report import Series

HEIGHT: Final = 100
"""Of every chart's box; its width is the number of slots. It is stretched to the place it is given."""
ROW_SLOTS: Final = 60
PAGE_SLOTS: Final = 240
HISTORY_SLOT_MINUTES: Final = 5
"""In a table's row."""
MIN_BAR: Final = 4
"""The height of a bar that is not zero."""
Values = Sequence[float | None]


class Chart(NamedTuple):
    """One container's ratio, and its use where that is drawn."""

    slots: int
    bars: str
    """Path of the throttled ratio."""
    line: str
    """Path of the second series; empty without one."""
    scale: tuple[str, str]
    """What the upper edge and the middle stand for."""
    text: str
    """The same in words."""
    flat: bool
    """Whether it was never throttled."""


def row_chart(series: Series, window_seconds: float) -> Chart | None:
    """Return the throttled ratio over the window for a table's row, ``None`` without samples."""
    return _window_chart(series, window_seconds, slots=ROW_SLOTS, with_use=False)


def page_chart(series: Series, window_seconds: float) -> Chart | None:
    """Return ratio and use over the window for a container's page, ``None`` without samples."""
    return _window_chart(series, window_seconds, slots=PAGE_SLOTS, with_use=True)


def history_chart(ratios: Values, shares: Values = ()) -> Chart | None:
    """Return the highest throttled ratio of each time slot, with the time share as a line; ``None`` without values."""
    known = [value for value in ratios if value is not None]
    if not known:
        return None
    words = (
        f"Throttled ratio over the last 6 hours, oldest to newest: at most {text.percent(max(known))}, "
        f"{text.percent(known[-1])} at the end."
    )
    slots = len(ratios)
    if not any(known) and not shares:
        return Chart(slots, "", "", _scale(1.0), words, flat=True)
    return Chart(slots, _bars(ratios, slots, 1.0), _line(shares, slots, 1.0), _scale(1.0), words, not any(known))


def since(ratios: Values) -> str:
    """Return for how long each minute up to now had throttling: ``5 h``, empty where the last minute had none."""
    minutes = next((at for at, value in enumerate(reversed(ratios)) if not value), len(ratios))
    if not minutes:
        return ""
    shown = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"{'at least ' * (minutes == len(ratios))}{shown}"


def binned(values: Values, per: int) -> list[float | None]:
    """Return the highest of each ``per`` values, counted from the newest, so that no spike is averaged away."""
    if per == 1:
        return list(values)
    bins = (values[max(0, end - per) : end] for end in range(len(values), 0, -per))
    return [max((value for value in one if value is not None), default=None) for one in bins][::-1]


def _window_chart(series: Series, window_seconds: float, *, slots: int, with_use: bool) -> Chart | None:
    ratios, interval = series["ratio"], series["interval_seconds"]
    if not ratios:
        return None
    # A young container's series fills the right end only.
    total = max(len(ratios), round(window_seconds / interval)) if interval else len(ratios)
    per = math.ceil(total / slots)
    slots = math.ceil(total / per)
    usage = binned(series["usage_share"], per) if with_use else []
    # Use is above the limit where a burst was saved up, and by the jitter between two readings.
    highest = max((share for share in usage if share is not None), default=0.0)
    top = 1.0 if highest <= 1.05 else math.ceil(4 * highest) / 4
    words = (
        f"Throttled ratio of each sample, oldest to newest: at most {text.percent(max(ratios))}, "
        f"{text.percent(ratios[-1])} in the newest."
    )
    line = _line(usage, slots, top) if with_use else ""
    return Chart(slots, _bars(binned(ratios, per), slots, top), line, _scale(top), words, not any(ratios))


def _scale(top: float) -> tuple[str, str]:
    return f"{100 * top:.0f} %", f"{50 * top:.0f} %"


def _y(share: float, top: float) -> int:
    return HEIGHT - round(HEIGHT * min(1.0, max(0.0, share / top)))


def _bars(values: Values, slots: int, top: float) -> str:
    """A closed outline; neighbours of one height are one step."""
    at = slots - len(values)
    path = [f"M{at} {HEIGHT}"]
    height = None
    for value in values:
        y = min(_y(value, top), HEIGHT - MIN_BAR) if value else HEIGHT
        if y != height:
            path.append(f"H{at}V{y}" if height is not None else f"V{y}")
            height = y
        at += 1
    return "".join((*path, f"H{at}V{HEIGHT}Z"))


def _line(values: Values, slots: int, top: float) -> str:
    """Through the middle of each slot; broken where a value is unknown."""
    path, move = [], True
    for at, value in enumerate(values, slots - len(values)):
        if value is None:
            move = True
            continue
        path.append(f"{'M' if move else 'L'}{at + 0.5:g} {_y(value, top)}")
        move = False
    return "".join(path)
