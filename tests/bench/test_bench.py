"""The benchmark measures what it says and judges as it says; its times are for people (``make bench``)."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench.cadvisor import cadvisor
from tests.bench.rows import Row, growth, number, percentile, put_between_marks, report

TICK = Row(
    what="tick",
    unit="CPU ms",
    values=[5, 6, 16],
    peer="the C loop",
    beside=[2, 4, 4],
    limit=2.5,
    judged="ratio",
    grows=True,
)


def test_percentiles_are_values_that_were_measured() -> None:
    hundred = [float(value) for value in range(100, 0, -1)]
    assert (percentile(hundred, 0.99), percentile(hundred, 0.5), percentile([7.0], 0.01)) == (99.0, 50.0, 7.0)
    assert percentile(hundred[:60], 0.99) == max(hundred[:60])


@pytest.mark.parametrize(
    ("row", "value", "verdict"),
    [
        (TICK, 2.5, "met"),
        (replace(TICK, limit=2.4), 2.5, "missed"),
        (replace(TICK, beside=[]), None, ""),
        (replace(TICK, beside=[60, 90], judged="times less", limit=12), 12.5, "met"),
        (replace(TICK, judged="median", limit=5), 6, "missed"),
        (replace(TICK, judged="largest", limit=16), 16, "met"),
        (replace(TICK, judged="p99 / median", limit=3), 16 / 6, "met"),
        (replace(TICK, values=[0.75], judged="share", limit=1), 0.75, "missed"),
        (replace(TICK, limit=None), 2.5, ""),
    ],
)
def test_a_verdict_follows_from_the_numbers(row: Row, value: float | None, verdict: str) -> None:
    """Ratios are those of one round: 2.5, 1.5 and 4."""
    assert row.value == pytest.approx(value)
    assert row.verdict == verdict


def test_the_report_has_what_was_measured() -> None:
    large = replace(TICK, values=[30.0], beside=[10.0])
    text = report("2 CPUs", {"small": [TICK], "growth": growth([TICK], [large, replace(large, grows=False)])})
    assert (
        "| tick, CPU ms | 5.00 | 6.00 | 16.0 | 1.50 / 2.50 / 4.00 x the C loop | ratio <= 2.5, is 2.50 | met |" in text
    )
    assert "| growth: tick, x | 5.00 | 5.00 | 5.00 |  | median <= 4.4, is 5.00 | missed |" in text
    assert text.count("growth: tick") == 1


def test_numbers_keep_three_digits() -> None:
    shown = [number(value) for value in (0.0, 0.456, 4.56, 45.6, 456.7, float("nan"))]
    assert shown == ["0", "0.46", "4.56", "45.6", "457", "unknown"]


def test_what_is_between_the_marks_is_replaced() -> None:
    document = "a\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nb\n"
    assert put_between_marks(document, "new\n") == document.replace("\nold\n", "\n\nnew\n\n")
    with pytest.raises(ValueError, match="measured: begin"):
        put_between_marks("no marks", "new")


FAKE_CADVISOR = """#!{python}
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
options = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])
if "version" in options:
    sys.exit("cAdvisor version v0.0.1 (fake)")
if {broken}:
    sys.exit("F1128 no cgroup | today")
class Page(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"a 1")
HTTPServer((options["listen_ip"], int(options["port"])), Page).serve_forever()
"""


@pytest.mark.system
@pytest.mark.parametrize(
    ("broken", "told"),
    [(False, "cAdvisor v0.0.1"), (True, "cAdvisor: not measured, no page; exit code 1: F1128 no cgroup   today")],
)
def test_a_cadvisor_on_the_path_is_measured_and_one_that_fails_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: bool, told: str
) -> None:
    program = tmp_path / "cadvisor"
    program.write_text(FAKE_CADVISOR.format(python=sys.executable, broken=broken))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    version, found = cadvisor(0.5, 1)

    assert version == told
    assert (found is None) == broken
    if found is not None:
        assert found.memory_mb[0] > 1
        assert len(found.scrape_ms) == len(found.core_percent) == 1
