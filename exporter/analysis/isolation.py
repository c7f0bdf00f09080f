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

from exporter.cpulist import cpu_list
from exporter.errors import ParseError
from exporter.identities import ContainerIdentity, ContainerType, KubeletConfig, PodIdentity
from exporter.model import CgroupName, CgroupRef, CpuLimits, IsolationState, Overlap, qos_class_of

Cpus = frozenset[int]
Pair = tuple[CgroupName, CgroupName]
"""Who should own the CPUs, and who may run on some of them."""

MAX_OVERLAPS = 32
"""Followed per owner: when all cpusets are reset at once, every container overlaps every owner."""
SHARES_PER_CPU = 1024
"""kubelet ``pkg/kubelet/cm/helpers_linux.go``."""


class CpusetUser(NamedTuple):
    """One live container (never a sandbox, a pod or a QoS group) and where it may run."""

    name: CgroupName
    pod_path: str
    cpus: Cpus
    whole_cpus: int | None
    """How many CPUs the CPU manager would give it, see :func:`whole_cpus`; ``None`` when it would give none."""
    container_type: ContainerType | None
    claim_is_known: bool = True
    """False where neither spec nor shares tell what it asked for (v2 without a pod list)."""
    entry: Cpus | None = None
    """The CPUs that the CPU manager's checkpoint has for it; CRI-O's mixed CPUs add shared ones to its cpuset."""
    is_partition: bool = False
    """The root of a cpuset partition: the kernel takes its CPUs from everybody else, whatever the kubelet's policy."""


@dataclass(frozen=True, slots=True)
class Isolation:
    """The verdict on a node."""

    states: Mapping[CgroupName, IsolationState]
    """How the kubelet placed it, where known. One that was given CPUs stays ``exclusive`` while others intrude."""
    exclusive: Mapping[CgroupName, bool]
    """Whether that holds: false as soon as an overlap is believed."""
    owners: Mapping[int, CgroupName]
    """CPU -> the container that alone may run there."""
    shared: Cpus | None
    """Usable CPUs without an owner on which some container may run; ``None`` where the online CPUs are not known."""
    overlaps: tuple[Overlap, ...]
    """Those that are believed: older than ``reconcile``."""
    memory: Mapping[Pair, float]
    """When each overlap was first seen, and under twice its name when an owner was first alone; for the next call."""


def whole_cpus(
    ref: CgroupRef, limits: CpuLimits | None, container: ContainerIdentity | None, pod: PodIdentity | None
) -> int | None:
    """How many CPUs of its own the static CPU manager would give a container; ``None`` for none.

    Without a spec, v1's ``cpu.shares`` tells the request: 1024 a CPU. v2's weight does not (two conversions exist).
    Source: kubelet ``pkg/kubelet/cm/cpumanager/policy_static.go``, ``guaranteedCPUs``.
    """
    if qos_class_of(ref, pod) != "Guaranteed":
        return None
    spec = None if container is None else container.spec
    if spec is None:
        shares = None if limits is None else limits.shares
        return shares // SHARES_PER_CPU if shares and shares % SHARES_PER_CPU == 0 else None
    limit = _first(spec.allocated_limit_cores, spec.limit_cores)
    request = _first(spec.allocated_request_cores, spec.request_cores, limit)
    # With pod-level resources a pod is Guaranteed whatever its containers ask for.
    if not request or request != limit or request != int(request):
        return None
    return int(request)


def claim_is_known(
    ref: CgroupRef, limits: CpuLimits | None, container: ContainerIdentity | None, pod: PodIdentity | None
) -> bool:
    """Whether :func:`whole_cpus` rests on something: a list of names alone (log files) has neither class nor spec."""
    if qos_class_of(ref, pod) != "Guaranteed" or (limits is not None and limits.shares is not None):
        return True
    return container is not None and container.spec is not None


def _first(*amounts: float | None) -> float | None:
    return next((amount for amount in amounts if amount is not None), None)


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
    """The verdict at monotonic ``now``. ``reconcile``: the kubelet's reconcile period, after which overlaps count.

    ``users`` in a steady order. Where ``online`` is not known, the CPUs that anybody may use stand in for it. ``pins``:
    whether the kubelet's CPU manager gives CPUs away, ``None`` where that is unknown. DRA drivers and NRI plugins give
    CPUs under the policy ``none``: then an owner is who has been alone on its CPUs. ``usable``: the root's effective
    cpuset.
    """
    by_set: dict[Cpus, list[CpusetUser]] = {}
    for user in users:
        by_set.setdefault(user.cpus, []).append(user)
    some = frozenset[int]().union(*by_set)
    # The kernel takes a partition's CPUs out of the root's effective cpuset.
    partitions = frozenset[int]().union(*(user.cpus for user in users if user.is_partition))
    within = usable | partitions if usable else some or online or frozenset()
    everywhere = (some if online is None else online) & within
    holders = _holders(by_set)
    states, placed, remembered = _place(by_set, holders, everywhere, memory, now, pins=pins)
    believed: list[Overlap] = []
    for owner, own in placed.values():
        for other in islice(_intruders(owner, own, by_set, holders), MAX_OVERLAPS):
            pair = owner.name, other.name
            remembered[pair] = since = memory.get(pair, now)
            if now - since > reconcile:
                believed.append(Overlap(*pair, own & other.cpus, now - since))
    broken = {overlap.owner for overlap in believed}
    exclusive = dict.fromkeys(states, False) | {name: name not in broken for name in placed}
    owners = _owners(placed.values(), believed, everywhere)
    pooled = (some & everywhere) if users else everywhere
    shared = None if online is None else pooled - owners.keys()
    return Isolation(states, exclusive, owners, shared, tuple(believed), remembered)


