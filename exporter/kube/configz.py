"""``GET /configz`` of the kubelet -> :class:`exporter.model.KubeletConfig`. Pure.

Source: ``KubeletConfiguration``, kubelet.config.k8s.io/v1beta1. Read loosely: the answer has changed with almost every
release, and a field of another type than expected is a field that this kubelet does not say.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from exporter.errors import MappingError
from exporter.kube.quantity import parse_duration
from exporter.model import KubeletConfig


def parse_configz(body: bytes | memoryview) -> KubeletConfig:
    """The kubelet's CPU settings; raises :class:`MappingError`, reason ``malformed``, when ``body`` is no configz."""
    try:
        answer = json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise MappingError("kubelet: /configz is not JSON", reason="malformed") from error
    config = answer.get("kubeletconfig") if isinstance(answer, dict) else None
    if not isinstance(config, dict):
        raise MappingError("kubelet: /configz has no kubeletconfig", reason="malformed")
    return KubeletConfig(
        cpu_manager_policy=_text(config, "cpuManagerPolicy"),
        cpu_manager_policy_options=_options(config.get("cpuManagerPolicyOptions")),
        cpu_manager_reconcile_seconds=_seconds(config, "cpuManagerReconcilePeriod"),
        topology_manager_policy=_text(config, "topologyManagerPolicy"),
        topology_manager_scope=_text(config, "topologyManagerScope"),
        cpu_cfs_quota=_flag(config, "cpuCFSQuota"),
        cpu_cfs_quota_period_seconds=_seconds(config, "cpuCFSQuotaPeriod"),
        reserved_system_cpus=_text(config, "reservedSystemCPUs"),
        cgroup_driver=_text(config, "cgroupDriver"),
        cgroup_root=_text(config, "cgroupRoot"),
    )


def _text(config: Mapping[str, Any], key: str) -> str | None:
    value = config.get(key)
    return value if isinstance(value, str) and value else None


def _flag(config: Mapping[str, Any], key: str) -> bool | None:
    value = config.get(key)
    return value if isinstance(value, bool) else None


def _seconds(config: Mapping[str, Any], key: str) -> float | None:
    try:
        return parse_duration(_text(config, key) or "")
    except ValueError:
        return None


def _options(value: Any) -> Mapping[str, str] | None:
    if not isinstance(value, dict):
        return None
    return {name: setting for name, setting in value.items() if isinstance(setting, str)}
