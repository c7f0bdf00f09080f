"""What was measured, the targets of the design, and the table made of both. Pure: no number in it is typed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite
from statistics import median
from typing import Literal

LARGEST_GROWTH = 4.4
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"


@dataclass(frozen=True, kw_only=True)
class Row:
    """Measurements of one thing, what they are compared with, and the target."""

    what: str
    unit: str
    values: Sequence[float]
    """In the order in which they were measured."""
    peer: str = ""
    beside: Sequence[float] = ()
    """The peer's: as many as ``values`` if each was measured beside one of them; else medians are compared."""
    limit: float | None = None
    judged: Literal["median", "largest", "p99 / median", "ratio", "times less", "share"] = "median"
    """What the limit is for; of ``times less`` (than the peer) and ``share`` the least, of the others the most."""
    grows: bool = False
    """Whether it is compared between sizes."""

    @property
    def ratios(self) -> list[float]:
        """To the peer, pair by pair, whatever the machine did between two rounds."""
        if len(self.values) == len(self.beside):
            return [value / peer for value, peer in zip(self.values, self.beside, strict=True)]
        return [median(self.values) / median(self.beside)] if self.beside else []

    @property
    def value(self) -> float | None:
        """What is held against the limit; ``None`` without a peer to compare with."""
        match self.judged:
            case "ratio" | "times less":
                ratio = median(self.ratios) if self.ratios else None
                return 1 / ratio if ratio and self.judged == "times less" else ratio
            case "largest":
                return max(self.values)
            case "p99 / median":
                return percentile(self.values, 0.99) / median(self.values)
            case _:
                return median(self.values)

    @property
    def verdict(self) -> str:
        """``met``, ``missed``, or nothing where nothing is judged."""
        if self.limit is None or self.value is None:
            return ""
        held = self.value >= self.limit if self.judged in {"times less", "share"} else self.value <= self.limit
        return "met" if held else "missed"


def percentile(values: Sequence[float], share: float) -> float:
    """The nearest rank: a value that was measured, so that p99 of fewer than a hundred is the largest."""
    return sorted(values)[max(1, ceil(share * len(values))) - 1]


def growth(small: Iterable[Row], large: Iterable[Row]) -> list[Row]:
    """How much the medians grew from one size to the other."""
    before = {row.what: median(row.values) for row in small}
    grown = [row for row in large if row.grows and row.what in before]
    return [
        Row(what=f"growth: {row.what}", unit="x", values=[median(row.values) / before[row.what]], limit=LARGEST_GROWTH)
        for row in grown
    ]


def number(value: float) -> str:
    """Three digits that matter, and no more zeros than that."""
    if not isfinite(value):
        return "unknown"
    if value == 0 or abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def table(rows: Iterable[Row]) -> Iterator[str]:
    """Markdown."""
    yield "| what | min | median | max | beside, round by round: min / median / max | target | |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        shown = " | ".join(number(one) for one in (min(row.values), median(row.values), max(row.values)))
        ratios, beside = row.ratios, row.peer
        if ratios:
            ends = (min(ratios), median(ratios), max(ratios)) if len(ratios) > 1 else ratios
            beside = f"{' / '.join(map(number, ends))} x {row.peer}"
        target, value = "", row.value
        if row.limit is not None:
            sign = ">=" if row.judged in {"times less", "share"} else "<="
            target = f"{row.judged} {sign} {row.limit:g}" + ("" if value is None else f", is {number(value)}")
        yield f"| {row.what}, {row.unit} | {shown} | {beside} | {target} | {row.verdict} |"


def report(machine: str, sizes: Mapping[str, Sequence[Row]]) -> str:
    """All that was measured, by size, as Markdown."""
    lines = [f"{machine}.", ""]
    for heading, rows in sizes.items():
        lines += [f"### {heading}", "", *table(rows), ""]
    return "\n".join(lines)


def put_between_marks(document: str, text: str) -> str:
    """``document`` with ``text`` where the last run's was. Raises ``ValueError`` when it has no marks."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"no {BEGIN} with {END} after it")
    return f"{head}{BEGIN}\n\n{text.strip()}\n\n{END}{tail}"
