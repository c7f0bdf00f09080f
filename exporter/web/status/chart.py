"""A window's intervals as SVG paths: coordinates only, no styles. The newest interval is at the right edge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from exporter.analysis import text as words
from exporter.report import Series

HEIGHT: Final = 100
"""Of every chart's box; its width is the number of slots. It is stretched to the place it is given."""
ROW_SLOTS: Final = 60
PAGE_SLOTS: Final = 240
_LEAST: Final = 4
"""The height of a bar that is not nothing."""


class Chart(NamedTuple):
    """One container's window."""

    slots: int
    bars: str
    """Path of the throttled ratio."""
    line: str
    """Path of the use as a share of the limit; empty where it is not known or not wanted."""
    scale: tuple[str, str]
    """What the upper edge and the middle stand for."""
    text: str
    """The same in words, for who does not see it."""
    flat: bool
    """Whether it was never throttled."""


def row_chart(series: Series, window_seconds: float) -> Chart | None:
    """The throttled ratio, for a line of the table; ``None`` where there is no series."""
    ratios = series["ratio"]
    if not ratios:
        return None
    per, slots = _grid(series, window_seconds, ROW_SLOTS)
    return Chart(slots, _steps(binned(ratios, per), slots, 1.0), "", _scale(1.0), _text(series), not any(ratios))


def page_chart(series: Series, window_seconds: float) -> Chart | None:
    """Ratio and use, for the container's own page."""
    ratios = series["ratio"]
    if not ratios:
        return None
    per, slots = _grid(series, window_seconds, PAGE_SLOTS)
    usage = binned(series["usage_share"], per)
    # Use is above the limit where a burst was saved up, and by the jitter between two readings.
    highest = max((share for share in usage if share is not None), default=0.0)
    top = 1.0 if highest <= 1.05 else math.ceil(4 * highest) / 4
    return Chart(
        slots,
        _steps(binned(ratios, per), slots, top),
        _line(usage, slots, top),
        _scale(top),
        _text(series),
        not any(ratios),
    )


def binned(values: Sequence[float | None], per: int) -> list[float | None]:
    """The highest of each ``per`` values, counted from the newest, so that no spike is averaged away."""
    if per == 1:
        return list(values)
    bins = (values[max(0, end - per) : end] for end in range(len(values), 0, -per))
    return [max((value for value in one if value is not None), default=None) for one in bins][::-1]


def _grid(series: Series, window_seconds: float, most: int) -> tuple[int, int]:
    """Values in a slot, and slots in the whole window: a young container's series fills its right end only."""
    interval, count = series["interval_seconds"], len(series["ratio"])
    total = max(count, round(window_seconds / interval)) if interval else count
    per = math.ceil(total / most)
    return per, math.ceil(total / per)


def _scale(top: float) -> tuple[str, str]:
    return f"{100 * top:.0f} %", f"{50 * top:.0f} %"


def _y(share: float, top: float) -> int:
    return HEIGHT - round(HEIGHT * min(1.0, max(0.0, share / top)))


def _steps(values: Sequence[float | None], slots: int, top: float) -> str:
    """A closed outline; neighbours of one height are one step."""
    path, at = [f"M{slots - len(values)} {HEIGHT}"], slots - len(values)
    height = None
    for value in values:
        y = min(_y(value, top), HEIGHT - _LEAST) if value else HEIGHT
        if y != height:
            path.append(f"H{at}V{y}" if height is not None else f"V{y}")
            height = y
        at += 1
    return "".join((*path, f"H{at}V{HEIGHT}Z"))


def _line(values: Sequence[float | None], slots: int, top: float) -> str:
    """Through the middle of each slot; broken where a value is not known."""
    path, move = [], True
    for at, value in enumerate(values, slots - len(values)):
        if value is None:
            move = True
            continue
        path.append(f"{'M' if move else 'L'}{at + 0.5:g} {_y(value, top)}")
        move = False
    return "".join(path)


def _text(series: Series) -> str:
    ratios = series["ratio"]
    return (
        f"Throttled share of each sample, oldest to newest: at most {words.percent(max(ratios))}, "
        f"{words.percent(ratios[-1])} in the newest."
    )
