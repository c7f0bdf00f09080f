"""Workload and pod: the rows that tell own quota, a quota above and neighbours apart."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.containers import (
    ABOVE_RECORDED,
    CONTAINER,
    LOST_RECORDED,
    ONE,
    POD,
    PODS,
    PODS_LOST,
    PODS_USE,
    RAW,
    RAW_PODS,
    USED,
    band,
    chosen,
    losing_most,
    most,
    now,
    over_step,
    rate,
    recorded,
)
from dashboards.frame import DOCS, WORKLOADS, selector
from dashboards.panels import (
    BLUE,
    CORES,
    GREEN,
    GREY,
    ORANGE,
    PERIODS_PER_SECOND,
    RATIO,
    RED,
    SECONDS_PER_SECOND,
    Query,
    fixed,
    lines,
    worst,
)
from dashboards.steps import LOST_STEPS, RATIO_STEPS, STALLED
from dashboards.thresholds import THRESHOLDS

RUNBOOK = f"{DOCS}/runbooks"
TO_RUNBOOK = (("Runbook: WorkloadCPUThrottled", f"{RUNBOOK}/WorkloadCPUThrottled.md"),)
_SHARE = {"unit": RATIO, "max": 1, "custom.axisPlacement": "right"}
PERIODS = rate("cgroup_container_cpu_periods_total")
THROTTLED_PERIODS = rate("cgroup_container_cpu_throttled_periods_total")
RATIOS = over_step("avg_over_time", "cgroup_container_cpu_throttled_ratio")
LOST = chosen(f"{LOST_RECORDED}{RAW}")
STALLED_SHARE = recorded("container:cgroup_container_cpu_pressure_stalled_seconds:rate5m")
ABOVE = chosen(f"{ABOVE_RECORDED}{RAW}")
BURST = "cgroup_container_cpu_burst_seconds_total"
THRESHOLD = f"workload:cgroup_pod_alert_threshold_ratio:max{selector('cluster', 'namespace', 'workload')}"
PEAKS = over_step("max_over_time", "cgroup_container_cpu_throttled_ratio_peak")


def own_quota(board: Dashboard) -> Dashboard:
    """Add time lost, ratio, worst second and use."""
    default = THRESHOLDS["highRatio"].value
    board = board.with_row(Row("Its own quota"))
    for panel in (
        lines(
            "CPU time lost",
            "CPU-seconds per second that the container loses to its own quota, summed over"
            " CPUs: four threads that are throttled together lose 4. The ten that lost most, and"
            " the spread over all pods, their own quotas and slices included.",
            *band(PODS_LOST),
            Query(losing_most(LOST), ONE),
            unit=SECONDS_PER_SECOND,
            span=24,
            steps=LOST_STEPS,
            links=TO_RUNBOOK,
            no_value="no pod is chosen",
        ),
        lines(
            "Throttled periods",
            "Throttled periods divided by active periods, averaged over the exporter's windows, a minute by default;"
            " 0 when idle. The ten that lost most. The alert threshold is the highest"
            " annotation of the workload's pods, or the default; none if they are muted.",
            *band(RATIOS),
            Query(losing_most(RATIOS), ONE),
            Query(
                f"max({THRESHOLD} < Inf) or (sum({PODS_USE}) * 0 + {default} unless on () {THRESHOLD})",
                "alert threshold",
                fixed(RED, width=1, dashed=True),
            ),
            unit=RATIO,
            span=24,
            links=TO_RUNBOOK,
            no_value="no container has a quota",
        ),
        lines(
            "Worst second of the window",
            "The exporter samples every second; this is the highest throttled ratio of any one sample in its last"
            " window. A line at 100 % above a low average is a burst that no scrape interval can show.",
            *band(PEAKS),
            Query(losing_most(PEAKS), ONE),
            unit=RATIO,
            span=24,
            steps=RATIO_STEPS,
            no_value="no container has a quota",
        ),
        lines(
            "Use against limit",
            "Average use of the ten containers that use most, with the highest limit, recommendation and request of all"
            " chosen containers, and the smallest limit on the way up to the root.",
            Query(f"quantile(0.5, {rate(USED)})", "median of all", fixed(GREY)),
            Query(f"max({now('cgroup_container_cpu_limit_cores')})", "limit", fixed(RED, dashed=True)),
            Query(
                f"max({now('cgroup_container_cpu_recommended_limit_cores')})", "recommended", fixed(GREEN, dashed=True)
            ),
            Query(most(rate(USED), USED), ONE),
            Query(
                f"min({now('cgroup_container_cpu_effective_limit_cores')})",
                "effective limit",
                fixed(ORANGE, dashed=True),
            ),
            Query(f"max({now('cgroup_container_spec_cpu_request_cores')})", "request", fixed(BLUE, dashed=True)),
            unit=CORES,
            span=24,
            no_value="no container is chosen",
        ),
    ):
        # The band first, that no height hides it from the legend; the 14th colour is too pale for white.
        board.with_panel(panel.height(10))
    return board


def quota_or_neighbours(board: Dashboard) -> Dashboard:
    """Add pressure against throttling."""
    waiting = rate("cgroup_container_cpu_pressure_waiting_seconds_total")
    return (
        board.with_row(Row("Quota or neighbours?"))
        .with_panel(
            lines(
                "Stalled against lost",
                "Both rise together: the quota. Stalled alone: neighbours. Lost alone: some threads wait while others"
                " run. Stalled is a share of time, the median that of containers above 1 %; lost is summed over CPUs.",
                Query(f"max({STALLED_SHARE})", "stalled, the worst", {**fixed(ORANGE), **_SHARE}),
                Query(f"quantile(0.5, {STALLED_SHARE})", "stalled, the median", {**fixed(GREY), **_SHARE}),
                Query(f"max({LOST})", "lost to its quota, the worst", fixed(RED)),
                Query(f"max({ABOVE})", "lost to a quota above, the worst", fixed(BLUE)),
                unit=SECONDS_PER_SECOND,
                no_value="nothing lost, and no pressure counters or no waiting",
                links=(("Runbook: CPUContention", f"{RUNBOOK}/CPUContention.md"),),
            )
        )
        .with_panel(
            lines(
                "Waiting and stalled",
                "Share of time in which at least one task waited for a CPU, and, of the ten worst containers, in which"
                " all that wanted one did (cpu.pressure, cgroup v2).",
                Query(worst(STALLED_SHARE, CONTAINER), ONE),
                Query(f"quantile(0.5, {waiting})", "at least one waits, median", fixed(GREY)),
                Query(f"max({waiting})", "at least one waits, maximum", fixed(ORANGE)),
                unit=RATIO,
                steps=((STALLED, ORANGE),),
                no_value="no pressure counters (cgroup v1)",
            )
        )
    )


def quota_above_it(board: Dashboard) -> Dashboard:
    """Add the pod's own cgroup, and the loss to any ancestor."""
    ratio = f"(pod:cgroup_cpu_throttled_periods:max_rate5m{PODS} / pod:cgroup_cpu_periods:max_rate5m{PODS})"
    lost = f"(pod:cgroup_pod_cpu_throttled_seconds:rate5m{RAW_PODS} and on ({POD}) {WORKLOADS}{PODS})"
    row = Row("A quota above it").collapsed(True)
    for panel in (
        lines(
            "Lost to a quota above",
            "cpu.stat.local counts the container's quota and every one above it (kernel 6.6 or newer); this is the part"
            " that an ancestor took.",
            Query(losing_most(ABOVE, ABOVE_RECORDED), ONE),
            unit=SECONDS_PER_SECOND,
            steps=LOST_STEPS,
            no_value="nothing lost above it, or a kernel before 6.6",
        ),
        lines(
            "Pod's own cgroup: CPU time lost",
            "CPU-seconds per second lost to the pod's quota, summed over CPUs.",
            Query(worst(lost, POD), "{{pod}}"),
            unit=SECONDS_PER_SECOND,
            steps=LOST_STEPS,
            no_value="no pod was throttled",
        ),
        lines(
            "Pod: throttled periods",
            "The larger of the pod's own cgroup and its containers: when the pod's quota runs out, its containers'"
            " counters do not show it.",
            Query(worst(ratio, POD), "{{pod}}"),
            unit=RATIO,
            steps=RATIO_STEPS,
            span=24,
            no_value="no pod was throttled",
            links=(("Runbook: PodCPUThrottledByAncestor", f"{RUNBOOK}/PodCPUThrottledByAncestor.md"),),
        ),
    ):
        row.with_panel(panel)
    return board.with_row(row)


def periods_and_burst(board: Dashboard) -> Dashboard:
    """Add how many periods were throttled, and what the burst allowance gave."""
    row = Row("Periods and burst").collapsed(True)
    for panel in (
        lines(
            "Periods, free and throttled",
            "CPU periods per second of all chosen containers, 10 per container at the usual 100 ms. Fewer mean that it"
            " slept for the rest.",
            Query(f"sum({PERIODS}) - sum({THROTTLED_PERIODS})", "not throttled"),
            Query(f"sum({THROTTLED_PERIODS})", "throttled"),
            unit=PERIODS_PER_SECOND,
            stacked=True,
            no_value="no container has a quota",
        ),
        lines(
            "Burst",
            "CPU time used above the quota from the burst allowance (cpu.max.burst). Empty if no burst is set or none"
            " was needed.",
            Query(most(f"({rate(BURST)} > 0)", BURST), ONE),
            unit=SECONDS_PER_SECOND,
            no_value="no burst is allowed, or none was used",
        ),
    ):
        row.with_panel(panel)
    return board.with_row(row)
