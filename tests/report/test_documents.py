"""What the documents say of a node whose numbers are known beforehand."""

from __future__ import annotations

import json
from dataclasses import replace
from math import inf, nan

import pytest

from exporter.analysis.findings import Finding, Severity, finding
from exporter.model import CgroupName, Interval, Snapshot
from exporter.report import Container, ContainersDocument, Report, escaped_path, unescaped_segments
from tests.report.node import HEALTH
from tests.support import snapshots as make


def test_a_container_out_of_quota(by_name: dict[str, Container]) -> None:
    # Three threads want 3 CPUs and may use 0.2: 20 of each 100 ms, so each CPU stands still for the rest.
    app = by_name["checkout/app"]
    throttling = app["throttling"]

    assert (throttling["periods"], throttling["throttled_periods"], throttling["window_seconds"]) == (600, 600, 60.0)
    assert (throttling["ratio"], throttling["peak"]) == (1.0, 1.0)
    assert throttling["lost_seconds_per_second"] == pytest.approx(2.8, rel=0.03)
    assert app["usage_cores"] == pytest.approx(0.2, rel=0.03)
    assert (app["limit_cores"], app["effective_limit_cores"], app["spec_limit_cores"]) == (0.2, 0.2, 0.2)
    assert (app["request_cores"], app["quota_state"], app["period_seconds"]) == (0.1, "set", 0.1)
    assert (app["threads"], app["severity"]) == (3, "critical")
    assert [finding["name"] for finding in app["findings"]] == ["throttled"]
    assert app["limit_drift"] is False


def test_whose_it_is(by_name: dict[str, Container]) -> None:
    app = by_name["checkout/app"]

    assert (app["namespace"], app["pod"], app["container"]) == ("shop", "checkout-7d9f8b6c5d-x2k9p", "app")
    assert (app["workload_kind"], app["workload"], app["qos_class"]) == ("Deployment", "checkout", "Burstable")
    assert (app["container_type"], by_name["checkout/log-shipper"]["container_type"]) == ("container", "sidecar")
    assert (app["mapped"], app["live"], app["runtime"]) == (True, True, "containerd")
    assert app["cgroup"].endswith(f"/pod{app['pod_uid']}/{app['container_id']}")


def test_the_series_is_the_window(by_name: dict[str, Container]) -> None:
    app, bursty = by_name["checkout/app"]["series"], by_name["catalog/api"]["series"]

    assert app["interval_seconds"] == 1.0
    assert app["ratio"] == [1.0] * 60
    assert app["usage_share"] == [1.0] * 60
    assert bursty["ratio"] == [0.5] * 60
    assert bursty["usage_share"] == [0.267] * 60


def test_a_quota_of_the_pod(by_name: dict[str, Container]) -> None:
    query = by_name["report/query"]
    pod, throttling = query["pod_cgroup"], query["throttling"]

    assert pod is not None
    assert (pod["limit_cores"], pod["ratio"], pod["peak"]) == (0.15, 1.0, 1.0)
    assert throttling["ratio"] == 0.0
    assert throttling["lost_seconds_per_second"] == 0.0
    assert throttling["local_lost_seconds_per_second"] == pytest.approx(0.925, rel=0.03)


def test_what_is_not_known_is_not_zero(by_name: dict[str, Container]) -> None:
    scan = by_name["indexer/scan"]  # BestEffort: no quota

    assert (scan["limit_cores"], scan["quota_state"], scan["request_cores"], scan["spec_limit_cores"]) == (
        None,
        "none",
        None,
        None,
    )
    assert set(scan["throttling"].items()) >= {("ratio", None), ("peak", None), ("periods", None)}
    assert scan["throttling"]["lost_seconds_per_second"] is None
    assert scan["pressure"]["runqueue_seconds_per_second"] is None
    assert scan["series"] == {"interval_seconds": None, "ratio": [], "usage_share": []}
    assert scan["limit_drift"] is False
    assert scan["threads"] is None


def test_where_it_may_run(by_name: dict[str, Container]) -> None:
    owner, other = by_name["trainer/worker"], by_name["checkout/app"]

    assert (owner["isolation"], owner["exclusive"]) == ("exclusive", True)
    assert owner["cpuset"] == {"cpus": "3", "count": 1, "mems": "0", "numa_nodes": 1, "partition": "member"}
    assert (other["isolation"], other["exclusive"]) == ("shared", False)
    assert other["cpuset"] is not None
    assert (other["cpuset"]["cpus"], other["cpuset"]["numa_nodes"]) == ("0-2", 2)


