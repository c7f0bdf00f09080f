"""Every running container of a recorded node is on the page under its name, with the numbers its files hold.

What must be there is worked out from the recording alone (``tests/support/recordings.py``), so a golden page that
froze a mistake would fail here.
"""

from __future__ import annotations

import json

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import Observed
from tests.support.pages import Key, Labels, Page, triples
from tests.support.recordings import RECORDINGS, running

WINDOWS = ("cpu_throttled_ratio", "cpu_throttled_ratio_peak")


def of_the_families(page: Page, expected: dict[Key, float]) -> dict[Key, float]:
    """The page's samples of all families that are expected: one too many differs as one too few does."""
    names = {name for name, _ in expected}
    return {key: value for key, value in page.samples.items() if key[0] in names}


def test_the_page_says_what_the_files_say(observed: Observed) -> None:
    assert of_the_families(observed.first, observed.expected_first) == observed.expected_first


def test_the_page_follows_the_files(observed: Observed) -> None:
    assert of_the_families(observed.second, observed.expected_second) == observed.expected_second
    assert observed.expected_second != observed.expected_first


@pytest.mark.parametrize("prefix", ["cgroup_container_", "cgroup_pod_"])
def test_ratio_is_the_growth_of_throttled_periods_by_that_of_periods(observed: Observed, prefix: str) -> None:
    limited = observed.second.rows(f"{prefix}cpu_periods_total")
    moved = 0
    for labels in limited:
        periods = _growth(observed, f"{prefix}cpu_periods_total", labels)
        throttled = _growth(observed, f"{prefix}cpu_throttled_periods_total", labels)
        moved += periods > 0
        expected = throttled / periods if periods else 0.0

        if _limit_changed(observed, prefix, labels):
            # A window never spans a change of the limit: what moved before it is in no window after it.
            assert {observed.second.samples.get((f"{prefix}{name}", labels), 0.0) for name in WINDOWS} == {0.0}
            continue
        # Between two samples everything moved, so the one interval that moved is the peak.
        for name in WINDOWS:
            assert observed.second.samples[f"{prefix}{name}", labels] == pytest.approx(expected, abs=1e-12)
    assert moved > 0
    with_limit = {labels for labels in limited if (f"{prefix}cpu_limit_cores", labels) in observed.second.samples}
    settled = {labels for labels in with_limit if not _limit_changed(observed, prefix, labels)}
    assert settled <= set(observed.second.rows(f"{prefix}cpu_throttled_ratio")) <= with_limit


def _limit_changed(observed: Observed, prefix: str, labels: Labels) -> bool:
    key = f"{prefix}cpu_limit_cores", labels
    return observed.first.samples.get(key) != observed.second.samples.get(key)


def _growth(observed: Observed, name: str, labels: Labels) -> float:
    return observed.second.samples[name, labels] - observed.first.samples[name, labels]


with_a_kubelet = pytest.mark.parametrize(
    "observed", [one for one in RECORDINGS if one.is_v1], indirect=True, ids=lambda recording: recording.name
)

CADVISOR = {
    "container_cpu_cfs_periods_total": "cpu_periods_total",
    "container_cpu_cfs_throttled_periods_total": "cpu_throttled_periods_total",
    "container_cpu_cfs_throttled_seconds_total": "cpu_throttled_seconds_total",
    "container_cpu_usage_seconds_total": "cpu_usage_seconds_total",
}


@with_a_kubelet
def test_the_kubelets_own_numbers_agree(observed: Observed) -> None:
    """The kubelet sampled each container up to 20 s before the recording; counters cannot have been ahead of ours."""
    recording = observed.recording
    compared, limited = 0, set()
    for family in text_string_to_metric_families((recording.folder / "cadvisor.txt").read_text()):
        for sample in family.samples:
            # Rows with image and name but no container are sandboxes'.
            ours = CADVISOR.get(sample.name)
            if ours is None or (sample.labels["name"] and not sample.labels["container"]):
                continue
            kind = "container" if sample.labels["container"] else "pod"
            if kind == "container" and sample.name == "container_cpu_cfs_periods_total":
                limited.add(tuple(sample.labels[key] for key in ("namespace", "pod", "container")))
            labels = {key: sample.labels[key] for key in ("namespace", "pod", "container") if sample.labels[key]}
            value = observed.first.get(f"cgroup_{kind}_{ours}", **labels)
            assert value is not None, (sample.name, labels)
            assert sample.timestamp
            age = recording.about["cgroup"] - float(sample.timestamp)
            per_second = 1 / 0.1 if "periods" in ours else recording.about["cpus"]
            assert sample.value <= value <= sample.value + (age + 1) * per_second, (sample.name, labels, age)
            compared += 1
    # Four families of seven limited containers and six limited pods, and the use of the others.
    assert compared > 50
    # What has CFS series in cAdvisor has period counters here, and nothing else has.
    assert triples(observed.first.rows("cgroup_container_cpu_periods_total")) == limited


@with_a_kubelet
def test_isolation_is_what_the_kubelets_checkpoint_says(observed: Observed) -> None:
    recording = observed.recording
    state = json.loads((recording.folder / "cpu_manager_state.json").read_text())
    assert state["policyName"] == "static"
    for page in (observed.first, observed.second):
        for one in running(recording.pod_list):
            own = one.name in state["entries"].get(one.pod_uid, {})
            labels = {"namespace": one.namespace, "pod": one.pod, "container": one.name}
            assert page.get("cgroup_container_cpuset_exclusive", **labels) == own
            assert page.get("cgroup_container_cpu_isolation", **labels, state="exclusive" if own else "shared") == 1
