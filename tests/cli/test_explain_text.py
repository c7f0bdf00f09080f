"""What ``explain`` writes, at the widths people have, and what it never writes."""

from __future__ import annotations

import copy
import io
import re
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from exporter.cli.terminal.explaining import explained, troubles, verdict
from exporter.cli.terminal.overview import headline, overview
from exporter.cli.terminal.text import Look, harmless, made_harmless, shortened
from exporter.report import Container, ContainersDocument, Finding
from tests.conftest import Generated

GOLDEN = Path(__file__).parent / "golden"
ESCAPE = "\x1b"
WIDTHS = [60, 80, 110, 200]


def finding(**changes: Any) -> Finding:
    one: dict[str, Any] = {
        "name": "throttled",
        "severity": "warning",
        "subject": None,
        "summary": "It uses up its limit.",
        "advice": "Raise it.",
        "reason": "",
        "evidence": {"ratio": 0.5},
        "docs": "docs/findings/throttled.md",
    }
    return cast("Finding", one | changes)


def with_findings(container: Container, *findings: Finding) -> Container:
    one = copy.deepcopy(container)
    one["findings"] = list(findings)
    return one


@pytest.mark.golden
@pytest.mark.parametrize("width", [80, 200])
def test_the_node_in_words(document: ContainersDocument, width: int, generated: Generated) -> None:
    look = Look(width)
    parts = ["\n".join(overview(document, look))]
    parts += ["\n".join(explained(one, look)) for one in document["containers"]]

    generated(GOLDEN / f"explain-{width}.txt", "\n\n".join(parts) + "\n")


@pytest.mark.parametrize("width", WIDTHS)
def test_no_line_is_too_long(document: ContainersDocument, width: int) -> None:
    look = Look(width)
    lines = [*overview(document, look), *(line for one in document["containers"] for line in explained(one, look))]

    # An address is no use in pieces.
    assert {line for line in lines if len(line) > width and not line.startswith("    Read:      https://")} == set()
    assert max(len(line) for line in lines) > width * 0.5


def test_wide_terminals_show_names_whole_and_more_columns(document: ContainersDocument) -> None:
    narrow, wide = ("\n".join(overview(document, Look(width))) for width in (80, 200))

    assert "shop/checkout-7d9f8b6c5d-x2k9p/app" in wide
    assert "shop/checkout-7d9f8b6c5d-x2k9p/app" not in narrow
    assert "ISOLATION" in wide
    assert "ISOLATION" not in narrow
    # What is wrong is never dropped.
    assert "throttled_below_limit" in narrow


def test_plain_unless_asked_for_colours(document: ContainersDocument) -> None:
    plain = "\n".join([*overview(document, Look()), *explained(document["containers"][0], Look())])
    coloured = [*overview(document, Look(colours=True)), *explained(document["containers"][0], Look(colours=True))]

    assert ESCAPE not in plain
    assert ESCAPE in "\n".join(coloured)
    assert re.sub("\x1b\\[[0-9;]*m", "", "\n".join(coloured)) == plain


@pytest.mark.parametrize(
    ("environ", "terminal", "colours"),
    [
        ({"TERM": "xterm"}, True, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, True, False),
        ({"TERM": "xterm", "NO_COLOR": ""}, True, True),
        ({"TERM": "dumb"}, True, False),
        ({}, True, False),
        ({"TERM": "xterm"}, False, False),
    ],
)
def test_where_colours_are_seen(environ: dict[str, str], terminal: bool, colours: bool) -> None:
    class Stream(io.TextIOWrapper):
        @override
        def isatty(self) -> bool:
            return terminal

    assert Look.of(Stream(io.BytesIO(), encoding="utf-8"), environ).colours is colours


def test_symbols_only_where_they_can_be_written() -> None:
    assert Look.of(io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), {}).symbols
    assert not Look.of(io.TextIOWrapper(io.BytesIO(), encoding="latin-1"), {}).symbols


@given(st.text())
def test_nothing_foreign_reaches_a_terminal_as_it_is(text: str) -> None:
    assert harmless(text).isprintable()


def test_a_hostile_name_is_shown_and_not_obeyed(by_name: dict[str, Container]) -> None:
    hostile = with_findings(
        by_name["checkout/app"],
        finding(
            summary="\x1b]0;owned\x07 it",
            advice="\r\n\x9b2J",
            reason="\u202e",
            docs="\x00",
            evidence={"\x1b[2J": "\x1b"},
        ),
    )
    hostile["pod"], hostile["workload"] = "a\x1b[31mb", "w\nx"
    look = Look(200)

    text = "\n".join([*explained(hostile, look), *overview(_document(hostile), look)])

    assert {one for one in text if not one.isprintable()} == {"\n"}
    assert r"a\x1b[31mb" in text


def _document(*containers: Container) -> ContainersDocument:
    one: Any = {"containers": list(containers), "node_findings": []}
    result: ContainersDocument = one
    return result