def test_the_worst_come_first(document: ContainersDocument) -> None:
    names = [f"{one['pod'].partition('-')[0]}/{one['container']}" for one in document["containers"]]

    assert names[:4] == ["checkout/app", "report/query", "report/render", "catalog/api"]
    assert len(names) == 11


def test_the_map_of_the_cpus(report: Report) -> None:
    node = report.node()["node"]
    cpus = node["cpus"]

    assert [(cpu["cpu"], cpu["numa_node"], cpu["state"], cpu["reserved"]) for cpu in cpus] == [
        (0, 0, "shared", True),
        (1, 0, "shared", False),
        (2, 1, "shared", False),
        (3, 1, "exclusive", False),
    ]
    assert [cpu["owner"] for cpu in cpus] == [
        None,
        None,
        None,
        {"namespace": "data", "pod": "trainer-0", "container": "worker"},
    ]
    assert [cpu["busy_share"] for cpu in cpus] == pytest.approx([0.55, 0.4, 0.3, 0.21], abs=0.01)
    assert [cpu["steal_share"] for cpu in cpus] == [0.0] * 4
    assert (node["name"], node["hierarchy"], node["kernel_release"]) == ("node-1", "v2", "6.12.48-generic")
    assert node["cpu_manager"] is not None
    assert (node["cpu_manager"]["policy"], node["cpu_manager"]["reserved_cpus"]) == ("static", "0")
    assert node["checkpoint"] is None


def test_the_health_of_the_exporter(document: ContainersDocument) -> None:
    exporter = document["exporter"]

    assert (exporter["version"], exporter["healthy"], exporter["age_seconds"]) == ("1.2.3", True, 0.25)
    assert exporter["cgroups"]["mapped"] == 11
    assert exporter["sources"][0]["name"] == "kubelet"
    assert exporter["errors"] == [{"stage": "read", "reason": "eacces", "count": 2}]


def test_one_container_alone_is_the_same_as_among_all(report: Report, document: ContainersDocument) -> None:
    for one in document["containers"]:
        alone = report.container(CgroupName(one["namespace"], one["pod"], one["container"]))
        assert alone is not None
        assert alone["container"] == one


def test_a_container_that_is_not_there(report: Report) -> None:
    assert report.container(CgroupName("shop", "nothing", "app")) is None


def test_series_can_be_left_out(report: Report, document: ContainersDocument) -> None:
    lean = report.containers(with_series=False)["containers"]

    assert {len(one["series"]["ratio"]) for one in lean} == {0}
    assert [one["throttling"] for one in lean] == [one["throttling"] for one in document["containers"]]


def test_what_is_no_number_is_no_number_in_json(report: Report) -> None:
    snapshot = report.snapshot
    row = snapshot.containers[0]._replace(intervals=(Interval(1.0, 10, 5, nan), Interval(1.0, 10, 5, 0.1)))
    assert row.container is not None
    name = CgroupName(row.namespace, row.pod, row.container)
    evidence = {"bad": nan, "worse": inf, "good": 1.0}
    made = finding("limit_drift", name, evidence, asks="", has="")
    odd: Snapshot = replace(snapshot, containers=(row,))

    found = Report(odd, (made,), HEALTH).containers()

    json.dumps(found, allow_nan=False)
    assert found["containers"][0]["findings"][0]["evidence"] == {"good": 1.0}
    assert found["containers"][0]["series"]["ratio"] == [0.5, 0.5]
    assert found["containers"][0]["series"]["usage_share"][0] is None


def test_findings_go_to_their_container_worst_first(report: Report) -> None:
    name = CgroupName("shop", "checkout-7d9f8b6c5d-x2k9p", "app")

    def made(severity: Severity, subject: CgroupName | None) -> Finding:
        return make.finding(f"is_{severity}", subject, severity)

    one = Report(
        report.snapshot,
        [made("info", name), made("critical", name), made("warning", None), made("warning", name)],
        HEALTH,
    )
    found = one.container(name)

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
    from urllib.parse import unquote  # noqa: PLC0415 - what the server does to a path

    path = escaped_path(*name)

    assert path.count("/") == 2
    assert unescaped_segments(*(unquote(part) for part in path.split("/"))) == CgroupName(*name)
