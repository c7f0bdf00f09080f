"""Twenty seconds of the hour that ``tests.soak.hour`` lives through: each kind of fault once, nothing wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from exporter.lab.hierarchy import LabError, writable_hierarchy
from exporter.lab.tree import remove_stale
from tests.conftest import unavailable
from tests.soak.hour.__main__ import live
from tests.soak.hour.minutes import ROWS, Minute, grown, table
from tests.support.lab import traces

SECONDS = 20.0


@pytest.mark.timeout(120)
def test_a_part_of_the_hour(tmp_path: Path) -> None:
    try:
        hierarchy = writable_hierarchy()
    except LabError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")
    remove_stale(hierarchy)
    lines: list[str] = []
    hour = live(hierarchy, tmp_path, seconds=SECONDS, every=0.5, minute=4.0, tell=lines.append)
    sys.stdout.write("\n".join(table(hour.minutes, hour.facts())) + "\n")  # shown where this fails
    assert hour.problems == []
    assert hour.exit_code == 0
    assert len(lines) >= 3
    assert len(hour.kinds) == 4, "both formats, each plain and compressed"
    assert len(set(hour.faults)) == 5
    assert hour.made > 10
    assert [name for name in traces(os.getpid()) if "-hour-" in name] == [], "it leaves nothing"


def minute(number: int, **changed: int) -> Minute:
    figures = {"resident": 60_000_000, "descriptors": 80, "watches": 30, "threads": 4, "samples": 500} | changed
    return Minute(
        at=60.0 * number,
        cpu_seconds=0.1 * number,
        scrapes=(0.01,),
        made=number,
        log_lines=9,
        counted={},
        resident=figures["resident"],
        descriptors=figures["descriptors"],
        watches=figures["watches"],
        threads=figures["threads"],
        samples=figures["samples"],
    )


def test_what_grows_is_said_and_what_stays_is_not() -> None:
    assert list(grown([minute(number) for number in range(60)])) == []
    leaking = [minute(number, resident=60_000_000 + number * 200_000) for number in range(60)]
    assert list(grown(leaking)) == ["resident memory, MB grew from 65.90 to 69.90"]
    descriptors = [minute(number, descriptors=80 + 2 * number) for number in range(60)]
    assert list(grown(descriptors)) == ["descriptors grew from 139.00 to 179.00"]


def test_a_short_run_is_not_judged_by_its_growth() -> None:
    assert list(grown([minute(number, threads=number) for number in range(6)])) == []


def test_the_table_has_a_row_for_each_figure() -> None:
    lines = list(table([minute(number) for number in range(6)], [("lasted", "6 minutes")]))
    assert sum(line.startswith(f"| {row.name} |") for line in lines for row in ROWS) == len(ROWS)
    assert "| lasted | 6 minutes |" in lines
