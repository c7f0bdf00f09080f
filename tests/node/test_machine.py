"""Release, kernel bug, online CPUs and NUMA nodes: what the kernel says, and where it says nothing."""

from pathlib import Path

import pytest

from exporter.model import CfsQuotaBug
from exporter.node.machine import Topology, cfs_quota_bug, read_release, read_topology

RELEASES: dict[str, CfsQuotaBug] = {
    # mainline: broken by 512ac999d275 in 4.18, mended by de53fd7aedb1 in 5.4; stable lines took one of them, or both
    **dict.fromkeys(("4.18.0", "4.20.17", "5.2.21", "4.14.95", "4.14.153", "4.19.0", "4.19.83", "5.3.8"), "affected"),
    **dict.fromkeys(("4.17.19", "5.4.0", "5.4.0-rc8", "6.18.38", "10.0.1", "5.15"), "fixed"),
    **dict.fromkeys(("4.14.94", "4.14.154", "4.19.84", "5.3.9", "4.9.200", "3.16.85"), "fixed"),
    # vendors number their own patches on an old base
    **dict.fromkeys(("3.10.0-1160.el7.x86_64", "4.18.0-305.el8.x86_64", "4.15.0-1060-aws"), "unknown"),
    **dict.fromkeys(("4.14.97-90.72.amzn2.x86_64", "4.19.0-6-amd64", "4.19.112+", "5.3.0-rc1"), "unknown"),
    # and nobody numbers a kernel of 5.4 or later that has the fault
    **dict.fromkeys(("5.4.0-1018-aws", "5.14.0-362.el9.x86_64", "6.1.0-56-cloud-amd64"), "fixed"),
    **dict.fromkeys(("", "linux", "5", "5.", "v5.4.0", "4.19", "4.19."), "unknown"),
}


def test_release_says_whether_the_kernel_has_the_fault() -> None:
    assert {release: cfs_quota_bug(release) for release in RELEASES} == RELEASES
    for odd in (None, "9" * 5000 + ".1.2", "4.19." + "9" * 5000, "\u0664.\u0661\u0669.\u0661"):
        assert cfs_quota_bug(odd) == "unknown"


@pytest.mark.parametrize(
    ("version", "release"),
    [
        (None, None),
        (b"Linux version\n", None),
        (b"Linux version 6.1.0-56-cloud-amd64 (debian-kernel@lists.debian.org) #1 SMP\n", "6.1.0-56-cloud-amd64"),
        (b"Linux version 6.1\xff\n", "6.1\ufffd"),
        (b"Linux version " + b"9" * 10_000_000, "9" * 4082),
    ],
)
def test_release_is_read_from_sysctl_before_version(tmp_path: Path, version: bytes | None, release: str | None) -> None:
    if version is not None:
        (tmp_path / "version").write_bytes(version)
    assert read_release(str(tmp_path)) == release
    osrelease = tmp_path / "sys" / "kernel" / "osrelease"
    osrelease.mkdir(parents=True)
    assert read_release(str(tmp_path)) == release
    osrelease.rmdir()
    osrelease.write_text("6.18.15+deb13-cloud-amd64\n")
    assert read_release(str(tmp_path)) == "6.18.15+deb13-cloud-amd64"


# ---- topology ----


def sysfs(root: Path, *, online: str | None = None, **nodes: str) -> str:
    base = root / "devices" / "system"
    if online is not None:
        (base / "cpu").mkdir(parents=True)
        (base / "cpu" / "online").write_text(online)
    for name, cpus in nodes.items():
        (base / "node" / name).mkdir(parents=True)
        (base / "node" / name / "cpulist").write_text(cpus)
    return str(root)


def test_each_cpu_is_on_its_node_and_what_is_beside_the_nodes_is_none(tmp_path: Path) -> None:
    root = sysfs(
        tmp_path, online="0-3\n", node0="0-1\n", node10="2-3\n", node1="\n", node="0\n", node0x="5\n", power="0\n"
    )
    (tmp_path / "devices" / "system" / "node" / "online").write_text("0\n")
    (tmp_path / "devices" / "system" / "node" / "node7").write_text("a file")
    (tmp_path / "devices" / "system" / "node" / "node8").mkdir()
    assert read_topology(root) == Topology(frozenset({0, 1, 2, 3}), {0: 0, 1: 0, 2: 10, 3: 10})


def test_without_sysfs_or_numa_the_rest_is_known_and_nothing_is_wrong(tmp_path: Path) -> None:
    assert read_topology(str(tmp_path)) == Topology()
    assert read_topology(sysfs(tmp_path, online="0-7\n")) == Topology(frozenset(range(8)))


@pytest.mark.parametrize("text", ["0-3,8,10-9,x\n", "0-4294967295\n"])
def test_a_list_that_is_none_is_told_and_costs_only_itself(tmp_path: Path, text: str) -> None:
    found = read_topology(sysfs(tmp_path, online=text, node0="0-1\n", node1=text))
    assert (found.online, found.numa_node) == (None, {0: 0, 1: 0})
    assert sorted(problem.path for problem in found.problems) == [
        str(tmp_path / "devices/system/cpu/online"),
        str(tmp_path / "devices/system/node/node1/cpulist"),
    ]


def test_nodes_are_counted_once_and_those_of_unknown_cpus_are_not_zero() -> None:
    found = Topology(frozenset(range(6)), {0: 0, 1: 0, 2: 1, 3: 1, 4: 2})
    counted = {(0, 1): 1, (1, 2, 3): 2, (0, 1, 2, 3, 4): 3, (0, 5): 1, (5,): None, (): None}
    assert {cpus: found.numa_nodes_of(frozenset(cpus)) for cpus in counted} == counted
