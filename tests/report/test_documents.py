"""What the documents say of a node whose numbers are known beforehand; ``golden`` has the rest of them."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan
from urllib.parse import unquote

import pytest

from exporter.analysis.findings import Severity, find, finding
from exporter.model import CgroupName, Interval
from exporter.report import escaped_path, unescaped_segments
from exporter.report.documents import Report
from exporter.report.schema import Container, ContainersDocument
from exporter.report.summary import description
from tests.report.node import HEALTH
from tests.support import snapshots as make

APP = CgroupName("shop", "checkout-7d9f8b6c5d-x2k9p", "app")


def test_a_container_out_of_quota(by_name: dict[str, Container]) -> None:
    # Three threads want 3 CPUs and may use 0.2: 20 of each 100 ms, so each CPU does nothing for the rest.
    app = by_name["checkout/app"]
    throttling = app["throttling"]

    assert (throttling["periods"], throttling["throttled_periods"], throttling["window_seconds"]) == (600, 600, 60.0)
    assert (throttling["ratio"], throttling["peak"]) == (1.0, 1.0)
    assert throttling["lost_seconds_per_second"] == pytest.approx(2.8, rel=0.03)
    assert app["usage_cores"] == pytest.approx(0.2, rel=0.03)
    assert (app["limit_cores"], app["effective_limit_cores"], app["threads"]) == (0.2, 0.2, 3)
    assert ([one["name"] for one in app["findings"]], app["severity"]) == (["throttled"], "critical")
    assert (app["workload_kind"], app["workload"], app["mapped"], app["live"]) == ("Deployment", "checkout", True, True)


def test_the_series_is_the_window_and_a_pod_has_a_quota_of_its_own(by_name: dict[str, Container]) -> None:
    series = by_name["catalog/api"]["series"]
    assert series == {"interval_seconds": 1.0, "ratio": [0.5] * 60, "usage_share": [0.267] * 60}
    pod = by_name["report/query"]["pod_cgroup"]
    assert pod is not None
    assert (pod["limit_cores"], pod["ratio"], pod["peak"]) == (0.15, 1.0, 1.0)


def test_a_pod_in_one_sandbox_cgroup_stands_for_its_containers() -> None:
    app = make.container("vm", limit=1.0)
    assert app.pod_identity is not None
    assert app.identity is not None
    owner = replace(app.pod_identity, containers=(app.identity,))
    throttled = {"window": make.window(0.9), "deltas": make.deltas(throttled_seconds=60.0)}
    pod = make.pod(app, limit=1.0, pod_identity=owner, stat=app.stat._replace(periods=600), **throttled)
    snapshot = replace(make.snapshot(app), containers=(), pods=(pod,))

    report = Report(snapshot, find(snapshot), HEALTH)

    [one] = report.containers()["containers"]
    assert (one["namespace"], one["pod"], one["container"], one["mapped"]) == ("shop", "vm", "", True)
    assert one["throttling"]["ratio"] == 0.9
    assert [finding["name"] for finding in one["findings"]] == ["throttled"]
    assert description(one).startswith("the whole pod, whose containers run inside a sandbox")
    assert report.container(CgroupName("shop", "vm", "")) is not None
    assert not Report(make.snapshot(pods=(pod._replace(pod_identity=app.pod_identity),)), (), HEALTH).containers()[
        "containers"
    ], "no container of it runs yet"


def test_what_is_not_known_is_not_zero(by_name: dict[str, Container]) -> None:
    scan = by_name["indexer/scan"]  # BestEffort: no quota
    unknown = (scan["limit_cores"], scan["request_cores"], scan["spec_limit_cores"], scan["threads"])

    assert (*unknown, scan["quota_state"], scan["limit_drift"]) == (None, None, None, None, "none", False)
    assert set(scan["throttling"].items()) >= {("ratio", None), ("peak", None), ("lost_seconds_per_second", None)}
    assert scan["pressure"]["runqueue_seconds_per_second"] is None
    assert scan["series"] == {"interval_seconds": None, "ratio": [], "usage_share": []}


def test_one_container_alone_or_without_series_is_the_same_as_among_all(
    report: Report, document: ContainersDocument
) -> None:
    for one, lean in zip(document["containers"], report.containers(with_series=False)["containers"], strict=True):
        alone = report.container(CgroupName(one["namespace"], one["pod"], one["container"]))
        assert alone is not None
        assert alone["container"] == one == lean | {"series": report.series(lean)}
    assert report.container(CgroupName("shop", "nothing", "app")) is None


def test_what_is_no_number_is_no_number_in_json(report: Report) -> None:
    row = report.snapshot.containers[0]._replace(intervals=(Interval(1.0, 10, 5, nan), Interval(1.0, 10, 5, 0.1)))
    name = CgroupName(row.namespace, row.pod, row.container or "")
    evidence = {"bad": nan, "worse": inf, "good": 1.0}
    made = finding("limit_drift", name, evidence, asks="", has="", spec_limit_cores=None)

    found = Report(replace(report.snapshot, containers=(row,), pods=()), (made,), HEALTH).containers()

    json.dumps(found, allow_nan=False)
    assert found["containers"][0]["findings"][0]["evidence"] == {"good": 1.0}
    assert found["containers"][0]["series"]["ratio"] == [0.5, 0.5]
    assert found["containers"][0]["series"]["usage_share"][0] is None


def test_findings_go_to_their_container_worst_first(report: Report) -> None:
    severities: list[tuple[Severity, CgroupName | None]]
    severities = [("info", APP), ("critical", APP), ("warning", None), ("warning", APP)]
    made = [make.finding(f"is_{severity}", subject, severity) for severity, subject in severities]
    one = Report(report.snapshot, made, HEALTH)
    found = one.container(APP)

    assert found is not None
    assert [each["severity"] for each in found["container"]["findings"]] == ["critical", "warning", "info"]
    assert found["container"]["severity"] == "critical"
    assert found["container"]["findings"][0]["docs"] == "docs/findings/is_critical.md"
    assert [each["subject"] for each in found["node_findings"]] == [None]
    assert one.node()["node"]["findings"] == found["node_findings"]


@pytest.mark.parametrize(
    "name", [("shop", "checkout-x2k9p", "app"), ("", "5c3e1b09-7a1d", "9d56b9ff2359"), ("a", "b%2Fc", "d/../e")]
)
def test_a_name_survives_its_way_through_a_url(name: tuple[str, str, str]) -> None:
    path = escaped_path(*name)

    assert path.count("/") == 2
    assert unescaped_segments(*(unquote(part) for part in path.split("/"))) == CgroupName(*name)
