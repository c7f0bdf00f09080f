"""Each query of docs/promql.md answers for the page's example what stands below it."""

import re
from pathlib import Path

import pytest

from dashboards.rules import ROOT
from tests.dashboards.test_references import mistakes
from tests.rules.scenario import Container, Pod, Raw, Source, Target, check, query

PAGE = (ROOT / "docs" / "promql.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```promql\n(.*?)^```\n\n```text\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
NODE_2 = Target(node="node-2", instance="10.0.0.2:9843")
WEB_1 = {"namespace": "shop", "pod": "web-1", "container": "app"}

# The table at the page's head.
EXAMPLE: list[Source] = [
    Container(pod="web-1", periods=10, throttled=8, lost=0.4, usage=0.4, limit=0.4, stalled=0.4),
    Container(pod="web-2", periods=5, throttled=2, lost=0.2, usage=0.2, limit=0.4, target=NODE_2),
    Container(pod="api-1", workload="api", periods=5, throttled=0, lost=0, usage=0.3, limit=1),
    Container(pod="idle-1", workload="idle", periods=0.5, throttled=0.4, lost=0.04, usage=0.005, limit=0.01),
    Container(pod="free-1", workload="free", namespace="lab", kind="StatefulSet", usage=0.5, stalled=0.3)
    .but(quota_state="none"),
    Container(pod="report-1", workload="report", namespace="lab", kind="CronJob", periods=10, throttled=0, lost=0)
    .but(usage=0.1, limit=1),
    Pod(namespace="lab", pod="report-1", periods=10, throttled=10, lost=0.9),
    Container(pod="trainer-0", workload="trainer", namespace="ml", kind="StatefulSet", qos="Guaranteed", usage=2)
    .but(request=4, isolation="eligible", quota_state="set"),
    Raw("cgroup_container_cpu_throttled_ratio_peak", 1, WEB_1),
    Raw("cgroup_container_cpu_recommended_limit_cores", 0.9, WEB_1),
]  # fmt: skip


def test_every_query_has_an_answer() -> None:
    assert len(BLOCKS) == PAGE.count("```promql") > 10


@pytest.mark.parametrize("expression", [block[0] for block in BLOCKS])
def test_every_query_names_what_exists(expression: str) -> None:
    assert list(mistakes("docs/promql.md", expression)) == []


def test_every_answer_is_true(tmp_path: Path) -> None:
    asked = []
    for expression, answer in BLOCKS:
        samples = [line.rpartition(" ") for line in answer.splitlines()]
        plain = f"round(sum without (cluster, node, instance, job) ({expression}), 0.001)"
        asked.append(query(plain, 30, [{"labels": labels, "value": float(value)} for labels, _, value in samples]))
    check(tmp_path, EXAMPLE, queries=asked)
