"""Online CPUs and NUMA nodes, from what sysfs says and where it says nothing."""

from pathlib import Path

import pytest

from exporter.node.machine import Topology, read_topology
from tests.support.recordings import TREES


def sysfs(root: Path, *, online: str | None = None, **nodes: str) -> str:
    base = root / "devices" / "system"
    if online is not None:
        (base / "cpu").mkdir(parents=True)
        (base / "cpu" / "online").write_text(online)
    for name, cpus in nodes.items():
        (base / "node" / name).mkdir(parents=True)
        (base / "node" / name / "cpulist").write_text(cpus)
    return str(root)


def test_each_cpu_is_on_its_node(tmp_path: Path) -> None:
    found = read_topology(sysfs(tmp_path, online="0-3\n", node0="0-1\n", node1="2-3\n"))
    assert found == Topology(frozenset({0, 1, 2, 3}), {0: 0, 1: 0, 2: 1, 3: 1})


def test_a_node_without_cpus_and_one_that_lost_its_only_one_hold_none(tmp_path: Path) -> None:
    found = read_topology(sysfs(tmp_path, online="0\n", node0="0\n", node1="\n", node10=""))
    assert found == Topology(frozenset({0}), {0: 0})


def test_what_is_beside_the_nodes_is_none(tmp_path: Path) -> None:
    root = sysfs(tmp_path, online="0-1\n", node0="0-1\n", node="0\n", nodex="0\n", node0x="1\n", power="0\n")
    (tmp_path / "devices" / "system" / "node" / "online").write_text("0\n")
    (tmp_path / "devices" / "system" / "node" / "node7").write_text("a file")
    (tmp_path / "devices" / "system" / "node" / "node8").mkdir()
    assert read_topology(root) == Topology(frozenset({0, 1}), {0: 0, 1: 0})


def test_without_sysfs_nothing_is_known_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert read_topology(str(tmp_path)) == Topology()
    assert read_topology(str(tmp_path / "absent")) == Topology()


def test_without_numa_the_cpus_are_known(tmp_path: Path) -> None:
    assert read_topology(sysfs(tmp_path, online="0-7\n")) == Topology(frozenset(range(8)))


@pytest.mark.parametrize("text", ["0-3,8,10-9,x\n", "\x00\n", "0-4294967295\n"])
def test_a_list_that_is_none_is_told_and_costs_only_itself(tmp_path: Path, text: str) -> None:
    found = read_topology(sysfs(tmp_path, online=text, node0="0-1\n", node1=text))
    assert (found.online, found.numa_node) == (None, {0: 0, 1: 0})
    assert sorted(problem.path for problem in found.problems) == [
        str(tmp_path / "devices/system/cpu/online"),
        str(tmp_path / "devices/system/node/node1/cpulist"),
    ]
    assert all(problem.stage == "parse" for problem in found.problems)


def test_nodes_are_counted_once_however_many_cpus_are_on_them() -> None:
    found = Topology(frozenset(range(6)), {0: 0, 1: 0, 2: 1, 3: 1, 4: 2})
    assert found.numa_nodes_of(frozenset({0, 1})) == 1
    assert found.numa_nodes_of(frozenset({1, 2, 3})) == 2
    assert found.numa_nodes_of(frozenset(range(5))) == 3
    assert found.numa_nodes_of(frozenset({0, 5})) == 1, "CPU 5 is on no node that is known"


def test_nodes_of_cpus_of_which_nothing_is_known_are_not_zero() -> None:
    assert Topology().numa_nodes_of(frozenset({0})) is None
    assert Topology(numa_node={0: 0}).numa_nodes_of(frozenset()) is None
    assert Topology(numa_node={0: 0}).numa_nodes_of(frozenset({7})) is None


def test_recorded_two_node_machine() -> None:
    found = read_topology(str(TREES / "linux-6.18-cgroup-v2-systemd" / "t0" / "sys"))
    assert found.online == frozenset(range(4))
    assert set(found.numa_node) == {0, 1, 2, 3}
    assert set(found.numa_node.values()) == {0, 1}
    assert found.problems == ()
