"""Twenty seconds of the hour that ``tests.soak.hour`` lives through: each kind of fault once, nothing wrong."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from exporter.lab.cgroups import LabError, writable_hierarchy
from tests.conftest import unavailable
from tests.soak.hour import MOST_GROWTH, grown, live, table
from tests.support.lab import traces


@pytest.mark.timeout(120)
def test_a_part_of_the_hour(tmp_path: Path) -> None:
    try:
        hierarchy = writable_hierarchy()
    except LabError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")
    lines: list[str] = []
    hour, failing = live(hierarchy, tmp_path, seconds=20.0, every=0.5, minute=4.0, tell=lines.append)
    sys.stdout.write("\n".join(table(hour, failing)) + "\n")  # shown where this fails
    assert list(hour.problems) == []
    assert len(lines) >= 3
    assert len(hour.kinds) == 4, "both formats, each plain and compressed"
    assert len(set(failing.begun)) == 5
    assert hour.life.made > 10
    assert [name for name in traces(os.getpid()) if "-hour-" in name] == [], "it leaves nothing"


def test_what_grows_is_said_and_what_stays_is_not() -> None:
    def figures(name: str, per_minute: float, minutes: int) -> list[dict[str, float]]:
        return [dict.fromkeys(MOST_GROWTH, 10.0) | {name: per_minute * number} for number in range(minutes)]

    assert list(grown(figures("descriptors", 0, 60))) == []
    assert list(grown(figures("descriptors", 2, 60))) == ["descriptors grew from 59.00 to 99.00"]
    assert list(grown(figures("threads", 9, 6))) == [], "a short run is not judged by its growth"
