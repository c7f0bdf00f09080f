"""A container's window and last six hours as SVG paths: coordinates without styles, the newest at the right edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from exporter.analysis import text
from exporter.report.schema import Series

HEIGHT: Final = 100  # of every chart's box; its width is the number of slots. It is stretched to the place it is given
ROW_SLOTS, PAGE_SLOTS = 60, 240
MIN_BAR: Final = 4  # the height of a bar that is not zero
Values = Sequence[float | None]


class Chart(NamedTuple):
    """Paths of a container's ratio, and of its use or time share where that is drawn."""

    slots: int
    bars: str
    line: str
    top: float  # the share that the upper edge stands for
    description: str
    flat: bool  # whether it was never throttled


def window_chart(series: Series, window_seconds: float, *, slots: int, with_use: bool = False) -> Chart | None:
    """Return the throttled ratio over the window in at most ``slots``; ``None`` without samples."""
    ratios, interval = series["ratio"], series["interval_seconds"]
    if not ratios:
        return None
    # A young container's series fills the right end only.
    total = max(len(ratios), round(window_seconds / interval)) if interval else len(ratios)
    per_slot = math.ceil(total / slots)
    usage = binned(series["usage_share"], per_slot) if with_use else []
    # Use is above the limit where a burst was saved up, and by the jitter between two readings.
    highest = max((share for share in usage if share is not None), default=0.0)
    top = 1.0 if highest <= 1.05 else math.ceil(4 * highest) / 4
    said = "of each sample", ratios[-1], "in the newest"
    return _chart(binned(ratios, per_slot), usage, math.ceil(total / per_slot), top, said)


def history_chart(ratios: Values, shares: Values = ()) -> Chart | None:
    """Return the highest throttled ratio of each time slot, with the time share as a line; ``None`` without values."""
    known = [value for value in ratios if value is not None]
    if not known:
        return None
    return _chart(ratios, shares, len(ratios), 1.0, ("over the last 6 hours", known[-1], "at the end"))


def _chart(ratios: Values, line: Values, slots: int, top: float, said: tuple[str, float, str]) -> Chart:
    when, last, end = said
    highest = max(value for value in ratios if value is not None)
    description = (
        f"Throttled ratio {when}, oldest to newest: at most {text.percent(highest)}, {text.percent(last)} {end}."
    )
    bars = _bars(ratios, slots, top) if highest or line else ""
    return Chart(slots, bars, _line(line, slots, top), top, description, flat=not highest)


def since(ratios: Values) -> str:
    """Return for how long each minute up to now had throttling: ``5 h``, empty where the last minute had none."""
    minutes = next((at for at, value in enumerate(reversed(ratios)) if not value), len(ratios))
    if not minutes:
        return ""
    shown = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"{'at least ' * (minutes == len(ratios))}{shown}"


def binned(values: Values, per_bin: int) -> Values:
    """Return the highest of each ``per_bin`` values, counted from the newest, so that no spike is averaged away."""
    if per_bin == 1:
        return values
    bins = (values[max(0, end - per_bin) : end] for end in range(len(values), 0, -per_bin))
    return [max((value for value in one if value is not None), default=None) for one in bins][::-1]


def _y(share: float, top: float) -> int:
    return HEIGHT - round(HEIGHT * min(1.0, max(0.0, share / top)))


def _bars(values: Values, slots: int, top: float) -> str:
    """A closed outline; neighbours of one height are one step."""
    start = slots - len(values)
    path, height = [f"M{start} {HEIGHT}"], None
    for at, value in enumerate(values, start):
        y = min(_y(value, top), HEIGHT - MIN_BAR) if value else HEIGHT
        if y != height:
            path.append(f"V{y}" if height is None else f"H{at}V{y}")
            height = y
    return "".join((*path, f"H{slots}V{HEIGHT}Z"))


def _line(values: Values, slots: int, top: float) -> str:
    """Through the middle of each slot; broken where a value is unknown."""
    path, command = [], "M"
    for at, value in enumerate(values, slots - len(values)):
        if value is not None:
            path.append(f"{command}{at + 0.5:g} {_y(value, top)}")
        command = "M" if value is None else "L"
    return "".join(path)
