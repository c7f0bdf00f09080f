"""Whether a container's cgroup has the CPU limit that its pod's spec asks for. Pure.

Sources: kubelet ``pkg/kubelet/cm/helpers_linux.go`` (``MilliCPUToQuota``), opencontainers/cgroups
``systemd/common.go``, KEP-1287 (in-place resize), KEP-2837 (pod-level resources), and the feature gate
``DisableCPUQuotaWithExclusiveCPUs`` (1.33).
"""

from __future__ import annotations

from exporter.analysis.thresholds import DRIFT_RATIO
from exporter.identities import ContainerIdentity, KubeletConfig, PodIdentity
from exporter.model import CpuLimits, IsolationState

MIN_QUOTA_SECONDS = 0.001  # the kernel's least quota: the kubelet rounds smaller limits up to it
SYSTEMD_STEP_CORES = 0.01  # systemd knows whole 10 ms per CPU second, and runtimes round up to them
ROUNDING_CORES = 1e-5  # 1 µs of the default period: a quota is a whole number of them


def limit_drift(
    limits: CpuLimits | None,
    container: ContainerIdentity | None,
    pod: PodIdentity | None,
    *,
    isolation: IsolationState | None,
    cpus: float | None = None,
    kubelet: KubeletConfig | None,
) -> bool | None:
    """True when the limit in the cgroup is not what the spec asks for; ``None`` when either is not known.

    While a resize is under way both the old and the new limit are right. A container that lost its quota is only told
    from one that should have none where the kubelet says that it enforces limits, and the cpuset is known.
    """
    if limits is None or limits.quota_state == "unsupported" or container is None or pod is None:
        return None
    spec, pod_spec, actual = container.spec, pod.spec, limits.limit_cores
    if spec is None or pod_spec is None:
        return None
    wanted = [cores for cores in (spec.allocated_limit_cores, spec.limit_cores) if cores]
    if actual is not None:
        if isolation == "exclusive" and cpus and wanted and max(wanted) < actual <= cpus:
            return False  # CRI-O's mixed CPUs: shared ones are added to its own, and the quota is raised for them
        # A container without a limit of its own may be given its pod's; that is no drift, nor is none.
        inherited = [pod_spec.limit_cores] if pod_spec.limit_cores else []
        least = MIN_QUOTA_SECONDS / limits.period_seconds if limits.period_seconds else 0.0
        return not any(_agrees(actual, max(cores, least)) for cores in wanted or inherited)
    if not wanted or isolation == "exclusive":
        return False
    if kubelet is None or kubelet.cpu_cfs_quota is None:
        return None
    if not kubelet.cpu_cfs_quota:
        return False
    return None if isolation is None and pod_spec.qos_class in {None, "Guaranteed"} else True


def _agrees(actual: float, wanted: float) -> bool:
    below = wanted * DRIFT_RATIO + ROUNDING_CORES
    return -below <= actual - wanted <= max(below, SYSTEMD_STEP_CORES + ROUNDING_CORES)
