"""The QoS class from a pod's spec, for a pod whose status does not say it yet.

Source: ``k8s.io/kubernetes/pkg/apis/core/v1/helper/qos``: by the pod's own resources where it has any, else by those of
its containers and init containers.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

from exporter.kube.podlist.model import Amounts, Pod, Resources
from exporter.kube.quantity import parse_quantity
from exporter.model import QosClass

_Kinds = dict[str, Fraction]


def qos_class(pod: Pod) -> QosClass:
    """As the API server would set it in ``status.qosClass``; an amount that cannot be understood counts as absent."""
    if pod.spec.resources is not None and any(_both(pod.spec.resources)):
        return _classify([pod.spec.resources])
    containers = [*(pod.spec.init_containers or ()), *(pod.spec.containers or ())]
    return _classify([(container and container.resources) or Resources() for container in containers])


def _classify(parts: Iterable[Resources]) -> QosClass:
    amounts = [_both(part) for part in parts]
    if not any(requests or limits for requests, limits in amounts):
        return "BestEffort"
    # Without a request the limit is the request: the API server's default, and the kubelet's for static pods.
    if all(limits.keys() == {"cpu", "memory"} and {**limits, **requests} == limits for requests, limits in amounts):
        return "Guaranteed"
    return "Burstable"


def _both(resources: Resources) -> tuple[_Kinds, _Kinds]:
    return _positive(resources.requests), _positive(resources.limits)


def _positive(amounts: Amounts | None) -> _Kinds:
    if amounts is None:
        return {}
    known = {"cpu": _amount(amounts.cpu), "memory": _amount(amounts.memory)}
    return {kind: amount for kind, amount in known.items() if amount is not None and amount > 0}


def _amount(value: Any) -> Fraction | None:
    try:
        return parse_quantity(str(value)) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
