"""The demo's node: eight pods, each with one way to get, lose or share its CPU. Pure.

All of it together asks for about one CPU, half of a small machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from exporter.lab.spec import Container, Pod, Workload


@dataclass(frozen=True, slots=True)
class Scenario:
    """Pods, and how the CPU manager split the machine among them."""

    pods: tuple[Pod, ...]
    shared_cpus: frozenset[int] | None
    """The shared pool; ``None`` where the machine is too small for exclusive CPUs and the policy is ``none``."""


def demo(cpus: frozenset[int], owner: str) -> Scenario:
    """The demo on a machine with these CPUs; the highest one is given away exclusively if there are two or more."""
    pinned = frozenset({max(cpus)}) if len(cpus) > 1 else None
    pods = (*_shop(), *_data(pinned), *_system())
    return Scenario(
        pods=tuple(pod.identified(owner) for pod in pods),
        shared_cpus=cpus - pinned if pinned else None,
    )


def _shop() -> tuple[Pod, ...]:
    checkout = Pod(
        namespace="shop",
        name="checkout-7d9f8b6c5d-x2k9p",
        owner_kind="ReplicaSet",
        owner_name="checkout",
        containers=(
            Container(name="migrate", container_type="init", request_cores=0.1, limit_cores=0.2, finished=True),
            Container(name="log-shipper", container_type="sidecar", request_cores=0.01, limit_cores=0.1),
            # Three busy threads share a fifth of a CPU: out of quota in every period.
            Container(name="app", request_cores=0.1, limit_cores=0.2, workload=Workload(kind="busy", workers=3)),
        ),
    )
    catalog = Pod(
        namespace="shop",
        name="catalog-5c68f7d9c4-q7r2m",
        owner_kind="ReplicaSet",
        owner_name="catalog",
        containers=(
            # A quarter of its limit on average, and yet throttled: each second eight threads want 20 ms at once.
            Container(
                name="api",
                request_cores=0.2,
                limit_cores=0.6,
                workload=Workload(kind="bursty", workers=8, unit_seconds=0.02),
            ),
            Container(name="cache", request_cores=0.05),
        ),
    )
    frontend = Pod(
        namespace="shop",
        name="frontend-66b6c48dd5-8mzsl",
        owner_kind="ReplicaSet",
        owner_name="frontend",
        containers=(Container(name="nginx", request_cores=0.1, limit_cores=1.0),),
    )
    return checkout, catalog, frontend


def _data(pinned: frozenset[int] | None) -> tuple[Pod, ...]:
    working_set = Workload(kind="bursty", unit_seconds=0.04, every_seconds=0.2)
    trainer = Pod(
        namespace="data",
        name="trainer-0",
        owner_kind="StatefulSet",
        owner_name="trainer",
        containers=(
            # Guaranteed with a whole CPU: the static CPU manager gives it one, and the kubelet sets no quota.
            Container(name="worker", request_cores=1.0, limit_cores=1.0, exclusive_cpus=pinned, workload=working_set),
        ),
    )
    report = Pod(
        namespace="data",
        name="report-28766160-l4x8c",
        owner_kind="Job",
        owner_name="report-28766160",
        # The pod's own limit: neither container reaches a quota of its own, yet both stand still.
        limit_cores=0.15,
        containers=(
            Container(name="query", workload=Workload(kind="busy")),
            Container(name="render", workload=Workload(kind="busy")),
        ),
    )
    indexer = Pod(
        namespace="data",
        name="indexer-7f4b9",
        owner_kind="DaemonSet",
        owner_name="indexer",
        # BestEffort: no quota, so nothing can throttle it.
        containers=(Container(name="scan", workload=Workload(kind="bursty", unit_seconds=0.02, every_seconds=0.4)),),
    )
    return trainer, report, indexer


def _system() -> tuple[Pod, ...]:
    agent = Pod(
        namespace="kube-system",
        name="node-agent",
        static=True,
        containers=(
            # CFS burst lets it use what it saved while it slept.
            Container(
                name="agent",
                request_cores=0.1,
                limit_cores=0.2,
                burst_seconds=0.02,
                workload=Workload(kind="bursty", unit_seconds=0.03, every_seconds=0.5),
            ),
        ),
    )
    dns = Pod(
        namespace="kube-system",
        name="dns-autoscaler-6d8c8d7b9-h5w2t",
        owner_kind="ReplicaSet",
        owner_name="dns-autoscaler",
        containers=(
            Container(
                name="autoscaler",
                request_cores=0.02,
                limit_cores=0.05,
                workload=Workload(kind="bursty", unit_seconds=0.002, every_seconds=0.5),
            ),
        ),
    )
    return agent, dns
