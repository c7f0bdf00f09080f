"""Names and messages come from elsewhere: they are text on the page, never a part of it."""

from __future__ import annotations

from urllib.parse import unquote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exporter.model import CgroupName
from exporter.report import unescaped_segments
from exporter.report.documents import Report
from exporter.web.status import PageRequest
from exporter.web.status.rendering import printable
from tests.status import nodes
from tests.status.html import Element, parsed
from tests.status.page import overview_of, page_of, rows_of, text_of
from tests.support import snapshots as make

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
