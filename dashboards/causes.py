"""Workload and pod: the rows that tell its own quota, one above it and its neighbours apart."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.containers import ONE, PODS, now, rate
from dashboards.frame import DOCS
from dashboards.panels import CORES, ORANGE, PER_SECOND, RATIO, SECONDS_PER_SECOND, Query, lines
from dashboards.steps import LOST_STEPS, RATIO_STEPS, STALLED
from dashboards.thresholds import THRESHOLDS

RUNBOOK = f"{DOCS}/runbooks"
BY_POD = "max by (cluster, namespace, pod)"
POD_RATIO = (
    f"{rate('cgroup_pod_cpu_throttled_periods_total', BY_POD, PODS)}"
    f" / ({rate('cgroup_pod_cpu_periods_total', BY_POD, PODS)} > 0)"
)
TO_RUNBOOK = (("Runbook: CPUThrottlingHigh", f"{RUNBOOK}/CPUThrottlingHigh.md"),)


def own_quota(board: Dashboard) -> Dashboard:
    """Ratio, worst second, time lost, use and burst."""
    default = THRESHOLDS["highRatio"].value
    return (
        board.with_row(Row("Its own quota"))
        .with_panel(
            lines(
                "Periods throttled",
                "Throttled share of the periods in which the container ran, and the same of its pod: in a pod of one"
                " container both have the same limit, and the kernel books what it takes to either. The line 'alert"
                " threshold' is the pod's own from its annotation, or the default.",
                Query(
                    f"{rate('cgroup_container_cpu_throttled_periods_total')}"
                    f" / ({rate('cgroup_container_cpu_periods_total')} > 0)",
                    ONE,
                ),
                Query(POD_RATIO, "{{pod}}, the pod's group"),
                Query(
                    f"min(pod:cgroup_pod_alert_threshold_ratio:max{PODS} < Inf) or vector({default})", "alert threshold"
                ),
                unit=RATIO,
                steps=RATIO_STEPS,
                top=1,
                links=TO_RUNBOOK,
            )
        )
        .with_panel(
            lines(
                "Worst second of the window",
                "The exporter samples every second; this is the highest throttled share of any one sample in its last"
                " window. A line at 100 % above a low average is a burst that no scrape interval can show.",
                Query(now("cgroup_container_cpu_throttled_ratio_peak"), ONE + " worst second"),
                Query(now("cgroup_container_cpu_throttled_ratio"), ONE + " whole window"),
                unit=RATIO,
                steps=RATIO_STEPS,
                top=1,
            )
        )
        .with_panel(
            lines(
                "CPU time lost",
                "CPU seconds lost to the container's own quota every second, and to its pod's. It sums over CPUs: four"
                " threads that wait together lose 4 s/s.",
                Query(rate("cgroup_container_cpu_throttled_seconds_total"), ONE),
                Query(rate("cgroup_pod_cpu_throttled_seconds_total", BY_POD, PODS), "{{pod}}, the pod's group"),
                unit=SECONDS_PER_SECOND,
                steps=LOST_STEPS,
                links=TO_RUNBOOK,
            )
        )
        .with_panel(
            lines(
                "Period by period",
                "CPU periods per second, 10 at the usual 100 ms: those that ran freely and those that ran out of quota."
                " Fewer than 10 together means that it slept for the rest.",
                Query(
                    f"sum({rate('cgroup_container_cpu_periods_total')})"
                    f" - sum({rate('cgroup_container_cpu_throttled_periods_total')})",
                    "ran freely",
                ),
                Query(f"sum({rate('cgroup_container_cpu_throttled_periods_total')})", "ran out of quota"),
                unit=PER_SECOND,
                stacked=True,
            )
        )
        .with_panel(
            lines(
                "Use against limit",
                "Average use, and what it may use: its limit, the smallest limit on the way up to the root, what it"
                " asked for.",
                Query(rate("cgroup_container_cpu_usage_seconds_total"), ONE + " use"),
                Query(now("cgroup_container_cpu_limit_cores"), ONE + " limit"),
                Query(now("cgroup_container_cpu_effective_limit_cores"), ONE + " effective limit"),
                Query(now("cgroup_container_spec_cpu_request_cores"), ONE + " request"),
                unit=CORES,
            )
        )
        .with_panel(
            lines(
                "Burst",
                "CPU time used above the quota out of what was saved up (cpu.max.burst). Nothing here means that no"
                " burst is allowed, or that none was needed.",
                Query(rate("cgroup_container_cpu_burst_seconds_total"), ONE + " used"),
                unit=SECONDS_PER_SECOND,
            )
        )
    )


def quota_or_neighbours(board: Dashboard) -> Dashboard:
    """Pressure against throttling."""
    return (
        board.with_row(Row("Quota or neighbours"))
        .with_panel(
            lines(
                "Stalled against lost",
                "Both rise together: the quota. Stalled alone: neighbours. Lost alone: some threads wait while others"
                " run on. Stalled is a share of time, lost is summed over CPUs.",
                Query(rate("cgroup_container_cpu_pressure_stalled_seconds_total"), ONE + " stalled"),
                Query(rate("cgroup_container_cpu_throttled_seconds_total"), ONE + " lost to its quota"),
                unit=SECONDS_PER_SECOND,
                links=(("Runbook: CPUContention", f"{RUNBOOK}/CPUContention.md"),),
            )
        )
        .with_panel(
            lines(
                "Waiting and stalled",
                "Share of time in which at least one task waited for a CPU, and in which all that wanted one did"
                " (cpu.pressure, cgroup v2).",
                Query(rate("cgroup_container_cpu_pressure_waiting_seconds_total"), ONE + " at least one waits"),
                Query(rate("cgroup_container_cpu_pressure_stalled_seconds_total"), ONE + " all wait"),
                unit=RATIO,
                steps=((STALLED, ORANGE),),
                top=1,
            )
        )
    )


def quota_above_it(board: Dashboard) -> Dashboard:
    """The pod's own cgroup, and what any ancestor took."""
    return (
        board.with_row(Row("A quota above it"))
        .with_panel(
            lines(
                "Pod's own cgroup: periods throttled",
                "The pod has a quota of its own; its containers' counters do not show when that runs out. In a pod of"
                " one container both have the same limit, and the kernel books what it takes to either.",
                Query(POD_RATIO, "{{pod}}"),
                unit=RATIO,
                steps=RATIO_STEPS,
                top=1,
                span=8,
                links=(("Runbook: PodCPUThrottledByAncestor", f"{RUNBOOK}/PodCPUThrottledByAncestor.md"),),
            )
        )
        .with_panel(
            lines(
                "Pod's own cgroup: CPU time lost",
                "CPU seconds lost to the pod's quota every second, summed over CPUs.",
                Query(rate("cgroup_pod_cpu_throttled_seconds_total", BY_POD, PODS), "{{pod}}"),
                unit=SECONDS_PER_SECOND,
                steps=LOST_STEPS,
                span=8,
            )
        )
        .with_panel(
            lines(
                "Containers: lost in all, and to their own quota",
                "cpu.stat.local counts its own quota and every one above it (kernel 6.6 and newer); what lies between"
                " the two lines went to an ancestor.",
                Query(rate("cgroup_container_cpu_throttled_local_seconds_total"), ONE + " in all"),
                Query(rate("cgroup_container_cpu_throttled_seconds_total"), ONE + " own quota"),
                unit=SECONDS_PER_SECOND,
                span=8,
            )
        )
    )
