"""CPUs of the node as rows: pools, and who owns which."""

from __future__ import annotations

import pytest

from exporter.identities import KubeletConfig
from exporter.metrics.exposition import rows_of
from exporter.model import CgroupName, NodeRow
from tests.support.snapshots import node, snapshot

OWNER = CgroupName("shop", "web", "app")


def pools(found: NodeRow) -> list[tuple[str, int]]:
    return list(rows_of(snapshot(on=found))["pool"])


def assignments(found: NodeRow) -> list[tuple[str, ...]]:
    return list(rows_of(snapshot(on=found))["cpu"])


def test_a_pool_that_is_empty_is_zero_and_one_that_is_not_known_is_no_row() -> None:
    owners, kubelet = {6: OWNER, 7: OWNER}, KubeletConfig(reserved_system_cpus="0-1")
    found = node(shared_cpus=frozenset(range(6)), owners=owners, kubelet=kubelet)
    assert pools(found) == [("online", 8), ("exclusive", 2), ("shared", 6), ("reserved", 2)]
    assert pools(node()) == [("online", 8), ("exclusive", 0), ("shared", 8)]
    assert pools(node(online_cpus=None, shared_cpus=None, kubelet=None)) == []


@pytest.mark.parametrize("spelled", [None, "", "0-3,8,10-9,x", "all"])
def test_reserved_cpus_that_the_kubelet_does_not_say_are_no_row(spelled: str | None) -> None:
    assert "reserved" not in dict(pools(node(kubelet=KubeletConfig(reserved_system_cpus=spelled))))


def test_each_online_cpu_is_a_row_with_its_owner_or_none() -> None:
    found = node(online_cpus=frozenset({0, 1, 9}), owners={9: OWNER, 11: OWNER}, numa_node={0: 0, 9: 1})
    assert assignments(found) == [("0", "0", "", "", ""), ("1", "", "", "", ""), ("9", "1", *OWNER)]


@pytest.mark.parametrize("unknown", ["online_cpus", "shared_cpus"])
def test_without_cpusets_no_cpu_is_assigned_to_anybody(unknown: str) -> None:
    assert assignments(node(**{unknown: None})) == []
