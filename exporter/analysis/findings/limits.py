"""The findings about limits that are not what the pod's spec asks for: changed, not enforced, or absent."""

from __future__ import annotations

from exporter.analysis import text, thresholds
from exporter.analysis.advice import restore_limit, set_request
from exporter.analysis.findings.finding import ContainerView, Finding
from exporter.analysis.nodeview import use

_DRIFT = ("limit_cores", "spec_limit_cores", "allocated_limit_cores", "pod_spec_limit_cores", "period_seconds")


def limit_drift(view: ContainerView) -> Finding | None:
    """The cgroup's limit is not what the pod's spec asks for."""
    row, spec = view.row, view.spec
    if row.limit_drift is not True or row.limits is None or spec is None:
        return None
    actual, wanted = row.limits.limit_cores, spec.limit_cores
    inherited = None if row.pod_spec is None else row.pod_spec.limit_cores
    asks = f"a limit of {text.limit(wanted)}" if wanted else "no limit"
    if inherited and not wanted:
        asks = f"no limit of its own under its pod's {text.limit(inherited)}"
    return view.finding(
        "limit_drift",
        view.evidence(*_DRIFT),
        reason="missing" if actual is None else "different" if wanted or inherited else "unexpected",
        commands=restore_limit(row, wanted) if wanted else (),
        asks=asks,
        has="none" if actual is None else text.limit(actual),
    )


def limit_not_enforced(view: ContainerView) -> Finding | None:
    """The spec sets a limit, and nothing enforces it."""
    limits, used, effective = view.row.limits, view.ledger.used, view.row.effective_limit_cores
    wanted = None if view.spec is None else view.spec.limit_cores
    if limits is None or limits.limit_cores is not None or not wanted or view.row.isolation == "exclusive":
        return None
    if limits.quota_state == "unsupported":
        has_controller = limits.weight is not None or limits.shares is not None
        reason = "no_cfs_bandwidth" if has_controller else "no_cpu_controller"
    elif view.node.kubelet is not None and view.node.kubelet.cpu_cfs_quota is False:
        reason = "kubelet"
    else:
        return None
    # A quota above it, or the number of its CPUs, may enforce it all the same.
    if effective is None or effective <= wanted * (1 + thresholds.DRIFT_RATIO):
        return None
    return view.finding(
        "limit_not_enforced",
        view.evidence("spec_limit_cores", "effective_limit_cores", "usage_cores"),
        reason=reason,
        impact=max(0.0, (used or 0.0) - wanted),
        bound=None if effective == len(view.cpus) else effective,
    )


def limit_exceeded(view: ContainerView) -> Finding | None:
    """Real-time threads are not bound by the quota (``limit_not_enforced``; ``sched_rt_runtime_us`` bounds them)."""
    limit, used, seconds = view.limits.limit_cores, view.ledger.used, view.ledger.seconds
    if limit is None or used is None or seconds < thresholds.MIN_OVER_LIMIT_SECONDS:
        return None
    burst = (view.limits.burst_seconds or 0.0) / seconds
    if used < thresholds.OVER_LIMIT * (limit + burst) + thresholds.MIN_USE:
        return None
    evidence = {**view.evidence("limit_cores", "usage_cores"), "window_seconds": seconds}
    return view.finding("limit_not_enforced", evidence, reason="real_time", impact=used - limit, bound=None)


def no_quota(view: ContainerView) -> Finding | None:
    """It has no limit, and fills CPUs that others share."""
    used, cpus = use(view.row.placement_deltas), len(view.cpus)
    is_bound = view.limits.quota_state != "none" or view.row.effective_limit_cores != float(cpus)
    if is_bound or view.row.isolation == "exclusive" or view.spec is None or used is None or not cpus:
        return None
    request = view.spec.request_cores or 0.0
    is_alone = len(view.of_node.users(view.cpus)) < 2
    if used < thresholds.UNBOUNDED_SHARE * cpus or used <= request or is_alone:
        return None
    return view.finding(
        "no_quota",
        {"usage_cores": used, **view.evidence("cpuset_cpus"), "spec_request_cores": view.spec.request_cores},
        reason="unbounded",
        impact=used - request,
        commands=set_request(view.row, used),
        asked=f"a request of {text.limit(request)}" if request else "no request",
    )