@given(st.recursive(st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3)))
def test_a_whole_document_is_made_harmless(value: Any) -> None:
    def all_printable(one: Any) -> bool:
        return one.isprintable() if isinstance(one, str) else all(map(all_printable, [*one, *one.values()]))

    assert all_printable(made_harmless(value))


def test_a_healthy_container_is_called_healthy_with_its_numbers(by_name: dict[str, Container]) -> None:
    agent = by_name["node/agent"]

    said = verdict(agent)

    assert said.startswith("Healthy: ")
    assert f"throttled in {agent['throttling']['throttled_periods']} of {agent['throttling']['periods']}" in said
    assert "0.2 CPUs" in said
    assert "waited for a CPU" in said


def test_idle_without_quota_and_young_are_three_things(by_name: dict[str, Container]) -> None:
    young = copy.deepcopy(by_name["frontend/nginx"])
    young["usage_cores"] = young["throttling"]["ratio"] = None

    assert "was idle" in verdict(by_name["frontend/nginx"])
    assert "no quota" in verdict(by_name["indexer/scan"])
    assert verdict(young).startswith("Nothing is known yet")


def test_the_worst_finding_is_the_verdict(by_name: dict[str, Container]) -> None:
    one = with_findings(
        by_name["frontend/nginx"], finding(severity="critical", name="kernel_bug"), finding(), finding(severity="info")
    )

    assert verdict(one) == "Critical: kernel bug, and 1 more."


def test_info_alone_is_healthy(by_name: dict[str, Container]) -> None:
    one = with_findings(by_name["frontend/nginx"], finding(severity="info", name="no_quota"))

    assert verdict(one).startswith("Healthy")
    assert troubles(one["findings"]) == []
    assert "INFO no_quota" in "\n".join(explained(one, Look()))


def test_a_container_that_is_gone(by_name: dict[str, Container]) -> None:
    gone = copy.deepcopy(by_name["frontend/nginx"])
    gone["live"] = False

    lines = explained(gone, Look())

    assert "Gone: only its last counters are left." in lines[-1]


@pytest.mark.parametrize("missing", [None, "v1"])
def test_a_container_of_which_nothing_is_known(by_name: dict[str, Container], missing: str | None) -> None:
    bare: Any = copy.deepcopy(by_name["frontend/nginx"])
    bare.update(dict.fromkeys(["quota_state", "limit_cores", "period_seconds", "effective_limit_cores", "usage_cores"]))
    bare.update(cpuset=None, pod_cgroup=None, mapped=False, namespace="", workload=None, workload_kind=None)
    bare["throttling"] = dict.fromkeys(bare["throttling"])
    bare["pressure"] = dict.fromkeys(bare["pressure"])
    if missing:
        bare["pressure"]["runqueue_seconds_per_second"] = 0.25

    text = "\n".join(explained(bare, Look()))

    assert "None" not in text
    assert "name is not known" in text
    assert ("0.25 s per second on run queues" in text) is bool(missing)


def test_what_a_finding_says_is_all_there(by_name: dict[str, Container]) -> None:
    one = with_findings(by_name["frontend/nginx"], finding(reason="threads", evidence={"threads": 64, "on": "2-3"}))

    text = "\n".join(explained(one, Look()))

    for part in (
        "WARNING throttled (threads)",
        "It uses up its limit.",
        "Do:        Raise it.",
        "Evidence:  threads=64, on=2-3",
        "Read:      https://github.com/kube-throttle-exporter/kube-throttle-exporter/blob/main/docs/findings/throttled.md",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("severities", "node", "said"),
    [
        ([], 0, "No container runs on this node, or none is known yet."),
        ([None], 0, "The container is healthy."),
        ([None, "info"], 0, "All 2 containers are healthy."),
        (["critical", "warning", None], 0, "2 of 3 containers have findings: 1 critical, 1 warning."),
        (["warning"], 1, "1 of 1 container has findings: 1 warning. The node itself has 1 finding."),
    ],
)
def test_the_headline(by_name: dict[str, Container], severities: list[Any], node: int, said: str) -> None:
    containers = []
    for severity in severities:
        one = with_findings(by_name["frontend/nginx"], *([finding(severity=severity)] if severity else []))
        one["severity"] = severity
        containers.append(one)

    assert headline(containers, [finding()] * node) == said


def test_only_the_worst_of_many_are_listed(by_name: dict[str, Container]) -> None:
    hurt = with_findings(by_name["checkout/app"], finding())
    healthy = by_name["frontend/nginx"]

    many = overview(_document(*[hurt] * 40, *[healthy] * 9), Look())
    none = overview(_document(*[healthy] * 9), Look())

    assert "... and 25 more" in many
    assert sum("nginx" in line for line in many) == 0
    assert sum("nginx" in line for line in none) == 5


@given(st.text(alphabet="abc", max_size=30), st.integers(0, 30))
def test_shortened_keeps_both_ends(text: str, width: int) -> None:
    short = shortened(text, width)

    assert len(short) == min(len(text), width)
    if 3 <= width < len(text):
        assert (short[0], short[-1]) == (text[0], text[-1])
