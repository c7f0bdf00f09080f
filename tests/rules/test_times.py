"""How long each alert waits before it fires, and goes on after the end where flapping hurts.

Those of WorkloadCPUThrottled and WorkloadCPUThrottledSevere are in test_catalogue.py.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.rules.scenario import ALIVE, Container, Pod, Raw, Source, check, query

FREE = Container(usage=0.5, quota_state="none")
OUT_OF_QUOTA = Pod(periods=10, throttled=8, lost=0.4)
ELIGIBLE = Container(isolation="eligible")
STATIC = Raw("cgroup_node_cpu_manager_info", 1, {"policy": "static"})
OWNER = Container(periods=10, throttled=0.5, lost=0.02, limit=2, isolation="exclusive")
WAITING = Container(stalled=0.4)
BURSTY = Container(periods=5, throttled=1, lost=0.09, usage=0.2, limit=1)
AFFECTED = Raw("cgroup_node_kernel_info", 1, {"release": "4.19.10", "cfs_quota_bug": "affected"})
UNTIL = 30


def stopped(per_second: float) -> str:
    """A counter that stands still from minute 30 on."""
    return f"0+{per_second * 60:g}x{UNTIL} {per_second * 60 * UNTIL:g}x30"


def firing(name: str, minute: int, *, expected: bool) -> Mapping[str, Any]:
    samples = [{"labels": "{}", "value": 1}] if expected else []
    return query(f'count(ALERTS{{alertname="{name}",alertstate="firing"}})', minute, samples)


@pytest.mark.parametrize(
    ("name", "sources", "silent", "fires"),
    [
        # A rate over five minutes takes up to five to be over its threshold.
        ("CPUThrottledBelowLimit", [BURSTY], 14, 20),
        ("PodCPUThrottledByAncestor", [FREE, OUT_OF_QUOTA], 14, 20),
        ("CPULimitDrift", [Container(drift=1)], 14, 15),
        ("KernelCFSQuotaBug", [AFFECTED], 14, 15),
        ("GuaranteedPodNotPinned", [ELIGIBLE, STATIC], 14, 15),
        ("ExclusiveCPUThrottled", [OWNER], 9, 15),
        ("ExclusiveCPUShared", [Container(isolation="exclusive", exclusive=0)], 9, 10),
        ("CPUContention", [WAITING], 14, 20),
    ],
)
def test_it_waits(name: str, sources: list[Source], silent: int, fires: int, tmp_path: Path) -> None:
    expected = [firing(name, silent, expected=False), firing(name, fires, expected=True)]
    check(tmp_path, [*sources, ALIVE], queries=expected)


def test_contention_outlives_a_short_calm(tmp_path: Path) -> None:
    # The rate is below its threshold from minute 34 at the latest; kept for 15 minutes.
    expected = [firing("CPUContention", 44, expected=True), firing("CPUContention", 50, expected=False)]
    check(tmp_path, [WAITING.but(stalled=stopped(0.4)), ALIVE], queries=expected)
