"""All findings together: each cause has its own and no other, the unknown makes none, every one has a page."""

import json
import math
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.findings import find
from exporter.analysis.findings.finding import TEXTS
from exporter.identities import KubeletConfig
from exporter.model import CgroupRow, CpuLimits, CpuTimes, Deltas, Interval, NodeRow, Snapshot, Window
from tests.analysis.causes import CASES, Case
from tests.conftest import Generated
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


@pytest.mark.golden
def test_what_is_said_of_each_cause(generated: Generated) -> None:
    said = {case.title: find(case.snapshot) for case in CASES}
    generated(Path(__file__).parent / "golden" / "findings.json", json.dumps(said, indent=1, allow_nan=False) + "\n")


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


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_what_is_not_known_adds_no_finding_of_its_own(case: Case) -> None:
    names = {name for name, _ in case.findings}
    # Without a detailed snapshot bursts cannot be told from need.
    allowed = names | ({"throttled"} if "throttled_below_limit" in names else set())
    for field in KNOWABLE:
        rows = tuple(blind(row, field) for row in case.snapshot.containers)
        assert {one["name"] for one in find(replace(case.snapshot, containers=rows))} <= allowed, field


# The causes' rows and nodes with each other's fields, and with numbers that no kernel should give

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.floats(0, 100) | st.sampled_from([0.0, 1.0, 60.0])
maybe = st.none() | numbers
counts = st.integers(0, 1000)
cores = st.none() | st.floats(0.001, 512)
deltas = st.none() | st.builds(Deltas, numbers, maybe, maybe, maybe, maybe, maybe, maybe, maybe)
odd_fields: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "live": st.booleans(),
        "limits": st.builds(CpuLimits, st.sampled_from(["set", "none", "unsupported"]), cores, cores, cores),
        "effective_limit_cores": cores,
        "window": st.builds(Window, numbers, counts, counts, numbers, numbers),
        "threads": counts,
        "deltas": deltas,
        "placement_deltas": deltas,
        "intervals": st.lists(st.builds(Interval, numbers, counts, counts, numbers), max_size=4).map(tuple),
    },
)
times = st.dictionaries(st.integers(0, 7), st.builds(CpuTimes, numbers, numbers, numbers, numbers, st.booleans()))
ROWS = [row for case in CASES for row in (*case.snapshot.containers, *case.snapshot.pods)]
NODES = [case.snapshot.node for case in CASES]


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    def row() -> CgroupRow:
        mixed = draw(st.sampled_from(ROWS))
        for field in draw(st.lists(st.sampled_from(KNOWABLE), max_size=6)):
            mixed = mixed._replace(**{field: getattr(draw(st.sampled_from(ROWS)), field)})
        return mixed._replace(**draw(odd_fields))

    node = draw(st.sampled_from(NODES))
    for one in draw(st.lists(st.sampled_from(fields(NodeRow)), max_size=4)):
        node = replace(node, **{one.name: getattr(draw(st.sampled_from(NODES)), one.name)})
    if draw(st.booleans()):
        node = replace(node, cpu_times=draw(times))
    containers = tuple(row() for _ in range(draw(st.integers(0, 4))))
    pods = tuple(make.pod(row(), limit=2.0, **draw(odd_fields)) for _ in range(draw(st.integers(0, 2))))
    return Snapshot(taken_at=0.0, tick=1, settings_version=1, containers=containers, pods=pods, node=node)


@given(snapshots())
def test_no_snapshot_breaks_it(snapshot: Snapshot) -> None:
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
