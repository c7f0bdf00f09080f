"""The page in a real browser: it fits, it can be read, it keeps its policy. Pictures of it are kept to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

from exporter.report import escaped_path
from exporter.report.documents import Report
from exporter.report.summary import headline
from tests.conftest import needs
from tests.status import nodes
from tests.status.browser import Browser, chromium, size_of
from tests.status.conftest import Served
from tests.status.page import name_of

ROOT = Path(__file__).parent.parent.parent
LOOK = Path(__file__).with_name("look.js").read_text()
IMAGES = ROOT / "docs" / "images"
LARGEST_IMAGE = 500_000
RED: Final = "rgb(179, 38, 30)"
PALE_RED: Final = "rgb(255, 143, 133)"
AMBER: Final = "rgb(138, 82, 0)"


class Screen(NamedTuple):
    """One page in one window; ``verdict`` is the colour of its headline."""

    name: str
    node: str
    container: str = ""
    query: str = ""
    width: int = 1280
    dark: bool = False
    verdict: str = ""


SCREENS = (
    Screen("overview", "demo", verdict=RED),
    Screen("overview-dark", "demo", dark=True, verdict=PALE_RED),
    Screen("overview-narrow", "demo", width=360, verdict=RED),
    Screen("overview-wide", "demo", width=2560, verdict=RED),
    Screen("container", "demo", "catalog-5c68f7d9c4-q7r2m/api", verdict=AMBER),
    Screen("container-dark-narrow", "many", "app-13-", width=360, dark=True),
    Screen("empty", "empty"),
    Screen("starting", "starting"),
    Screen("unmapped", "unmapped", width=768),
    Screen("hostile", "hostile", width=900, verdict=RED),
    Screen("long-name-narrow", "hostile", "ppp", width=360),
    Screen("750-containers", "many", verdict=RED),
    Screen("750-containers-narrow", "many", width=360),
    Screen("750-containers-all", "many", query="?all", width=1000),
    Screen("missing", "demo", "-"),
)
SHOWN_IN_DOCS = {"overview": "status-overview.png", "container": "status-container.png"}


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with chromium(needs("chromium"), tmp_path_factory.mktemp("chromium")) as one:
        yield one


def show(browser: Browser, served: Served, report: Report, screen: Screen) -> None:
    served.report = report
    path = "/"
    if screen.container:
        path += "container/"
        path += "a/b/c" if screen.container == "-" else escaped_path(*name_of(report, screen.container))
    browser.open(f"{served.url}{path}{screen.query}", width=screen.width, dark=screen.dark)


@pytest.mark.parametrize("screen", SCREENS, ids=lambda screen: screen.name)
def test_it_fits_and_can_be_read(
    browser: Browser, served: Served, reports: dict[str, Report], tmp_path: Path, screen: Screen
) -> None:
    show(browser, served, reports[screen.node], screen)
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found: dict[str, Any] = browser.evaluate(LOOK)
    browser.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    shot = browser.screenshot()
    (tmp_path / f"{screen.name}.png").write_bytes(shot)

    assert found["width"] == found["scrollWidth"] == screen.width
    assert (found["wide"], found["cut"]) == ([], [])
    assert found["faint"] == []  # WCAG AA: 4.5 to 1
    # Under the policy the style still applies, and nothing broke it.
    assert found["back"] == ("rgb(14, 18, 23)" if screen.dark else "rgb(246, 247, 249)")
    assert found["verdict"] == screen.verdict or not screen.verdict
    assert [one for one in browser.complaints if "404" not in one] == []
    width, height = size_of(shot)
    assert (width, height > 500, len(shot) > 10_000) == (screen.width, True, True)


@pytest.mark.parametrize(("width", "most"), [(1400, 3500), (400, 8000)])
def test_many_workloads_fit_a_few_screens(
    browser: Browser, served: Served, reports: dict[str, Report], width: int, most: int
) -> None:
    show(browser, served, reports["many"], Screen("", "many", width=width))

    assert browser.evaluate("document.querySelectorAll('.workload').length") == nodes.WORKLOADS
    assert browser.evaluate("document.documentElement.scrollHeight") <= most


def test_a_narrow_window_keeps_the_table_a_table(browser: Browser, served: Served, reports: dict[str, Report]) -> None:
    show(browser, served, reports["demo"], Screen("", "demo", query="?all", width=360))
    roles = browser.roles()
    count = len(reports["demo"].snapshot.containers)

    heads = [name for role, name in roles if role == "columnheader"]
    assert {"Pod/container", "Finding", "Throttled"} <= set(heads)
    assert sum(role == "table" for role, _ in roles) >= 3
    assert sum(role == "rowheader" for role, _ in roles) >= count
    assert sum(role == "row" for role, _ in roles) >= count + 1
    assert ("heading", headline(reports["demo"].containers())) in roles
    drawings = [name for role, name in roles if role in {"image", "img"}]
    assert drawings
    assert all(name.startswith("Throttled ratio") for name in drawings)


def test_it_is_used_with_the_keyboard_alone(browser: Browser, served: Served, reports: dict[str, Report]) -> None:
    show(browser, served, reports["demo"], Screen("", "demo"))
    focus = """(() => { const one = document.activeElement, box = one.getBoundingClientRect(); return {
        text: one.textContent.trim(), left: box.left, top: box.top, tag: one.tagName,
        outline: getComputedStyle(one).outlineStyle, width: parseFloat(getComputedStyle(one).outlineWidth) } })()"""

    browser.press("Tab")
    skip = browser.evaluate(focus)
    assert skip["text"] == "Skip to the content"
    assert skip["left"] >= 0
    assert skip["top"] >= 0
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.id") == "main"
    seen = []
    for _ in range(60):
        browser.press("Tab")
        seen.append(browser.evaluate(focus))
        if seen[-1]["text"] == "Readiness":
            break
    assert all(
        (one["text"] or one["tag"] == "INPUT") and one["outline"] == "solid" and one["width"] >= 2 for one in seen
    )
    assert {one["tag"] for one in seen} <= {"A", "SUMMARY", "INPUT", "BUTTON"}
    assert seen[-1]["text"] == "Readiness"
    browser.call("Page.navigate", url=f"{served.url}/#findings")
    assert browser.evaluate("document.querySelector('#findings').getBoundingClientRect().top") < 400


@pytest.mark.docs
def test_the_documentation_s_pictures(request: pytest.FixtureRequest, browser: Browser, served: Served,
                                      reports: dict[str, Report]) -> None:  # fmt: skip
    """A browser of another version draws other pixels, so the pictures are kept, not compared."""
    if request.config.getoption("--regenerate"):
        IMAGES.mkdir(exist_ok=True)
        for screen in SCREENS:
            if screen.name in SHOWN_IN_DOCS:
                show(browser, served, reports[screen.node], screen)
                (IMAGES / SHOWN_IN_DOCS[screen.name]).write_bytes(browser.screenshot())
    text = (ROOT / "docs" / "status.md").read_text()
    for name in SHOWN_IN_DOCS.values():
        data = (IMAGES / name).read_bytes()
        assert size_of(data)[0] == 1280
        assert len(data) < LARGEST_IMAGE
        assert f"](images/{name})" in text
