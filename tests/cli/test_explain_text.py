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
from rich.text import Text
from typing_extensions import override

from exporter.analysis.findings import Finding
from exporter.cli.explain import container_lines, overview
from exporter.cli.table import console_for, escaped, shortened
from exporter.report.schema import Container, ContainersDocument
from exporter.report.summary import headline, verdict
from tests.conftest import Generated
from tests.support import snapshots as make

GOLDEN = Path(__file__).parent / "golden"


def finding(**changes: Any) -> Finding:
    one: Any = make.finding("throttled", None, summary="It uses up its limit.", advice="Raise it.")
    return cast("Finding", one | {"commands": ["kubectl set resources"], "evidence": {"ratio": 0.5}} | changes)


def with_findings(container: Container, *findings: Finding) -> Container:
    one = copy.deepcopy(container)
    one["findings"] = list(findings)
    return one


def lines_of(document: ContainersDocument, width: int) -> list[str]:
    """Overview and every container, as plain lines."""
    containers = [line for one in document["containers"] for line in (*container_lines(one, width), Text())]
    return [line.plain for line in (*overview(document, width), Text(), *containers)]


@pytest.mark.golden
@pytest.mark.parametrize("width", [80, 200])
def test_the_node_in_words(document: ContainersDocument, width: int, generated: Generated) -> None:
    generated(GOLDEN / f"explain-{width}.txt", "\n".join(lines_of(document, width)))


@pytest.mark.parametrize("width", [60, 80, 110, 200])
def test_no_line_is_too_long(document: ContainersDocument, width: int) -> None:
    lines = lines_of(document, width)
    table = {line.plain for line in overview(document, width)[2:-2]}

    # Nobody can use an address or a name in pieces.
    assert {line for line in lines if len(line) > width and "https://" not in line and "Run: " not in line} <= (
        table if width < 80 else set()
    )
    assert max(map(len, lines)) > width * 0.5


@pytest.mark.parametrize("is_terminal", [True, False])
def test_colours(document: ContainersDocument, monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    class Stream(io.TextIOWrapper):
        @override
        def isatty(self) -> bool:
            return is_terminal

    for name, value in {"NO_COLOR": "", "COLORTERM": "", "TTY_COMPATIBLE": "", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    stream = Stream(io.BytesIO(), encoding="latin-1", newline="")
    lines = container_lines(document["containers"][0], 80)
    for line in (*lines, Text("pods’ names")):
        console_for(stream).print(line)
    stream.seek(0)
    written = stream.read()

    assert ("\x1b[1;31m" in written or "\x1b[31m" in written) is is_terminal
    assert re.sub("\x1b\\[[0-9;]*m", "", written) == "".join(f"{line.plain}\n" for line in lines) + "pods? names\n"


def _document(*containers: Container) -> ContainersDocument:
    exporter = {"age_seconds": 0.2, "healthy": True, "cgroups": {}}
    return cast("ContainersDocument", {"containers": list(containers), "node_findings": [], "exporter": exporter})


@given(st.recursive(st.text(max_size=5), lambda inner: st.dictionaries(st.text(max_size=5), inner, max_size=3)))
def test_a_whole_document_is_escaped(value: Any) -> None:
    def all_printable(one: Any) -> bool:
        return one.isprintable() if isinstance(one, str) else all(map(all_printable, [*one, *one.values()]))

    assert all_printable(escaped(value))


def test_verdicts(by_name: dict[str, Container]) -> None:
    healthy, info = by_name["frontend/nginx"], finding(severity="info", name="no_quota")
    young, ended = copy.deepcopy(healthy), copy.deepcopy(healthy)
    young["usage_cores"] = young["throttling"]["ratio"] = None
    ended["live"] = False
    worst = with_findings(healthy, finding(severity="critical", name="kernel_bug"), finding(), info)
    harmless = with_findings(healthy, info)

    assert verdict(young).startswith("Unknown: ")
    assert container_lines(ended, 80)[-1].plain == "  Ended: only its last counters are left."
    assert verdict(worst) == "Critical: kernel bug, and 1 more problem."
    assert verdict(harmless).startswith("No problems")
    assert "INFO no_quota" in "\n".join(line.plain for line in container_lines(harmless, 80))


@pytest.mark.parametrize("waiting", [None, 0.25])
def test_a_container_of_which_nothing_is_known(by_name: dict[str, Container], waiting: float | None) -> None:
    bare: Any = copy.deepcopy(by_name["frontend/nginx"])
    bare.update(dict.fromkeys(["quota_state", "limit_cores", "period_seconds", "effective_limit_cores", "usage_cores"]))
    bare.update(cpuset=None, pod_cgroup=None, mapped=False, namespace="", workload=None, workload_kind=None)
    bare["throttling"] = dict.fromkeys(bare["throttling"])
    bare["pressure"] = dict.fromkeys(bare["pressure"]) | {"runqueue_seconds_per_second": waiting}

    text = "\n".join(line.plain for line in container_lines(bare, 80))

    assert "None" not in text
    assert "name unknown" in text
    assert ("0.25 s per second on run queues" in text) is (waiting is not None)


@pytest.mark.parametrize(
    ("severities", "node", "said"),
    [
        ([], 0, "No container runs on this node"),
        ([None], 0, "No problems in 1 container"),
        ([None, "info"], 0, "No problems in 2 containers"),
        ([None, "info"], 2, "No problems in 2 containers; the node has 2 problems"),
        (["critical", "warning", None], 0, "2 of 3 containers have problems (1 critical, 1 warning)"),
        (["warning"], 1, "1 of 1 container has problems (1 warning); the node has 1 problem"),
    ],
)
@pytest.mark.parametrize("late", [False, True])
def test_the_headline(by_name: dict[str, Container], severities: list[Any], node: int, said: str, late: bool) -> None:
    containers = []
    for severity in severities:
        one = with_findings(by_name["frontend/nginx"], *([finding(severity=severity)] if severity else []))
        one["severity"] = severity
        containers.append(one)
    document = _document(*containers)
    document["node_findings"] = [finding()] * node
    document["exporter"]["healthy"] = not late
    document["exporter"]["age_seconds"] = 34.0

    if late and containers:
        assert headline(document).startswith("Samples are late, the last is 34 s old: ")
        assert "No problems" not in headline(document)
    else:
        assert headline(document) == said


def test_only_the_worst_of_many_are_listed(by_name: dict[str, Container]) -> None:
    affected = with_findings(by_name["checkout/app"], finding())
    healthy = by_name["frontend/nginx"]

    many = [line.plain for line in overview(_document(*[affected] * 40, *[healthy] * 9), 80)]
    none = [line.plain for line in overview(_document(*[healthy] * 9), 80)]

    assert "... and 25 more" in many
    assert sum("nginx" in line for line in many) == 0
    assert sum("nginx" in line for line in none) == 5


@given(st.text(alphabet="abc", max_size=30), st.integers(0, 30))
def test_shortened_keeps_both_ends(text: str, width: int) -> None:
    short = shortened(text, width)

    assert len(short) == min(len(text), width)
    assert not 3 <= width < len(text) or (short[0], short[-1]) == (text[0], text[-1])
