"""Each kind of hostile client against the real process, and a scraper beside them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.soak.hostile import SHAPES, measure, table

UNDISTURBED = 1.0
"""Seconds that a scrape may take on a busy machine; 0.1 is what is promised on an idle one."""
MOST_BYTES = 40_000_000
"""By which all of them together may make the process larger: 16 MB of pages that are not read, and what is in hand."""


@pytest.mark.timeout(120)
def test_a_scraper_beside_them_gets_its_pages_and_memory_stays(tmp_path: Path) -> None:
    found = list(measure(tmp_path, scrapes=6))
    sys.stdout.write("\n".join(table(found)) + "\n")  # shown where this fails
    assert [row.shape for row in found] == list(SHAPES)
    assert {row.shape for row in found if row.statuses != {200}} == set()
    assert {row.shape: max(row.seconds) for row in found if max(row.seconds) > UNDISTURBED} == {}
    assert max(row.most for row in found) - found[0].before < MOST_BYTES
