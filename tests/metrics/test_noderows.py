"""CPUs of the node as rows: pools, and who owns which."""

from __future__ import annotations

import pytest
from hypothesis import given

from exporter.identities import KubeletConfig
from exporter.metrics.exposition import LABEL_VALUES, rows_of
from exporter.model import CgroupName, CpuRow, NodeRow, PoolRow
from tests.metrics.strategies import nodes
from tests.support.snapshots import node, snapshot

OWNER = CgroupName("shop", "web", "app")


def pool_rows(found: NodeRow) -> list[PoolRow]:
    return list(rows_of(snapshot(on=found))["pool"])


def cpu_rows(found: NodeRow) -> list[CpuRow]:
    return list(rows_of(snapshot(on=found))["cpu"])


def test_pools_of_a_node_of_which_all_is_known() -> None:
    found = node(
        shared_cpus=frozenset(range(6)),
        owners={6: OWNER, 7: OWNER},
        kubelet=KubeletConfig(reserved_system_cpus="0-1"),
    )
    assert pool_rows(found) == [
        PoolRow("online", 8),
        PoolRow("exclusive", 2),
        PoolRow("shared", 6),
        PoolRow("reserved", 2),
    ]


def test_a_pool_that_is_empty_is_zero_and_one_that_is_not_known_is_no_row() -> None:
    assert PoolRow("exclusive", 0) in pool_rows(node())
    unknown = node(online_cpus=None, shared_cpus=None, kubelet=None)
    assert pool_rows(unknown) == []


@pytest.mark.parametrize("spelled", [None, "", "0-3,8,10-9,x", "all"])
def test_reserved_cpus_that_the_kubelet_does_not_say_are_no_row(spelled: str | None) -> None:
    rows = pool_rows(node(kubelet=KubeletConfig(reserved_system_cpus=spelled)))
    assert "reserved" not in {row.state for row in rows}


def test_each_online_cpu_is_a_row_with_its_owner_or_none() -> None:
    found = node(online_cpus=frozenset({0, 1, 9}), owners={9: OWNER, 11: OWNER}, numa_node={0: 0, 9: 1})
    assert cpu_rows(found) == [CpuRow(0, 0, None), CpuRow(1, None, None), CpuRow(9, 1, OWNER)]
    assert [LABEL_VALUES["cpu"](row) for row in cpu_rows(found)] == [
        ("0", "0", "", "", ""),
        ("1", "", "", "", ""),
        ("9", "1", "shop", "web", "app"),
    ]


@pytest.mark.parametrize("unknown", ["online_cpus", "shared_cpus"])
def test_without_cpusets_no_cpu_is_assigned_to_anybody(unknown: str) -> None:
    assert cpu_rows(node(**{unknown: None})) == []


@given(nodes)
def test_no_state_and_no_cpu_is_a_row_twice(found: NodeRow) -> None:
    states = [row.state for row in pool_rows(found)]
    cpus = [LABEL_VALUES["cpu"](row)[0] for row in cpu_rows(found)]
    assert len(set(states)) == len(states)
    assert len(set(cpus)) == len(cpus)
