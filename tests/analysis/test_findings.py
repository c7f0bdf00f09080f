"""All findings together: each cause has its own and no other, the unknown makes none, every one has a page."""

import json
import math
import re
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.findings import find
from exporter.analysis.findings.finding import TEXTS
from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodSpec
from exporter.model import (
    Ancestor,
    CgroupName,
    CgroupRef,
    CgroupRow,
    CpuLimits,
    CpuManagerState,
    Cpuset,
    CpuStat,
    CpuTimes,
    Deltas,
    Interval,
    NodeRow,
    Overlap,
    Recommendation,
    Snapshot,
    Window,
)
from tests.analysis.causes import CASES, Case
from tests.support import snapshots as make

NAMES = sorted(TEXTS.keys() - {"limit_advice"})
PAGES = Path(__file__).parent.parent.parent / "docs" / "findings"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_each_cause_has_its_finding_and_no_other(case: Case) -> None:
    found = find(case.snapshot)
    assert sorted((one["name"], one["reason"]) for one in found) == list(case.findings)
    for one in found:
        assert re.search(r"[0-9]", one["summary"]), "a cause is told with its numbers"
        for sentence in (one["summary"], one["advice"]):
            assert sentence[0].isupper() or sentence[0].isdigit() or sentence.startswith("shop/")
            assert sentence.endswith(".")
            assert "  " not in sentence
        assert one["evidence"]
        json.dumps(dict(one["evidence"]), allow_nan=False)


def test_every_finding_is_among_the_causes() -> None:
    assert {name for case in CASES for name, _ in case.findings} == set(NAMES)


def test_the_worst_comes_first() -> None:
    ratios = {"a": 0.3, "b": 0.9, "c": 0.5}
    rows = [
        make.container(name, limit=2.0, window=make.window(ratio), intervals=(), deltas=None)
        for name, ratio in ratios.items()
    ]
    idle = make.container("z", limit=2.0, limits=make.limits(None), window=None, effective_limit_cores=8.0)
    on = make.node(kubelet=KubeletConfig(cpu_manager_policy="none", cpu_cfs_quota=False))
    found = find(make.snapshot(idle, *rows, on=on))
    assert [(one["severity"], one["subject"] and one["subject"]["pod"]) for one in found] == [
        ("critical", "b"),
        ("critical", "c"),
        ("warning", "a"),
        ("info", "z"),
    ]


def blind(row: CgroupRow, field: str) -> CgroupRow:
    unknown: dict[str, Any] = {field: () if field == "intervals" else None}
    return row._replace(**unknown)


KNOWABLE = [
    field
    for field, kind in get_type_hints(CgroupRow).items()
    if (type(None) in get_args(kind) and field != "container") or field == "intervals"
]


@pytest.mark.parametrize("field", KNOWABLE)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_is_not_known_adds_no_finding_of_its_own(case: Case, field: str) -> None:
    rows = tuple(blind(row, field) for row in case.snapshot.containers)
    snapshot = Snapshot(
        taken_at=0.0,
        tick=1,
        settings_version=1,
        containers=rows,
        pods=case.snapshot.pods,
        node=case.snapshot.node,
    )
    names = {name for name, _ in case.findings}
    # Without a detailed snapshot bursts cannot be told from need.
    allowed = names | ({"throttled"} if "throttled_below_limit" in names else set())
    assert {one["name"] for one in find(snapshot)} <= allowed


# Random snapshots

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 100) | st.sampled_from([0.0, 1.0, 60.0])
maybe = st.none() | numbers
counts = st.integers(0, 1000)
cores = st.floats(0.01, 64)
deltas_st = st.none() | st.builds(Deltas, numbers, maybe, maybe, maybe, maybe, maybe, maybe, maybe)
cpusets = st.frozensets(st.integers(0, 5), max_size=6)
cgroup_names = st.builds(CgroupName, st.just("ns"), st.sampled_from("ab"), st.sampled_from("xy"))
window_st = st.none() | st.builds(Window, numbers, counts, counts, numbers, numbers)
limits_st = st.none() | st.builds(
    CpuLimits, st.sampled_from(["set", "none", "unsupported"]), maybe, maybe, maybe, st.none() | counts
)
qos = st.sampled_from(["Guaranteed", "Burstable", "BestEffort"])
refs = st.builds(
    CgroupRef,
    st.just("kubepods/p/c"),
    st.sampled_from(["kubepods/p", "kubepods/q"]),
    st.just("uid"),
    st.just("id"),
    qos,
    st.just(""),
    st.just("cgroupfs"),
)
identities = st.none() | st.builds(
    ContainerIdentity,
    st.just("id"),
    st.just("x"),
    st.sampled_from(["container", "init", "sidecar", "ephemeral"]),
    st.just(""),
    st.booleans(),
    st.none() | st.builds(ContainerSpec, st.none() | st.floats(0, 64), st.none() | st.floats(0, 64)),
)
pod_specs = st.none() | st.builds(PodSpec, qos, maybe, maybe)
pods_st = st.none() | st.builds(
    PodIdentity, st.just("uid"), st.just("ns"), st.just("a"), pod_specs, st.just("Pod"), st.just("a")
)