def _place(
    by_set: Mapping[Cpus, Sequence[CpusetUser]],
    holders: Mapping[int, Sequence[Cpus]],
    everywhere: Cpus,
    memory: Mapping[Pair, float],
    now: float,
    *,
    pins: bool | None,
) -> tuple[dict[CgroupName, IsolationState], dict[CgroupName, tuple[CpusetUser, Cpus]], dict[Pair, float]]:
    """Return the states, the owners with their CPUs, and since when owners that nothing else vouches for were alone."""
    pool = _pool(by_set)
    states: dict[CgroupName, IsolationState] = {}
    placed: dict[CgroupName, tuple[CpusetUser, Cpus]] = {}
    alone: dict[Pair, float] = {}
    for cpus, members in by_set.items():
        in_pool = cpus == pool or cpus >= everywhere
        for user in members:
            own, name = _own_cpus(user, in_pool=in_pool, everywhere=everywhere), user.name
            if own and not (user.is_partition or user.entry is not None or (pins and user.claim_is_known)):
                # Without its spec only its cpuset speaks: apart from the pool, too.
                apart = user.claim_is_known or (pool is not None and pool.isdisjoint(own))
                if apart and not any(_intruders(user, own, by_set, holders)):
                    alone[name, name] = memory.get((name, name), now)
                elif user.claim_is_known and (name, name) in memory:
                    alone[name, name] = memory[name, name]
                else:
                    own = frozenset()
            if own:
                states[name] = "exclusive"
                placed[name] = user, own
            elif user.claim_is_known or user.is_partition:
                states[name] = "shared" if user.whole_cpus is None or not cpus else "eligible"
    return states, placed, alone


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


def _holders(by_set: Iterable[Cpus]) -> dict[int, list[Cpus]]:
    holders: dict[int, list[Cpus]] = {}
    for cpus in by_set:
        for cpu in cpus:
            holders.setdefault(cpu, []).append(cpus)
    return holders


def _pool(by_set: Mapping[Cpus, Sequence[CpusetUser]]) -> Cpus | None:
    """The cpuset that most containers without a claim to CPUs have; ``None`` where no two of them agree.

    A container with a claim may be in a pool that has shrunk to the very number of CPUs it asked for.
    """
    best: Cpus | None = None
    best_rank = (1, False, 0)
    for cpus, members in by_set.items():
        plain = sum(user.whole_cpus is None for user in members)
        rank = (plain, plain == len(members), len(cpus))
        if plain > 1 and rank > best_rank:
            best, best_rank = cpus, rank
    return best


def _intruders(
    owner: CpusetUser, own: Cpus, by_set: Mapping[Cpus, Sequence[CpusetUser]], holders: Mapping[int, Sequence[Cpus]]
) -> Iterator[CpusetUser]:
    for cpus in dict.fromkeys(held for cpu in own for held in holders[cpu]):
        for other in by_set[cpus]:
            if other.name != owner.name and not _may_reuse(owner, other):
                yield other


def _may_reuse(one: CpusetUser, other: CpusetUser) -> bool:
    """Init containers hand their CPUs on to the containers of their pod; a sidecar keeps its own."""
    return one.pod_path == other.pod_path and not {one.container_type, other.container_type}.isdisjoint({"init", None})


def _owners(
    placed: Iterable[tuple[CpusetUser, Cpus]], believed: Iterable[Overlap], everywhere: Cpus
) -> dict[int, CgroupName]:
    lost: dict[CgroupName, Cpus] = {}
    for overlap in believed:
        lost[overlap.owner] = lost.get(overlap.owner, frozenset()) | overlap.cpus
    owners: dict[int, CgroupName] = {}
    # Init containers first, so that the container which takes over their CPUs is the one shown.
    for user, own in sorted(placed, key=lambda one: one[0].container_type != "init"):
        for cpu in (own & everywhere) - lost.get(user.name, frozenset()):
            owners[cpu] = user.name
    return owners


def reserved_cpus(kubelet: KubeletConfig | None) -> Cpus | None:
    """Return the CPUs that the kubelet reserves for the system; ``None`` where it does not say."""
    if kubelet is None or kubelet.reserved_system_cpus is None:
        return None
    try:
        return cpu_list(kubelet.reserved_system_cpus, "reservedSystemCPUs")
    except ParseError:  # the kubelet would not have started with it
        return None
