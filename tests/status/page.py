"""Pages made without a server."""

from __future__ import annotations

from collections.abc import Iterator

from exporter.model import CgroupName
from exporter.report.documents import Report
from exporter.web.status import Links, PageRequest
from exporter.web.status.rendering import render
from tests.status.html import Element, parsed
from tests.support.process import ROOT

LINKS = Links("/", "/metrics")
GOLDEN = ROOT / "tests" / "golden" / "status"
BLOCKS = {"title", "h1", "h2", "h3", "p", "li", "div", "caption", "tr", "summary", "figcaption"}


def text_of(report: Report, request: PageRequest | None = None) -> str:
    """The page as text."""
    body, _ = render(report, request or PageRequest(), LINKS)
    return body.decode()


def overview_of(report: Report, request: PageRequest | None = None) -> Element:
    """The node's page."""
    return parsed(text_of(report, request))


def page_of(report: Report, name: CgroupName) -> Element:
    """A container's page."""
    return parsed(text_of(report, PageRequest(name)))


def name_of(report: Report, beginning: str) -> CgroupName:
    """The name of the container whose ``pod/container`` begins so."""
    names = [CgroupName(row.namespace, row.pod, row.container or "") for row in report.snapshot.containers]
    return next(name for name in names if f"{name.pod}/{name.container}".startswith(beginning))


def rows_of(table: Element) -> list[list[str]]:
    """The texts of a table's cells, line by line, without its head."""
    [body] = table.every("tbody")
    return [[cell.text for cell in row.inner if isinstance(cell, Element)] for row in body.every("tr")]


def facts_of(around: Element) -> dict[str, str]:
    """Labels and values of all description lists."""
    pairs = [(one.every("dt"), one.every("dd")) for one in around.every("div")]
    return {terms[0].text: values[0].text for terms, values in pairs if len(terms) == 1}


def outline(page: Element) -> Iterator[str]:
    """A line for each innermost block: tag, classes, text, tooltip; and one for each path that is drawn."""
    for one in page.walk():
        cells = [cell.text for cell in one.every("th") + one.every("td")] if one.tag == "tr" else []
        shown = one.attributes["d"] if one.tag == "path" else " | ".join(cells) or one.text
        if one.tag == "path" or (one.tag in BLOCKS and shown and not any(each.tag in BLOCKS for each in one.walk())):
            tooltip = f" [{one.attributes['title']}]" if "title" in one.attributes else ""
            yield f"{'.'.join([one.tag, *sorted(one.classes)])} {shown}{tooltip}"
