"""The exporter itself: its cost, its errors, the age of its values."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard, Row

from dashboards.frame import new_dashboard, selector
from dashboards.panels import (
    BYTES,
    CORES,
    COUNT,
    ERRORS_PER_SECOND,
    ORANGE,
    RED,
    SECONDS,
    YELLOW,
    Column,
    Query,
    lines,
    number,
    rows,
)
from dashboards.thresholds import THRESHOLDS

HERE = selector("cluster", "node")
# Generic names, of this exporter's processes and scrapes only.
OURS = f"and on (job, instance) throttle_exporter_build_info{HERE}"
STALE = THRESHOLDS["staleSeconds"].number
ONE = "{{cluster}} {{node}}"


def quantile(share: float, metric: str) -> str:
    """Over all chosen exporters."""
    return f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{HERE}[$__rate_interval])))"


def build() -> Dashboard:
    """Return the dashboard of the exporter itself."""
    board = new_dashboard(
        "kte-exporter",
        "CPU throttling / Exporter",
        "Cost, errors and sources of the exporter, and the age of its values.",
        "cluster",
        "node",
    )
    return _settings(_cost(_pods(_now(board))))


def _now(board: Dashboard) -> Dashboard:
    unmapped = selector("cluster", "node", extra='state="unmapped"')
    return (
        board.with_row(Row("Does it work?"))
        .with_panel(
            number(
                "Exporters",
                "Exporters that were scraped.",
                Query(f"count(throttle_exporter_build_info{HERE})", "exporters"),
                unit=COUNT,
                no_value="no exporter",
            )
        )
        .with_panel(
            number(
                "Down",
                "Targets that answered within the last hour and do not answer now.",
                Query(
                    f"sum(up{HERE} == bool 0"
                    f" and on (job, instance) last_over_time(throttle_exporter_build_info{HERE}[1h]))",
                    "down",
                ),
                unit=COUNT,
                steps=((1, RED),),
                no_value="no target",
            )
        )
        .with_panel(
            number(
                "Oldest page",
                "Age of the oldest values that any exporter serves: about the scrape interval in normal operation.",
                Query(f"max(time() - throttle_exporter_snapshot_timestamp_seconds{HERE})", "age"),
                unit=SECONDS,
                steps=((STALE / 2, YELLOW), (STALE, RED)),
                no_value="no exporter",
            )
        )
        .with_panel(
            number(
                "Containers without a name",
                "Cgroups of containers that no pod source lists.",
                Query(f"sum(max by (cluster, node) (throttle_exporter_cgroups{unmapped}))", "unmapped"),
                unit=COUNT,
                steps=((1, ORANGE),),
                no_value="no exporter",
            )
        )
        .with_panel(
            number(
                "Errors",
                "Errors in the last five minutes; the page is complete except for what failed.",
                Query(
                    f"ceil(sum(increase(throttle_exporter_errors_total{HERE}[5m])))"
                    f" or count(throttle_exporter_build_info{HERE}) * 0",
                    "errors",
                ),
                unit=COUNT,
                steps=((1, ORANGE),),
                no_value="no exporter",
            )
        )
        .with_panel(
            number(
                "Missed samples",
                "Sample times within five minutes at which the sample before had not ended: the node is overloaded, or"
                " sample.interval is too short.",
                Query(f"ceil(sum(increase(throttle_exporter_sample_overruns_total{HERE}[5m])))", "missed"),
                unit=COUNT,
                steps=((1, ORANGE),),
                no_value="no exporter",
            )
        )
    )


def _pods(board: Dashboard) -> Dashboard:
    return (
        board.with_row(Row("Are names and values complete?"))
        .with_panel(
            lines(
                "Cgroups by state",
                "Container cgroups by state: mapped have a pod's name, pending wait for the next pod"
                " list, lingering are gone and still on the page. States of none are left out.",
                Query(
                    f"sum by (state) (max by (cluster, node, state) (throttle_exporter_cgroups{HERE})) > 0", "{{state}}"
                ),
                unit=COUNT,
                stacked=True,
                no_value="no containers, or no exporter",
            )
        )
        .with_panel(
            lines(
                "Errors, by stage and reason",
                "Errors per second over five minutes, summed over the chosen exporters.",
                Query(
                    f"sum by (stage, reason) (rate(throttle_exporter_errors_total{HERE}[5m]))", "{{stage}}: {{reason}}"
                ),
                unit=ERRORS_PER_SECOND,
                no_value="no errors",
            )
        )
        .with_panel(
            lines(
                "Age of the pod list",
                "Time since each pod source last answered. The last good list stays in use meanwhile.",
                Query(
                    f"max by (source) (time() - throttle_exporter_pods_last_success_timestamp_seconds{HERE})",
                    "{{source}}",
                ),
                unit=SECONDS,
                no_value="no pod source has answered yet, or none is asked",
            ).height(6)
        )
        .with_panel(
            rows(
                "Pod sources",
                "How many exporters use each source, and with how many its last read worked.",
                Column("In use", f"sum by (source) (throttle_exporter_pods_source_active{HERE})", COUNT, decimals=0),
                Column("Works", f"sum by (source) (throttle_exporter_pods_source_up{HERE})", COUNT, decimals=0),
                labels={"source": "Source"},
                span=12,
                height=6,
                no_value="no exporter",
            )
        )
        .with_panel(
            rows(
                "Versions",
                "Exporters by version; two of them for long mean a stuck rollout.",
                Column(
                    "Exporters",
                    f"count by (version, python_version) (throttle_exporter_build_info{HERE})",
                    COUNT,
                    decimals=0,
                ),
                labels={"version": "Version", "python_version": "Python"},
                span=12,
                height=6,
                no_value="no exporter",
            )
        )
        .with_panel(
            rows(
                "Inputs that are missing",
                "What an exporter cannot read on its node, and on how many: metrics that are made of it have no sample"
                " there.",
                Column(
                    "Exporters",
                    f"count by (input) (throttle_exporter_input_available{HERE} == 0)",
                    COUNT,
                    decimals=0,
                ),
                labels={"input": "Input"},
                span=12,
                height=6,
                no_value="every exporter can read all of them",
            )
        )
    )


def _settings(board: Dashboard) -> Dashboard:
    return board.with_row(
        Row("Settings")
        .collapsed(True)
        .with_panel(
            rows(
                "Settings in use",
                "Window and sample interval, in seconds, and by how many exporters.",
                Column("Exporters", f"{_setting('window')} or {_setting('sample_interval')}", COUNT, decimals=0),
                labels={"setting": "Setting", "value": "Seconds"},
                height=6,
                no_value="no exporter",
            )
        )
    )


def _setting(name: str) -> str:
    values = f'count_values ("value", throttle_exporter_{name}_seconds{HERE})'
    return f'label_replace({values}, "setting", "{name.replace("_", " ")}", "", "")'


def _cost(board: Dashboard) -> Dashboard:
    board.with_row(Row("What does it cost?"))
    board.with_panel(
        lines(
            "CPU of the exporter",
            "CPUs used by each exporter, the ten that use most.",
            Query(f"topk(10, rate(process_cpu_seconds_total{HERE}[$__rate_interval]) {OURS})", ONE),
            unit=CORES,
            no_value="no exporter",
        )
    )
    board.with_panel(
        lines(
            "Memory of the exporter",
            "Resident memory of each exporter, the ten that use most.",
            Query(f"topk(10, process_resident_memory_bytes{HERE} {OURS})", ONE),
            unit=BYTES,
            no_value="no exporter",
        )
    )
    for title, metric, what in (
        ("One sample", "throttle_exporter_sample_duration_seconds", "reading and windows of all throttled cgroups"),
        ("One walk", "throttle_exporter_scan_duration_seconds", "finding cgroups and re-reading their settings"),
        ("One page", "throttle_exporter_render_duration_seconds", "reading the rest and rendering"),
    ):
        board.with_panel(
            lines(
                title,
                f"Time for {what}: median, and what one in a hundred exceeds, over all chosen exporters.",
                Query(quantile(0.5, metric), "median"),
                Query(quantile(0.99, metric), "99 %"),
                unit=SECONDS,
                span=8,
                no_value="no sample was taken",
            )
        )
    return board.with_panel(
        lines(
            "One scrape, as Prometheus sees it",
            "Slowest scrapes, network and parsing included.",
            Query(f"topk(10, scrape_duration_seconds{HERE} {OURS})", ONE),
            unit=SECONDS,
            no_value="no exporter",
        )
    ).with_panel(
        lines(
            "Samples in a scrape",
            "Samples a page has; what Prometheus has to keep.",
            Query(f"topk(10, scrape_samples_scraped{HERE} {OURS})", ONE),
            unit=COUNT,
            no_value="no exporter",
        )
    )
