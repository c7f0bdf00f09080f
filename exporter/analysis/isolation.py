"""Which containers own their CPUs, from the cpusets of all of them. Pure.

The kubelet's CPU manager gives CPUs to a container by narrowing every other container's cpuset; nothing in the tree
says so outright. So a container is taken to own its CPUs when the kubelet would give it CPUs of its own (Guaranteed, a
whole number requested) and its cpuset keeps apart from every other container's. The kubelet's checkpoint is no better
witness: with ``topology-manager-scope=pod`` it lists shared containers too (KEP-5526).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from exporter.analysis.nodeview import Cpus, grouped
from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.identities import ContainerIdentity, ContainerType, KubeletConfig, PodIdentity
from exporter.model import CgroupName, CgroupRef, CpuLimits, IsolationState, Overlap, qos_class_of

Pair = tuple[CgroupName, CgroupName]  # who should own the CPUs, and who may run on some of them

MAX_OVERLAPS = 32  # followed per owner: when all cpusets are reset at once, every container overlaps every owner
SHARES_PER_CPU = 1024  # kubelet ``pkg/kubelet/cm/helpers_linux.go``


class CpusetUser(NamedTuple):
    """One live container (never a sandbox, a pod or a QoS group) and where it may run."""

    name: CgroupName
    pod_path: str
    cpus: Cpus
    whole_cpus: int | None  # how many the CPU manager would give it, see :func:`claim_of`; ``None``: none
    container_type: ContainerType | None
    claim_is_known: bool = True  # false where neither spec nor shares tell what it asked for (v2 without a pod list)
    entry: Cpus | None = None  # in the CPU manager's checkpoint; CRI-O's mixed CPUs add shared ones to its cpuset
    is_partition: bool = False  # root of a cpuset partition: the kernel takes its CPUs from everybody else


@dataclass(frozen=True, slots=True)
class Isolation:
    """The verdict on a node."""

    states: Mapping[CgroupName, IsolationState]
    """How the kubelet placed it, where known. One that was given CPUs stays ``exclusive`` while others intrude."""
    exclusive: Mapping[CgroupName, bool]  # whether that holds: false as soon as an overlap is believed
    owners: Mapping[int, CgroupName]  # CPU -> the container that alone may run there
    shared: Cpus | None  # usable, without an owner, in some cpuset; ``None`` where the online CPUs are not known
    overlaps: tuple[Overlap, ...]  # those that are believed: older than ``reconcile``
    memory: Mapping[Pair, float]
    """When each overlap was first seen, and under twice its name when an owner was first alone; for the next call."""


def claim_of(
    ref: CgroupRef, limits: CpuLimits | None, container: ContainerIdentity | None, pod: PodIdentity | None
) -> tuple[int | None, bool]:
    """Return how many CPUs of its own the static CPU manager would give a container, and whether that is known.

    ``None`` CPUs when it would give none. Without a spec, v1's ``cpu.shares`` tells the request: 1024 a CPU. v2's
    weight does not (two conversions exist), nor does a list of names alone (log files).
    Source: kubelet ``pkg/kubelet/cm/cpumanager/policy_static.go``, ``guaranteedCPUs``.
    """
    if qos_class_of(ref, pod) != "Guaranteed":
        return None, True
    spec = None if container is None else container.spec
    if spec is None:
        shares = None if limits is None else limits.shares
        return (shares // SHARES_PER_CPU if shares and shares % SHARES_PER_CPU == 0 else None), shares is not None
    limit = spec.limit_cores if spec.allocated_limit_cores is None else spec.allocated_limit_cores
    requests = (spec.allocated_request_cores, spec.request_cores, limit)
    request = next((cores for cores in requests if cores is not None), None)
    # With pod-level resources a pod is Guaranteed whatever its containers ask for.
    return (int(request) if request and request == limit and request == int(request) else None), True


def isolate(
    users: Sequence[CpusetUser],
    online: Cpus | None,
    memory: Mapping[Pair, float],
    now: float,
    reconcile: float,
    *,
    pins: bool | None = True,
    usable: Cpus | None = None,
) -> Isolation:
    """Return the verdict at monotonic ``now``. ``reconcile``: the kubelet's period, after which overlaps count.

    ``users`` in a steady order. Where ``online`` is not known, the CPUs that anybody may use stand in for it. ``pins``:
    whether the kubelet's CPU manager gives CPUs away, ``None`` where that is unknown. DRA drivers and NRI plugins give
    CPUs under the policy ``none``: then an owner is who has been alone on its CPUs. ``usable``: the root's effective
    cpuset.
    """
    cpusets = _Cpusets(users)
    some = frozenset[int]().union(*cpusets.users)
    # The kernel takes a partition's CPUs out of the root's effective cpuset.
    partitions = frozenset[int]().union(*(user.cpus for user in users if user.is_partition))
    within = usable | partitions if usable else some or online or frozenset()
    everywhere = (some if online is None else online) & within
    states: dict[CgroupName, IsolationState] = {}
    placed: dict[CgroupName, tuple[CpusetUser, Cpus]] = {}
    remembered: dict[Pair, float] = {}
    for cpus, members in cpusets.users.items():
        in_pool = cpus == cpusets.pool or cpus >= everywhere
        for user in members:
            own, name = _own_cpus(user, in_pool=in_pool, everywhere=everywhere), user.name
            if own and not (user.is_partition or user.entry is not None or (pins and user.claim_is_known)):
                # Nothing else vouches for it. Without its spec only its cpuset speaks: apart from the pool, too.
                apart = user.claim_is_known or (cpusets.pool is not None and cpusets.pool.isdisjoint(own))
                if apart and not any(cpusets.intruders(user, own)):
                    remembered[name, name] = memory.get((name, name), now)
                elif user.claim_is_known and (name, name) in memory:
                    remembered[name, name] = memory[name, name]
                else:
                    own = frozenset()
            if own:
                states[name] = "exclusive"
                placed[name] = user, own
            elif user.claim_is_known or user.is_partition:
                states[name] = "shared" if user.whole_cpus is None or not cpus else "eligible"
    overlaps = {
        (owner.name, other.name): own & other.cpus
        for owner, own in placed.values()
        for other in islice(cpusets.intruders(owner, own), MAX_OVERLAPS)
    }
    since = {pair: memory.get(pair, now) for pair in overlaps}
    believed = [Overlap(*pair, overlaps[pair], now - at) for pair, at in since.items() if now - at > reconcile]
    lost = grouped((overlap.owner, overlap.cpus) for overlap in believed)
    exclusive = dict.fromkeys(states, False) | dict.fromkeys(placed, True) | dict.fromkeys(lost, False)
    # Init containers first, so that the container which takes over their CPUs is the one shown.
    in_order = sorted(placed.values(), key=lambda one: one[0].container_type != "init")
    owners = {
        cpu: user.name for user, own in in_order for cpu in (own & everywhere).difference(*lost.get(user.name, ()))
    }
    pooled = (some & everywhere) if users else everywhere
    shared = None if online is None else pooled - owners.keys()
    return Isolation(states, exclusive, owners, shared, tuple(believed), remembered | since)


class _Cpusets:
    """Containers by cpuset: few sets are shared by many."""

    def __init__(self, users: Iterable[CpusetUser]) -> None:
        self.users = grouped((user.cpus, user) for user in users)
        self._by_cpu = grouped((cpu, cpus) for cpus in self.users for cpu in cpus)
        # The cpuset that most containers without a claim have, if two agree. One with a claim may be in a pool that has
        # shrunk to the very number of CPUs it asked for.
        plain = {cpus: sum(user.whole_cpus is None for user in users) for cpus, users in self.users.items()}
        ranks = {cpus: (count, count == len(self.users[cpus]), len(cpus)) for cpus, count in plain.items() if count > 1}
        self.pool = max(ranks, key=lambda cpus: ranks[cpus], default=None)

    def intruders(self, owner: CpusetUser, own: Cpus) -> Iterator[CpusetUser]:
        """Yield the other containers that may run on ``own``.

        Init containers hand their CPUs on to the containers of their pod; a sidecar keeps its own.
        """
        for cpus in dict.fromkeys(held for cpu in own for held in self._by_cpu[cpu]):
            for other in self.users[cpus]:
                same_pod = other.pod_path == owner.pod_path
                if same_pod and {owner.container_type, other.container_type} & {"init", None}:
                    continue
                if other.name != owner.name:
                    yield other


def _own_cpus(user: CpusetUser, *, in_pool: bool, everywhere: Cpus) -> Cpus:
    """Return the CPUs that a container was given, by a partition, the checkpoint, or its claim; empty for none."""
    if user.is_partition:
        return frozenset() if user.cpus >= everywhere else user.cpus
    if user.entry is not None and user.entry <= user.cpus and (user.entry == user.cpus or not in_pool):
        return user.entry
    if in_pool or (user.claim_is_known and user.whole_cpus is None):
        return frozenset()
    # More CPUs than it asked for are the shared pool with nobody else in it yet.
    return frozenset() if user.whole_cpus is not None and len(user.cpus) > user.whole_cpus else user.cpus


def reserved_cpus(kubelet: KubeletConfig | None) -> Cpus | None:
    """Return the CPUs that the kubelet reserves for the system; ``None`` where it does not say."""
    if kubelet is None or kubelet.reserved_system_cpus is None:
        return None
    try:
        return cpu_list(kubelet.reserved_system_cpus, "reservedSystemCPUs")
    except ParseError:  # the kubelet would not have started with it
        return None
