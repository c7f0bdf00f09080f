"""docs/numbers.md says what the rules really make of its example."""

import re
from pathlib import Path

import pytest

from dashboards.rules import ROOT
from tests.rules.scenario import ALIVE, STEPS, Container, Source, check, query

PAGE = (ROOT / "docs" / "numbers.md").read_text(encoding="utf-8")

# One request: 5 periods, 4 of them throttled, 240 ms lost, 200 ms used.
ONCE_A_SECOND = Container(periods=5, throttled=4, lost=0.24, usage=0.2, limit=0.4)
ALWAYS_AT_WORK = Container(periods=10, throttled=10, lost=0.6, usage=0.4, limit=0.4)
# A step of the scenario is a minute.
ONCE_A_MINUTE = Container(
    periods=f"0+5x{STEPS}", throttled=f"0+4x{STEPS}", lost=f"0+0.24x{STEPS}", usage=f"0+0.2x{STEPS}", limit=0.4
)


def test_the_table_of_recorded_series_is_true(tmp_path: Path) -> None:
    table = re.findall(r"^\| `(\w+:[\w:]+)` \| [^|]+ \| ([\d.]+) \|$", PAGE, re.MULTILINE)
    assert len(table) == 4
    sums = [query(f"round(sum({name}), 0.001)", 40, [{"labels": "{}", "value": float(value)}]) for name, value in table]
    check(tmp_path, [ONCE_A_SECOND], queries=sums)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        pytest.param(ONCE_A_SECOND, ["WorkloadCPUThrottled", "WorkloadCPUThrottledSevere"], id="once a second"),
        pytest.param(ALWAYS_AT_WORK, ["WorkloadCPUThrottled", "WorkloadCPUThrottledSevere"], id="at work all the time"),
        pytest.param(ONCE_A_MINUTE, [], id="once a minute"),
    ],
)
def test_who_is_told_is_true(source: Source, told: list[str], tmp_path: Path) -> None:
    firing = 'count by (alertname) (ALERTS{alertstate="firing",severity!="info"})'
    expected = [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in told]
    check(tmp_path, [source, ALIVE], queries=[query(firing, 30, expected)])
