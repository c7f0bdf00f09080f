"""What pages of known nodes say and draw, line by line, as the files in ``tests/golden/status`` have it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.report.documents import Report
from exporter.web.status import PageRequest
from tests.conftest import Generated
from tests.status.html import Element
from tests.status.page import name_of, overview_of
from tests.support.process import ROOT

BLOCKS = {"title", "h1", "h2", "h3", "p", "li", "div", "caption", "tr", "summary", "figcaption"}
PAGES = {
    "demo": ("demo", ""),
    "demo-quota": ("demo", "catalog-5c68f7d9c4-q7r2m/api"),
    "demo-no-quota": ("demo", "indexer-7f4b9/scan"),
    "demo-owner": ("demo", "trainer-0/worker"),
    "empty": ("empty", ""),
    "starting": ("starting", ""),
    "unmapped": ("unmapped", ""),
}


def outline(page: Element) -> Iterator[str]:
    """A line for each innermost block: tag, classes, text; and one for each path that is drawn."""
    for one in page.walk():
        cells = [cell.text for cell in one.every("th") + one.every("td")] if one.tag == "tr" else []
        shown = one.attributes["d"] if one.tag == "path" else " | ".join(cells) or one.text
        if one.tag == "path" or (one.tag in BLOCKS and shown and not any(each.tag in BLOCKS for each in one.walk())):
            yield f"{'.'.join([one.tag, *sorted(one.classes)])} {shown}"


@pytest.mark.golden
@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_its_golden_file_says(reports: dict[str, Report], generated: Generated, name: str) -> None:
    report = reports[PAGES[name][0]]
    request = PageRequest(name_of(report, PAGES[name][1])) if PAGES[name][1] else PageRequest()

    generated(
        ROOT / "tests" / "golden" / "status" / f"{name}.txt", "\n".join(outline(overview_of(report, request))) + "\n"
    )
