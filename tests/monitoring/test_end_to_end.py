"""From a process that the kernel throttles to the person who is told, through Prometheus and Alertmanager."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from dashboards.capacity import PER_NODE, SERIES, PerCgroup
from exporter.lab.cgroups import DEFAULT_ROOT, LabError, writable_hierarchy
from exporter.metrics.catalog import FAMILIES
from tests.conftest import unavailable
from tests.dashboards.boards import Asked, boards
from tests.monitoring import parts, shortened
from tests.monitoring.asking import EMPTY_BY_NATURE, SUBJECTS, Labels, answers, choices, tables
from tests.monitoring.nodes import LOUD, MODERATE, MUTED, DemoNode, real, synthetic
from tests.monitoring.parts import Notified, Receiver, Server, eventually
from tests.support.pages import Page

pytestmark = pytest.mark.timeout(180)

SEVERE, HIGH, POD = "WorkloadCPUThrottledSevere", "WorkloadCPUThrottled", "PodCPUThrottled"
FIRES_WITHIN = 60.0
RESOLVES_WITHIN = 60.0


@dataclass
class Story:
    """What was seen while three nodes were under load, and after it ended."""

    alerts: list[dict[str, Any]]
    """Prometheus's samples of ALERTS under load."""
    managed: list[dict[str, Any]]
    """Alertmanager's alerts at the same time."""
    notified_under_load: list[Notified]
    notified: list[Notified]
    """In all, the end of the alerts included."""
    texts: dict[str, list[dict[str, Any]]]
    """What people were sent to read, by the way it went."""
    answers: dict[Asked, int]
    choices: dict[str, dict[str, list[str]]]
    tables: dict[str, tuple[set[Labels], set[Labels]]]
    page: Page
    """Of a node with cgroup v2."""
    throttled: dict[str, float]
    """Pod -> throttled share of its periods under load, of the container's group or the pod's: they have one limit."""

    def firing(self, name: str) -> list[dict[str, str]]:
        found = [sample["metric"] for sample in self.alerts]
        return [labels for labels in found if labels["alertname"] == name and labels["alertstate"] == "firing"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("monitoring")
    try:
        hierarchy = writable_hierarchy(DEFAULT_ROOT)
    except LabError as error:
        unavailable(f"needs cgroups of its own: {error}")
    with ExitStack() as stack:
        told = stack.enter_context(parts.receiver())
        manager = stack.enter_context(parts.alertmanager(shortened.alertmanager(told.address), folder / "alertmanager"))
        nodes = [
            stack.enter_context(real(1, hierarchy, folder / "node-1")),
            *(stack.enter_context(synthetic(number, folder / f"node-{number}")) for number in (2, 3)),
        ]
        targets = [shortened.Target(f"{one.exporter.host}:{one.exporter.port}", one.name) for one in nodes]
        rules = folder / "rules.yaml"
        rules.write_text(shortened.rules(), encoding="utf-8")
        config = shortened.prometheus(targets, rules, manager.address)
        prometheus = stack.enter_context(parts.prometheus(config, folder / "prometheus"))
        yield _told(nodes, prometheus, manager, told)


def _told(nodes: list[DemoNode], prometheus: Server, manager: Server, told: Receiver) -> Story:
    def all_have_fired() -> bool:
        severe = prometheus.query(f'count(ALERTS{{alertname="{SEVERE}",alertstate="firing",workload="{LOUD}"}}) == 1')
        high = prometheus.query(f'count(ALERTS{{alertname="{HIGH}",alertstate="firing",workload="{LOUD}"}}) == 1')
        evidence = prometheus.query(f'count(ALERTS{{alertname="{POD}",alertstate="firing",workload="{LOUD}"}}) == 3')
        above = prometheus.query('count(ALERTS{alertname="PodCPUThrottledByAncestor",alertstate="firing"}) > 0')
        paged = told.pages(SEVERE, "firing", workload=LOUD)
        return bool(severe and high and evidence and above and paged and told.pages(HIGH, "firing", workload=MODERATE))

    def seen() -> str:
        targets = [
            f"{target['labels'].get('node')}: {target['health']} {target['lastError']}"
            for target in prometheus.get("/api/v1/targets")["data"]["activeTargets"]
        ]
        lost = "container:cgroup_container_cpu_throttled_seconds:rate5m > 0 or ALERTS"
        samples = [f"{sample['metric']} {sample['value'][1]}" for sample in prometheus.query(lost)]
        notified = [f"{one.receiver} {one.status} {one.names()} {len(one.alerts)}" for one in told.notified]
        return "\n".join([*targets, *samples, *notified])

    paged = f"{SEVERE} pages for {LOUD}, {HIGH} is told for {MODERATE}"
    eventually(all_have_fired, paged, FIRES_WITHIN, seen)
    story = Story(
        alerts=prometheus.query("ALERTS"),
        managed=manager.get("/api/v2/alerts"),
        notified_under_load=list(told.notified),
        notified=[],
        texts={},
        answers=answers(prometheus),
        choices={name: choices(board, prometheus) for name, board in boards().items()},
        tables=tables(prometheus),
        page=nodes[-1].exporter.page(),
        throttled={
            sample["metric"]["pod"]: float(sample["value"][1])
            for sample in prometheus.query(
                "pod:cgroup_cpu_throttled_periods:max_rate5m / pod:cgroup_cpu_periods:max_rate5m"
            )
        },
    )
    for node in nodes:
        node.end_load()
    eventually(
        lambda: told.pages(SEVERE, "resolved", workload=LOUD) and told.pages(HIGH, "resolved", workload=MODERATE),
        "all is over",
        RESOLVES_WITHIN,
        seen,
    )
    story.notified = told.notified
    story.texts = {way: told.texts(way) for way in ("slack", "pagerduty")}
    return story


def test_a_workload_that_is_really_throttled_pages_once_whatever_its_replicas(story: Story) -> None:
    assert [labels["workload"] for labels in story.firing(SEVERE)] == [LOUD]
    pages = [page for page in story.notified_under_load if SEVERE in page.names() and page.status == "firing"]
    assert {alert["labels"]["workload"] for page in pages for alert in page.alerts} == {LOUD}
    assert len({page.body["groupKey"] for page in pages}) == 1
    assert {len(page.alerts) for page in pages} == {1}
    evidence = {labels["node"] for labels in story.firing(POD) if labels["workload"] == LOUD}
    assert evidence == {"node-1", "node-2", "node-3"}


def test_the_page_says_what_and_how_bad_and_what_to_do(story: Story) -> None:
    [alert] = [page for page in story.notified_under_load if SEVERE in page.names()][-1].alerts
    labels, texts = alert["labels"], alert["annotations"]
    assert labels["severity"] == "critical"
    share = re.fullmatch(rf"Deployment shop/{LOUD} loses ([\d.]+)% of its run time to CPU quotas", texts["summary"])
    assert share
    assert 40 < float(share[1]) <= 100
    assert re.search(r"Lost now: [\d.]+ CPU-seconds per second", texts["description"])
    place = re.search(rf"Most is lost by pod ({LOUD}-\S+) on node (node-\d)", texts["description"])
    assert place
    command = (
        f"kubectl -n monitoring exec kube-throttle-exporter-{place[2]} -- throttle-exporter explain shop/{place[1]}"
    )
    assert texts["command"] == command
    assert texts["runbook_url"].endswith(f"/docs/runbooks/{SEVERE}.md")
    assert texts["dashboard_url"].endswith(f"var-workload={LOUD}")


def test_what_people_read_is_short_and_whole(story: Story) -> None:
    pages = [body for body in story.texts["pagerduty"] if body["event_action"] == "trigger"]
    [key] = {body["dedup_key"] for body in pages}
    # The one with all of them: replicas may begin and end one after the other.
    page = max((body["payload"] for body in pages), key=lambda payload: payload["summary"])
    assert page["severity"] == "critical"
    assert re.fullmatch(rf"\[\d\] {SEVERE}: Deployment shop/{LOUD}", page["summary"])
    what = page["custom_details"]["what"]
    assert len(re.findall(rf"• Deployment shop/{LOUD} loses [\d.]+% of its run time to CPU quotas", what)) == 1
    assert "To see why: kubectl -n monitoring exec kube-throttle-exporter-node-" in what
    assert page["custom_details"]["runbook"].endswith(f"/{SEVERE}.md")
    assert [body for body in story.texts["pagerduty"] if (body["event_action"], body["dedup_key"]) == ("resolve", key)]
    tickets = [attachment for body in story.texts["slack"] for attachment in body["attachments"]]
    titles = {ticket["title"] for ticket in tickets}
    assert any(re.fullmatch(rf"\[\d\] {HIGH}: StatefulSet shop/{MODERATE}", title) for title in titles)
    assert f"[resolved] {HIGH}: StatefulSet shop/{MODERATE}" in titles
    assert not [text for ticket in tickets for text in (ticket["title"], ticket["text"]) if "<no value>" in text]


def test_a_muted_pod_is_throttled_as_much_and_nobody_is_told(story: Story) -> None:
    muted = {pod: ratio for pod, ratio in story.throttled.items() if pod.startswith(MUTED)}
    assert len(muted) == 3
    assert min(muted.values()) > 0.5
    about = [labels for sample in story.alerts if MUTED in (labels := sample["metric"]).get("workload", "")]
    assert about == []
    assert [
        page for page in story.notified for alert in page.alerts if MUTED in alert["labels"].get("workload", "")
    ] == []


def test_severe_inhibits_high(story: Story) -> None:
    assert len([labels for labels in story.firing(HIGH) if labels["workload"] == LOUD]) == 1
    held = [alert for alert in story.managed if _is(alert, HIGH, LOUD)]
    assert len(held) == 1
    assert all(alert["status"]["state"] == "suppressed" and alert["status"]["inhibitedBy"] for alert in held)
    # Pods younger than ten minutes never page, so the ticket may come first; after the page, none comes again.
    first = next(number for number, page in enumerate(story.notified) if SEVERE in page.names())
    told = [alert for page in story.notified[first:] for alert in page.alerts if alert["status"] == "firing"]
    assert [alert for alert in told if _is(alert, HIGH, LOUD)] == []


def test_high_alone_is_told_and_is_no_page(story: Story) -> None:
    severe = {labels["workload"] for labels in story.firing(SEVERE)}
    assert MODERATE not in severe
    told = [page for page in story.notified_under_load if HIGH in page.names()]
    assert {alert["labels"]["workload"] for page in told for alert in page.alerts if _is(alert, HIGH)} >= {MODERATE}
    paged = {page.receiver for page in story.notified_under_load if SEVERE in page.names()}
    assert paged.isdisjoint(page.receiver for page in told)


def _is(alert: dict[str, Any], name: str, workload: str | None = None) -> bool:
    labels = alert["labels"]
    return labels["alertname"] == name and workload in {None, labels.get("workload")}


def test_info_alerts_notify_nobody(story: Story) -> None:
    told = [alert for page in story.notified for alert in page.alerts]
    assert [alert for alert in told if alert["labels"]["severity"] == "info"] == []


def test_a_quota_above_the_containers_is_found(story: Story) -> None:
    found = {labels["pod"] for labels in story.firing("PodCPUThrottledByAncestor")}
    assert any(pod.startswith("report-") for pod in found)


def test_nothing_is_wrong_with_the_exporters(story: Story) -> None:
    firing = [sample["metric"] for sample in story.alerts if sample["metric"]["alertstate"] == "firing"]
    wrong = {(labels["alertname"], labels["node"]) for labels in firing if labels["alertname"].startswith("Throttle")}
    # The real node sees all cgroups of this machine, those of other tests' nodes too.
    assert wrong <= {("ThrottleExporterPodsUnmapped", "node-1")}


def test_all_is_over_when_the_load_has_ended(story: Story) -> None:
    last: dict[str, str] = {}
    for page in story.notified:
        for alert in page.alerts:
            if alert["labels"]["alertname"] == SEVERE:
                last[alert["labels"]["workload"]] = alert["status"]
    assert set(last) == {LOUD}
    assert set(last.values()) == {"resolved"}


COUNTED = {"limited": ("dns-autoscaler", "autoscaler"), "unlimited": ("catalog", "cache")}
UNCOUNTED = {"usage_modes", "distribution", "recommend"}
"""Off by default, or without a sample until enough is known."""
COUNTED_PODS = {"limited_pod": "dns-autoscaler", "unlimited_pod": "indexer"}


@pytest.mark.parametrize("collector", SERIES)
def test_the_calculator_counts_the_series_of_a_real_page(collector: str, story: Story) -> None:
    def count(row_type: str, pod: str, **labels: str) -> int:
        families = {one.name for one in FAMILIES if one.row_type == row_type and one.metric.collector == collector}
        found = [(name, dict(pairs)) for name, pairs in story.page.samples if name in families]
        return len([1 for _, has in found if has["pod"].startswith(pod) and labels.items() <= has.items()])

    assert SERIES[collector] == PerCgroup(
        **{kind: count("container", pod, container=name) for kind, (pod, name) in COUNTED.items()},
        **{kind: count("pod", pod) for kind, pod in COUNTED_PODS.items()},
    )


def test_the_calculator_knows_every_collector_and_the_rest_of_the_page(story: Story) -> None:
    assert {one.metric.collector for one in FAMILIES} - {None, *UNCOUNTED} == set(SERIES)
    rest = [name for name, _ in story.page.samples if not name.startswith(("cgroup_container_", "cgroup_pod_"))]
    assert 0.8 * PER_NODE < len(rest) <= PER_NODE


def test_every_variable_offers_something(story: Story) -> None:
    empty = {(board, name) for board, found in story.choices.items() for name, values in found.items() if not values}
    # One cluster that is called nothing is as good as one that has a name.
    assert {pair for pair in empty if pair[1] != "cluster"} == set()


def test_every_query_of_every_panel_returns_data(story: Story) -> None:
    assert len(story.answers) > 80
    asked = {(query.board, query.where) for query in story.answers}
    assert set(EMPTY_BY_NATURE) <= asked
    empty = {(query.board, query.where) for query, count in story.answers.items() if not count}
    assert empty - set(EMPTY_BY_NATURE) == set()


def test_every_row_of_a_table_is_one_subject(story: Story) -> None:
    assert set(story.tables) == set(SUBJECTS)
    assert {title: rows for title, (rows, subjects) in story.tables.items() if len(rows) != len(subjects)} == {}
    assert len([rows for rows, _ in story.tables.values() if len(rows) > 1]) > 5