def rows_of(container: st.SearchStrategy[Any]) -> st.SearchStrategy[CgroupRow]:
    return st.builds(
        CgroupRow,
        st.just("ns"),
        st.sampled_from("ab"),
        container,
        st.booleans(),
        refs,
        limits_st,
        st.none() | st.builds(Cpuset, cpusets, st.just(frozenset({0})), st.just("member")),
        identities,
        pods_st,
        effective_limit_cores=maybe,
        numa_nodes=st.none() | st.integers(1, 4),
        stat=st.just(CpuStat()),
        local_throttled_seconds=maybe,
        pressure=st.none(),
        window=window_st,
        distribution=st.none(),
        isolation=st.none() | st.sampled_from(["exclusive", "shared", "eligible"]),
        exclusive=st.none() | st.booleans(),
        limit_drift=st.none() | st.booleans(),
        threads=st.none() | counts,
        deltas=deltas_st,
        placement_deltas=deltas_st,
        recommendation=st.none() | st.builds(Recommendation, st.none() | cores, cores, cores, st.none() | cores),
        intervals=st.lists(st.builds(Interval, numbers, counts, counts, numbers), max_size=4).map(tuple),
    )


nodes = st.builds(
    NodeRow,
    st.just("v2"),
    st.none(),
    st.none() | st.just("6.1.0"),
    st.sampled_from(["affected", "fixed", "unknown"]),
    st.none() | cpusets,
    st.none()
    | st.builds(
        KubeletConfig,
        cpu_manager_policy=st.none() | st.sampled_from(["none", "static"]),
        cpu_cfs_quota=st.none() | st.booleans(),
    ),
    st.dictionaries(st.integers(0, 5), st.integers(0, 2)),
    st.none() | cpusets,
    st.dictionaries(st.integers(0, 5), cgroup_names),
    st.lists(st.builds(Overlap, cgroup_names, cgroup_names, cpusets, st.floats(0, 1e6)), max_size=3).map(tuple),
    st.none()
    | st.builds(
        CpuManagerState,
        st.sampled_from(["none", "static"]),
        cpusets,
        st.dictionaries(st.tuples(st.just("uid"), st.sampled_from("xy")), cpusets),
    ),
    st.dictionaries(st.integers(0, 5), st.builds(CpuTimes, numbers, numbers, numbers, numbers, st.booleans())),
    ancestors=st.dictionaries(st.just("kubepods"), st.builds(Ancestor, limits_st, deltas_st)),
)


@given(
    st.lists(rows_of(st.sampled_from("xy")), max_size=4),
    st.lists(rows_of(st.none()), max_size=2),
    nodes,
)
def test_no_snapshot_breaks_it(rows: list[CgroupRow], pods: list[CgroupRow], node: NodeRow) -> None:
    snapshot = Snapshot(taken_at=0.0, tick=1, settings_version=1, containers=tuple(rows), pods=tuple(pods), node=node)
    for one in find(snapshot):
        assert one["name"] in NAMES
        for value in one["evidence"].values():
            assert isinstance(value, str) or math.isfinite(value)
        assert "nan" not in one["summary"]
        assert "None" not in one["summary"] + one["advice"]


# Pages


def section(page: str, title: str) -> str:
    """The text below ``## title``."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def first_column(table: str) -> set[str]:
    return set(re.findall(r"^\| `([a-zA-Z_]+)` \|", table, re.MULTILINE))


def test_every_finding_has_a_page_and_every_page_a_finding() -> None:
    assert {page.stem for page in PAGES.glob("*.md")} == {*NAMES, "README"}
    found = [one for case in CASES for one in find(case.snapshot)]
    assert {one["docs"] for one in found} == {f"docs/findings/{name}.md" for name in NAMES}
    index = (PAGES / "README.md").read_text()
    listed = re.findall(r"^\| \[`(\w+)`\]\((\w+)\.md\) \| (\w+)", index, re.MULTILINE)
    assert sorted(name for name, _, _ in listed) == sorted(NAMES)
    for name, page, severity in listed:
        assert page == name
        assert severity in {one["severity"] for one in found if one["name"] == name}


@pytest.mark.parametrize("name", NAMES)
def test_a_page_says_what_the_finding_means_and_what_to_do(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    assert page.startswith(f"# {name}\n")
    for title in ("Meaning", "Evidence", "Confirm by hand", "What to do", "When to do nothing"):
        assert len(section(page, title).split()) > 8, title


@pytest.mark.parametrize("name", NAMES)
def test_a_page_knows_every_reason_and_every_number(name: str) -> None:
    page = (PAGES / f"{name}.md").read_text()
    found = [one for case in CASES for one in find(case.snapshot) if one["name"] == name]
    assert first_column(section(page, "Reasons")) == {one["reason"] for one in found} - {""}
    keys = {re.sub(r"_\d+", "_N", key) for one in found for key in one["evidence"]}
    assert first_column(section(page, "Evidence")) == keys
