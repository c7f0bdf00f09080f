from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import Generated

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.glob("**/*.md"), *ROOT.glob("charts/*/*.md")])


def test_the_excerpt_of_a_page_is_from_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "tests/golden").glob("*.txt"))
    excerpt = re.findall(r"^cgroup_\w+\{.*$", README, re.MULTILINE)
    assert len(excerpt) >= 5
    assert [line for line in excerpt if line not in pages] == []


@pytest.mark.parametrize("page", [ROOT / "README.md", DOCS / "pinned-cores.md"], ids=lambda page: page.name)
def test_what_explain_prints_is_what_it_prints(page: Path) -> None:
    golden = (ROOT / "tests/cli/golden/explain-80.txt").read_text(encoding="utf-8")
    printed = re.findall(
        r"^```console\n\$ kubectl throttle explain .*\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL
    )

    assert printed
    assert [text for text in printed if text not in golden] == []


@pytest.mark.docs
def test_the_costs_are_those_that_were_measured(generated: Generated) -> None:
    begin, end = "<!-- made by make docs: cost -->\n", "<!-- end -->"
    before, _, rest = README.partition(begin)
    assert end in rest
    generated(ROOT / "README.md", before + begin + costs() + end + rest.partition(end)[2])


def costs() -> str:
    """From the tables of the pages on performance and on scale."""
    lines = ["| on a node with | CPU, 1 s samples, a scrape each 15 s | memory |", "|---|---|---|"]
    performance = (DOCS / "performance.md").read_text(encoding="utf-8")
    measured = performance.partition("<!-- measured: begin -->")[2].partition("<!-- measured: end -->")[0]
    for size, table in re.findall(
        r"^### ([\d,]+ pods, [\d,]+ containers)\n(.*?)(?=^###|\Z)", measured, re.MULTILINE | re.DOTALL
    ):
        cpu, memory = (median(table, row) for row in ("whole process, all awake, % of a core", "resident memory, MB"))
        lines.append(f"| {size} | {cpu:.1f} % of a core | {memory:.0f} MB |")
    assert len(lines) == 4
    scale = (DOCS / "scale.md").read_text(encoding="utf-8")
    [(limited, unlimited, pod, bare)] = re.findall(
        r"^\| all \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", scale, re.MULTILINE
    )
    [(nodes, series, head)] = re.findall(
        r"^\| (1,000) \| ([\d.]+) million \| [^|]+ \| [^|]+ \| (\d+ GiB) \|$", scale, re.MULTILINE
    )
    lines += [
        "",
        f"Series: {limited} a container with a CPU limit, {unlimited} without; {pod} a pod with one, {bare} without.",
        f"In Prometheus {nodes} nodes of 40 pods of two containers are {series} million series and {head} of its head.",
    ]
    return "\n".join(lines) + "\n"


def median(table: str, row: str) -> float:
    """The second column of a row with minimum, median and maximum."""
    [found] = re.findall(rf"^\| {re.escape(row)} \| [^|]* \| ([\d.]+) \|", table, re.MULTILINE)
    return float(found)


def test_the_index_leads_to_every_page() -> None:
    indexes = {DOCS / "README.md", *DOCS.glob("*/README.md")}
    linked = {
        (index.parent / link).resolve()
        for index in indexes
        for link in re.findall(r"\]\(([^)#\s:]+)", index.read_text(encoding="utf-8"))
    }
    assert [str(page) for page in DOCS.glob("**/*.md") if page not in linked | {DOCS / "README.md"}] == []
    assert "(docs/README.md)" in README


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_levels_of_the_log_are_spelled_as_the_log_spells_them() -> None:
    known = {"debug", "info", "warn", "error"}
    found = [set(re.findall(r"\blevel=(\w+)", page.read_text(encoding="utf-8"))) for page in PAGES]
    assert {"warn"} <= set().union(*found) <= known


def test_the_set_up_commands_are_targets_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {"run", "test"} <= targets
    assert {"make run", "make test"} <= set(README.splitlines())
