"""The pages of the documentation that show what the program says are as the program says it now."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from docs.api_reference import api_page
from exporter.cli.board import Board
from exporter.cli.explain import container_lines, overview
from exporter.report.documents import Report
from exporter.report.schema import ContainersDocument
from exporter.report.summary import full_name
from tests.conftest import Generated

DOCS = Path(__file__).parent.parent.parent / "docs"
GOLDEN = Path(__file__).parent / "golden"
_EXAMPLE = re.compile(r"<!-- example: ([^>]+) -->\n(?:```\n.*?\n```\n)?", re.DOTALL)


@pytest.mark.docs
def test_the_page_of_the_api(report: Report, generated: Generated) -> None:
    page = DOCS / "api.md"
    generated(page, api_page(page.read_text(), report))


@pytest.mark.docs
def test_the_examples_of_explain_and_top(document: ContainersDocument, generated: Generated) -> None:
    page = DOCS / "explain.md"

    def example(found: re.Match[str]) -> str:
        return f"{found[0].splitlines()[0]}\n```\n{_example(document, found[1])}\n```\n"

    text, number = _EXAMPLE.subn(example, page.read_text())
    assert number == 4
    generated(page, text)


def _example(document: ContainersDocument, name: str) -> str:
    if name == "overview":
        return "\n".join(line.plain for line in overview(document, 80))
    if name == "top 80":
        board = Board()
        board.document = document
        lines = board.lines(80, 15, "23:15:04 UTC  http://127.0.0.1:9843, every 2s")
        return "\n".join(line.plain for line in lines)
    [one] = [one for one in document["containers"] if full_name(one) == name]
    return "\n".join(line.plain for line in container_lines(one, 80))


@pytest.mark.golden
def test_the_documents_of_a_whole_node(report: Report, generated: Generated) -> None:
    # Whoever reads the API relies on what is in here: a diff that takes a field away or renames it breaks v1.
    generated(GOLDEN / "containers.json", json.dumps(report.containers(with_series=False), indent=1) + "\n")
    generated(GOLDEN / "node.json", json.dumps(report.node(), indent=1) + "\n")
