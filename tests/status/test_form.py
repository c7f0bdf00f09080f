"""Every page of every node is well formed, whole without a script, and made of real links, headings and tables."""

from __future__ import annotations

import itertools
from urllib.parse import unquote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.model import CgroupName
from exporter.report import unescaped_segments
from exporter.report.documents import Report
from exporter.web.status import PageRequest
from exporter.web.status.rendering import printable
from tests.conftest import Generated
from tests.status import nodes
from tests.status.html import Element, parsed
from tests.status.page import GOLDEN, name_of, outline, overview_of, page_of, rows_of, text_of
from tests.support import snapshots as make

CASES = [
    ("demo", ""), ("demo", "checkout"), ("demo", "catalog"), ("demo", "indexer"), ("demo", "trainer"),
    ("demo", "missing"), ("empty", ""), ("starting", ""), ("unmapped", ""), ("unmapped", "5c3e"), ("hostile", ""),
    ("hostile", "<script>"), ("hostile", "ppp"), ("many", ""), ("many", "all"),
]  # fmt: skip
"""Nodes, and of each which container's page; of the node's page whether all is open."""


@pytest.fixture(params=CASES, ids=" ".join, scope="module")
def case(request: pytest.FixtureRequest, reports: dict[str, Report]) -> tuple[Report, str]:
    """A report, and one of its pages."""
    node, which = request.param
    asked = PageRequest(all=which == "all", refresh=7)
    if which == "missing":
        asked = PageRequest(CgroupName("a", "b", "c"), refresh=5)
    elif which not in {"", "all"}:
        asked = PageRequest(name_of(reports[node], which))
    return reports[node], text_of(reports[node], asked)


@pytest.fixture(scope="module")
def page(case: tuple[Report, str]) -> Element:
    return parsed(case[1])


def test_it_has_what_every_page_has(case: tuple[Report, str], page: Element) -> None:
    html = page.one("html")

    assert case[1].startswith("<!doctype html>\n")
    assert html.attributes["lang"] == "en"
    assert page.one("title").text.endswith(" – kube-throttle-exporter")
    assert len(page.one("title").text) > len(" – kube-throttle-exporter")
    assert {one.attributes.get("charset", "") for one in page.every("meta")} >= {"utf-8"}
    for landmark in ("header", "main", "footer"):
        page.one(landmark)
    assert all(nav.attributes["aria-label"] for nav in page.every("nav"))


def test_headings_leave_no_level_out(page: Element) -> None:
    levels = [int(one.tag[1]) for one in page.walk() if one.tag in {"h1", "h2", "h3", "h4", "h5", "h6"}]

    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    assert all(one.text for one in page.walk() if one.tag in {"h1", "h2", "h3"})


def test_it_needs_no_script_and_nothing_from_elsewhere(page: Element) -> None:
    for one in page.walk():
        assert one.tag not in {"script", "iframe", "object", "embed", "base", "img"}
        assert not [name for name in one.attributes if name == "style" or name.startswith("on") or name == "src"]
    [icon] = page.every("link")
    assert icon.attributes["href"].startswith("data:image/svg+xml,")
    assert "url(" not in page.one("style").text
    assert "@import" not in page.one("style").text


def test_links_lead_somewhere(case: tuple[Report, str], page: Element) -> None:
    ids = [one.attributes["id"] for one in page.walk() if "id" in one.attributes]
    names = {row[:3] for row in case[0].snapshot.containers}

    assert len(ids) == len(set(ids))
    for link in page.every("a"):
        href = link.attributes["href"]
        assert link.text
        if href.startswith("#"):
            assert href[1:] in ids
        elif href.startswith("/container/"):
            _, _, *segments = href.partition("?")[0].split("/")
            assert unescaped_segments(*map(unquote, segments)) in names
        elif href.startswith("https://"):
            assert "/docs/findings/" in href
            assert link.attributes["rel"] == "noreferrer"
        else:
            assert href.partition("?")[0] in {"", "/", "/metrics", "/healthz", "/readyz", "/api/v1/containers",
                                              "/api/v1/node"}  # fmt: skip


