"""What pages of known nodes say and draw, line by line, as the files in ``tests/golden/status`` have it."""

from __future__ import annotations

import pytest

from exporter.report.documents import Report
from exporter.web.status import PageRequest
from tests.conftest import Generated
from tests.status.page import GOLDEN, name_of, outline, overview_of

PAGES = {
    "demo": ("demo", ""),
    "demo-quota": ("demo", "catalog-5c68f7d9c4-q7r2m/api"),
    "demo-no-quota": ("demo", "indexer-7f4b9/scan"),
    "demo-owner": ("demo", "trainer-0/worker"),
    "empty": ("empty", ""),
    "findings": ("findings", ""),
    "starting": ("starting", ""),
    "unmapped": ("unmapped", ""),
}


@pytest.mark.golden
@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_its_golden_file_says(reports: dict[str, Report], generated: Generated, name: str) -> None:
    report = reports[PAGES[name][0]]
    request = PageRequest(name_of(report, PAGES[name][1])) if PAGES[name][1] else PageRequest()

    generated(GOLDEN / f"{name}.txt", "\n".join(outline(overview_of(report, request))) + "\n")
