"""Any snapshot a sampler could publish, and a few that it never should."""

from __future__ import annotations

from hypothesis import strategies as st

from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodSpec
from exporter.model import (
    RATIO_BUCKETS,
    CgroupName,
    CgroupRef,
    CgroupRow,
    CpuLimits,
    Cpuset,
    CpuStat,
    Distribution,
    NodeRow,
    Pressure,
    Recommendation,
    Snapshot,
    Window,
)

texts = st.text(max_size=8) | st.sampled_from(
    ("", '"', "\\", "\n", '\\"\n', "\\n", "}", '",pod="x', "é", "\u2028", "\x00", "\r", "web-7c9f5d6b84-x2x4q", " ")
)
numbers = (
    st.floats()
    | st.integers(0, 2**64 - 1)
    | st.sampled_from((0, 0.0, -0.0, 1e-7, 1e-5, 0.1, 1, 999_999.9, 1e6, 1_000_000, 1e21, 2**64 - 1, 123456789.125))
)
counts = st.none() | st.integers(0, 2**64 - 1)
maybe = st.none() | numbers
cpu_sets = st.frozensets(st.integers(0, 15), max_size=6)

stats = st.builds(CpuStat, counts, counts, maybe, counts, maybe, maybe, maybe, maybe, maybe)
limits = st.builds(
    CpuLimits,
    st.sampled_from(("set", "none", "unsupported")),
    maybe,
    maybe,
    maybe,
    counts,
    counts,
)
distributions = st.lists(st.integers(0, 10**9), min_size=len(RATIO_BUCKETS), max_size=len(RATIO_BUCKETS)).map(
    lambda found: Distribution(tuple(sorted(found)), float(sum(found)))
)
containers = st.builds(
    ContainerIdentity,
    texts,
    texts,
    st.sampled_from(("container", "init", "sidecar", "ephemeral")),
    texts,
    st.booleans(),
    st.none() | st.builds(ContainerSpec, maybe, maybe, maybe, maybe),
)
pod_specs = st.none() | st.builds(PodSpec, st.sampled_from(("Guaranteed", "Burstable", "BestEffort")), maybe, maybe)
pods = st.builds(PodIdentity, texts, texts, texts, pod_specs, texts, texts, alert_threshold_ratio=maybe)
refs = st.builds(
    CgroupRef,
    texts,
    texts,
    texts,
    st.none() | texts,
    st.sampled_from(("Guaranteed", "Burstable", "BestEffort")),
    texts,
    st.sampled_from(("cgroupfs", "systemd")),
)


def rows_of(container: st.SearchStrategy[str | None]) -> st.SearchStrategy[CgroupRow]:
    """Rows whose third name is drawn from ``container``."""
    return st.builds(
        CgroupRow,
        namespace=texts,
        pod=texts,
        container=container,
        live=st.booleans(),
        ref=refs,
        stat=stats,
        local_throttled_seconds=maybe,
        pressure=st.none() | st.builds(Pressure, maybe, maybe),
        window=st.none() | st.builds(Window, numbers, st.just(1), st.just(0), numbers, numbers),
        limits=st.none() | limits,
        effective_limit_cores=maybe,
        cpuset=st.none() | st.builds(Cpuset, cpu_sets, cpu_sets, texts),
        numa_nodes=st.none() | st.integers(0, 8),
        identity=st.none() | containers,
        pod_identity=st.none() | pods,
        isolation=st.none() | st.sampled_from(("exclusive", "shared", "eligible")),
        exclusive=st.none() | st.booleans(),
        limit_drift=st.none() | st.booleans(),
        recommendation=st.none() | st.builds(Recommendation, maybe, numbers, numbers, maybe),
        distribution=st.none() | distributions,
    )


def unique(rows: st.SearchStrategy[CgroupRow]) -> st.SearchStrategy[tuple[CgroupRow, ...]]:
    """Some rows, no two of one name."""
    return st.lists(rows, max_size=3, unique_by=lambda row: row[:3]).map(tuple)


kubelets = st.builds(
    KubeletConfig,
    cpu_manager_policy=st.none() | texts,
    cpu_manager_policy_options=st.none() | st.dictionaries(texts, texts, max_size=2),
    topology_manager_policy=st.none() | texts,
    topology_manager_scope=st.none() | texts,
    cpu_cfs_quota=st.none() | st.booleans(),
    cpu_cfs_quota_period_seconds=maybe,
    reserved_system_cpus=st.none() | texts | st.just("0-1"),
)
nodes = st.builds(
    NodeRow,
    hierarchy=st.sampled_from(("v1", "v2", "hybrid")),
    driver=st.sampled_from((None, "cgroupfs", "systemd")),
    kernel_release=st.none() | texts,
    cfs_quota_bug=st.sampled_from(("affected", "fixed", "unknown")),
    online_cpus=st.none() | cpu_sets,
    kubelet=st.none() | kubelets,
    numa_node=st.dictionaries(st.integers(0, 15), st.integers(0, 3), max_size=4),
    shared_cpus=st.none() | cpu_sets,
    owners=st.dictionaries(st.integers(0, 15), st.builds(CgroupName, texts, texts, texts), max_size=4),
)
snapshots = st.builds(
    Snapshot,
    taken_at=st.just(0.0),
    tick=st.just(1),
    settings_version=st.just(1),
    containers=unique(rows_of(texts)),
    pods=unique(rows_of(st.none())),
    node=nodes,
)