def test_tables_are_tables(page: Element) -> None:
    for table in page.every("table"):
        assert table.one("caption").text
        heads = [one for one in table.one("thead").every("th") if one.attributes["scope"] == "col"]
        assert all(one.text for one in heads)
        for row in table.one("tbody").every("tr"):
            cells = [one for one in row.inner if isinstance(one, Element)]
            assert len(cells) == len(heads)
            assert cells[0].tag == "th"
            assert cells[0].attributes["scope"] == "row"
    # Said again as roles, since a narrow window lays them out as blocks.
    roles = {"table": {"table"}, "tr": {"row"}, "td": {"cell"}, "th": {"columnheader", "rowheader"}}
    for one in page.walk():
        if one.tag in roles:
            assert one.attributes["role"] in roles[one.tag]


def test_drawings_are_told_in_words(page: Element) -> None:
    for one in page.every("svg"):
        assert one.attributes["role"] == "img"
        assert len(one.attributes["aria-label"]) > 20
    for one in page.every("li"):
        if "reserved" in one.classes:
            assert "reserved" in one.attributes["title"]


def test_nothing_unsaid_is_printed(page: Element) -> None:
    text = page.one("body").text

    for word in ("None", "nan", "inf", "Undefined", "True", "False", "{{", "{%"):
        assert word not in text.split()
    assert "<bound" not in text


def test_it_refreshes_only_when_asked(case: tuple[Report, str], page: Element) -> None:
    refresh = [one.attributes["content"] for one in page.every("meta") if one.attributes.get("http-equiv") == "refresh"]
    offered = [one.text for one in page.one("header").every("a") if "efresh" in one.text]

    if refresh:
        assert refresh in (["7"], ["5"])
        assert offered == ["Stop refreshing"]
    else:
        assert offered == ["Refresh every 10 s"]


# ---- names and messages from elsewhere are text on a page, never a part of it ----

SHOWN = "<script>alert(1)</script>\"'&\\u202ebackwards\\x00\\x1b[31m"
NAMES = st.text(st.characters(exclude_categories=()), min_size=1, max_size=20)
"""Everything Python can hold in a string, half surrogate pairs included."""


def test_what_is_hostile_is_shown_as_text(reports: dict[str, Report]) -> None:
    text = text_of(reports["hostile"])
    page = parsed(text)

    assert "<script" not in text
    assert page.one("header").text.count(SHOWN) == 1
    [first], [second] = (rows_of(table) for table in page.every("table", "list"))
    assert first[0] == f"{SHOWN}/\\udc80half"
    assert second[0] == f"{'p' * 253}/{'c' * 63}"
    assert SHOWN in page.by_id("exporter").text
    assert SHOWN in page.by_id("cpus").text
    assert SHOWN in page.one("title").text
    # A name that no URL can say has no link.
    assert [len(table.one("tbody").every("a")) for table in page.every("table", "list")] == [0, 1]
    assert not set(text) & {"\u202e", "\x00", "\x1b", "\udc80"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(namespace=NAMES | st.just(""), pod=NAMES, container=NAMES, other=NAMES)
def test_any_name_makes_a_page_and_leads_to_its_own(namespace: str, pod: str, container: str, other: str) -> None:
    row = make.container("a", limit=1.0)._replace(namespace=namespace, pod=pod, container=container)
    report = nodes.of(make.snapshot(row, on=make.node(kernel_release=other)))
    name = CgroupName(namespace, pod, container)

    page = overview_of(report)

    links = [one.attributes["href"] for one in page.one("table", "list").every("a")]
    for link in links:
        assert unescaped_segments(*map(unquote, link.removeprefix("/container/").split("/"))) in {
            name, CgroupName("", pod, container)  # a lone dash is no namespace
        }  # fmt: skip
    assert page_of(report, name).one("h1").text.split("/")[-1].strip() == _seen(container).split("/")[-1].strip()


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["all", "refresh", "q", "namespace", "sort", "x"]), st.text(max_size=10)))
def test_no_query_is_part_of_the_page(query: dict[str, str]) -> None:
    page = parsed(text_of(nodes.empty(), PageRequest.of(None, query)))

    for one in page.every("meta"):
        if one.attributes.get("http-equiv") == "refresh":
            assert 1 <= int(one.attributes["content"]) <= 3600
    assert all(_is_plain(one) for one in page.every("a"))


def _is_plain(link: Element) -> bool:
    return not set(link.attributes["href"]) - set(
        "%~?&=/#:.-_abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
    )


def _seen(text: str) -> str:
    return " ".join(str(printable(text)).split())


# ---- what pages of known nodes say and draw ----

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
