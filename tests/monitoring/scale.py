"""Many nodes' worth of series in a real Prometheus: what the rules and the dashboards cost. Run by hand:

    python -m tests.monitoring.scale --nodes 1000 --interval 60 --minutes 12

Every page is a real exporter's, multiplied: the rows of one limited and one unlimited container of a demo node, under
other names, with counters that grow. Prints Markdown.
"""

from __future__ import annotations

import argparse
import http.server
import multiprocessing
import os
import platform
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from typing_extensions import override

from dashboards.rules import PLAIN_RULES
from tests.dashboards.boards import boards, panels
from tests.monitoring import parts
from tests.monitoring.asking import choices, expand, texts_of
from tests.monitoring.nodes import synthetic
from tests.monitoring.parts import Json, Server

SELECTOR = re.compile(
    r"(?:(?:\w+:)?(?:cgroup|throttle_exporter|kube_node)_\w+(?::\w+)?|\bup\b|\bALERTS\b|(?=\{__name__))(?:\{[^}]*\})?"
)
RECORDED = 'count({__name__=~".+:.+"})'
SPENT = (("process_cpu", "_total"), ("prometheus_rule_evaluation_duration", "_sum"))
PODS = 40
CONTAINERS = 2
LIMITED_OF_TEN = 6
REPLICAS = 10
NAMESPACES = 100
ONE_IN = {2: 100, 1: 5}
"""Column of GROWTH -> how many of the limited pods: a few are throttled badly, some a little, the others not."""
LIKE = {True: "autoscaler", False: "cache"}
PODS_LIKE = {True: "dns-autoscaler", False: "indexer"}
GROWTH = {
    # calm, some, badly
    "cpu_periods_total": (6.0, 6.0, 6.0),
    "cpu_usage_seconds_total": (0.1, 0.1, 0.1),
    "cpu_throttled_periods_total": (0.0, 0.2, 4.0),
    "cpu_throttled_seconds_total": (0.0, 0.01, 0.3),
    "cpu_throttled_local_seconds_total": (0.0, 0.01, 0.3),
    "cpu_pressure_stalled_seconds_total": (0.002, 0.002, 0.3),
    "restarts_total": (0.0, 0.0, 0.0),
}
"""Per second; any other counter grows by 0.01."""
Row = tuple[str, str, float]
"""Metric, its labels without those that say whose it is, value."""


@dataclass(frozen=True)
class Template:
    """Rows of a real page: of a container and a pod, each with a limit and without."""

    containers: dict[bool, list[Row]]
    pods: dict[bool, list[Row]]
    rest: str


def template(page: str) -> Template:
    """From the page of a demo node: ``dns-autoscaler`` has a limit, ``catalog``'s cache has none."""

    def rows(prefix: str, needle: str) -> list[Row]:
        found = []
        for line in page.splitlines():
            if line.startswith(prefix) and needle in line:
                name, _, tail = line.partition("{")
                labels, _, value = tail.rpartition("} ")
                kept = re.sub(r'(?:^|,)(?:namespace|pod|container|workload)="[^"]*"', "", labels).strip(",")
                found.append((name, kept, float(value)))
        return found

    rest = [line for line in page.splitlines() if not line.startswith(("#", "cgroup_container_", "cgroup_pod_"))]
    return Template(
        {limited: rows("cgroup_container_", f'container="{name}"') for limited, name in LIKE.items()},
        {limited: rows("cgroup_pod_", f'pod="{name}') for limited, name in PODS_LIKE.items()},
        "\n".join(rest) + "\n",
    )


def node_rows(node: int, made: Template) -> Iterator[tuple[str, float, float]]:
    """``(series, value at the start, growth per second)`` of one node."""
    for slot in range(PODS):
        number = node * PODS + slot
        workload = f"workload-{number // REPLICAS}"
        limited = number % 10 < LIMITED_OF_TEN
        namespace = f"namespace-{number // REPLICAS % NAMESPACES}"
        pod = f'namespace="{namespace}",pod="{workload}-5d8f9c7b6d-{number:05x}"'
        mood = next((mood for mood, one_in in ONE_IN.items() if limited and number % one_in == 0), 0)
        for row in made.pods[limited]:
            yield _row(row, pod, workload, mood)
        for index in range(CONTAINERS):
            for row in made.containers[limited]:
                yield _row(row, f'{pod},container="container-{index}"', workload, mood)


def _row(row: Row, labels: str, workload: str, mood: int) -> tuple[str, float, float]:
    name, kept, value = row
    if name == "cgroup_pod_info":
        kept = f'{kept},workload="{workload}"'
    elif name == "cgroup_container_info":  # where rules by pod read names
        kept = f'{kept},workload_kind="Deployment",workload="{workload}"'
    short = re.sub(r"^cgroup_(?:container|pod)_", "", name)
    growth = GROWTH.get(short, (0.01,) * 3)[mood] if name.endswith("_total") else 0.0
    return f"{name}{{{','.join(part for part in (labels, kept) if part)}}} ", value, growth


def serve(port: int, made: Template) -> None:
    """Pages of all nodes, each under its number; a process of its own."""
    started = time.monotonic()
    pages: dict[int, list[tuple[str, float, float]]] = {}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            node = int(self.path.strip("/"))
            rows = pages.setdefault(node, list(node_rows(node, made)))
            past = time.monotonic() - started
            body = (
                made.rest + "".join(f"{series}{value + growth * past:.6g}\n" for series, value, growth in rows)
            ).encode()
            self.send_response(http.HTTPStatus.OK)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Silence."""

    class Pages(http.server.ThreadingHTTPServer):
        @override
        def handle_error(self, request: object, client_address: object) -> None:
            """A scraper that goes away in the middle is no news."""

    Pages(("127.0.0.1", port), Handler).serve_forever()


def config(port: int, nodes: int, interval: int, rules: Path | None) -> str:
    targets = [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {"__metrics_path__": f"/{node}", "node": f"node-{node}", "instance": f"node-{node}:9843"},
        }
        for node in range(nodes)
    ]
    job = {"job_name": "kube-throttle-exporter", "honor_labels": True, "static_configs": targets}
    return yaml.safe_dump(
        {
            "global": {"scrape_interval": f"{interval}s", "external_labels": {"cluster": "scale"}},
            "rule_files": [str(rules.resolve())] if rules else [],
            "scrape_configs": [job],
        }
    )


def value(prometheus: Server, name: str) -> float:
    """Of a metric of Prometheus's own page."""
    page = str(prometheus.get("/metrics"))
    return sum(float(found) for found in re.findall(rf"^{name}(?:\{{[^}}]*\}})? ([-+.\de]+)$", page, re.MULTILINE))


def spent(prometheus: Server) -> list[float]:
    """CPU seconds of the process, and seconds of evaluating rules, since its start."""
    return [value(prometheus, f"{name}_seconds{end}") for name, end in SPENT]


def groups(prometheus: Server) -> list[Json]:
    found: list[Json] = prometheus.get("/api/v1/rules")["data"]["groups"]
    return found


def selectors(rules: Path) -> list[tuple[str, float, str]]:
    """``(group, evaluations a minute, selector)`` of each time that a rule reads series."""
    return [
        (group["name"], 1 / int(group["interval"].removesuffix("m")), selector)
        for group in yaml.safe_load(rules.read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
        for selector in SELECTOR.findall(re.sub(r"#[^\n]*", "", rule["expr"]))
    ]


def touched(prometheus: Server, rules: Path) -> dict[str, float]:
    """Series that the selectors of each group's rules find in a minute; it does not depend on the machine."""
    found: dict[str, float] = {}
    for group, a_minute, selector in selectors(rules):
        series = _one(prometheus, f"count(last_over_time({selector}[5m]))")
        found[group] = found.get(group, 0.0) + series * a_minute
    return found


def panel_seconds(prometheus: Server) -> list[tuple[str, float]]:
    """Each query of the cluster dashboard, over ten minutes as a graph of one hour would ask in points."""
    board = boards()["cluster"]
    texts = texts_of(board, choices(board, prometheus))
    found = []
    for panel in panels(board):
        for target in panel["targets"]:
            end = time.time()
            before = time.monotonic()
            with suppress(TimeoutError):  # its seconds say so
                prometheus.get(
                    "/api/v1/query_range", query=expand(target["expr"], texts), start=end - 600, end=end, step=10
                )
            found.append((panel["title"], time.monotonic() - before))
    return sorted(found, key=lambda pair: -pair[1])


def facts(
    prometheus: Server, rules: Path | None, containers: int, cpu: float, rules_cpu: float, seconds: float
) -> dict[str, str]:
    """Rows of the table for one Prometheus, which used ``cpu`` CPUs and was evaluating ``seconds`` of each minute."""
    made = {
        "series in the head": f"{value(prometheus, 'prometheus_tsdb_head_series'):,.0f}",
        "of them recorded": f"{_one(prometheus, RECORDED):,.0f}",
        "samples in a page": f"{_one(prometheus, 'max(scrape_samples_scraped)'):,.0f}",
        "targets up": f"{_one(prometheus, 'sum(up)'):,.0f}",
        "memory of Prometheus": f"{value(prometheus, 'process_resident_memory_bytes') / 2**20:,.0f} MiB",
        "CPU of Prometheus, average": f"{cpu:.3f} CPUs",
    }
    if rules is None:
        return made
    evaluated = groups(prometheus)
    series = {name: total / containers for name, total in touched(prometheus, rules).items()}
    slowest = sorted(
        (
            (rule["evaluationTime"] * 60 / group["interval"], rule["name"])
            for group in evaluated
            for rule in group["rules"]
        ),
        reverse=True,
    )
    return made | {
        "rule evaluations missed": f"{value(prometheus, 'prometheus_rule_group_iterations_missed_total'):.0f}",
        "CPU of the rules: what it uses more than without": f"{rules_cpu:.4f} CPUs",
        "time in rules, of each minute": f"{seconds:.2f} s",
        **{f"touched a minute and container by {name}": f"{each:.2f}" for name, each in series.items()},
        "touched a minute and container": f"{sum(series.values()):.1f}",
        "slowest rules, time of each minute": "; ".join(f"{name} {each:.3f} s" for each, name in slowest[:8]),
        "slowest panels of the cluster dashboard": "; ".join(
            f"{title} {seconds:.2f} s" for title, seconds in panel_seconds(prometheus)[:3]
        ),
    }


def measure(nodes: int, interval: int, minutes: int, folder: Path, choices: Sequence[Path | None]) -> str:
    """One Prometheus for each file of rules, side by side on the same pages."""
    with synthetic(3, folder / "node") as demo:
        made = template(demo.exporter.page_after_ticks(5).text)
    port = parts.free_port()
    pages = multiprocessing.Process(target=serve, args=(port, made), daemon=True)
    pages.start()
    try:
        with ExitStack() as stack:
            all_of_them = [
                stack.enter_context(parts.prometheus(config(port, nodes, interval, rules), folder / f"prometheus-{n}"))
                for n, rules in enumerate(choices)
            ]
            # The first minutes have no whole rate yet.
            time.sleep(60 * min(6, minutes // 2))
            began, before = time.monotonic(), [spent(one) for one in all_of_them]
            time.sleep(60 * (minutes - min(6, minutes // 2)))
            seconds = time.monotonic() - began
            used = [
                [(after - earlier) / seconds for after, earlier in zip(spent(one), old, strict=True)]
                for one, old in zip(all_of_them, before, strict=True)
            ]
            columns = [
                facts(one, rules, nodes * PODS * CONTAINERS, cpu, cpu - used[0][0], evaluating * 60)
                for one, rules, (cpu, evaluating) in zip(all_of_them, choices, used, strict=True)
            ]
    finally:
        pages.terminate()
        pages.join()
    head = f"{nodes} nodes, {PODS} pods of {CONTAINERS} containers each, scraped every {interval} s, for {minutes} min"
    machine = f"{os.cpu_count()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"
    names = [str(rules or "no rules") for rules in choices]
    rows = [
        (row, *(column.get(row, "") for column in columns)) for row in {row: None for one in columns for row in one}
    ]
    lines = [("", *names), ("---",) * (len(names) + 1), *rows]
    return "\n".join([f"## {head} ({machine})", "", *(f"| {' | '.join(line)} |" for line in lines)])


def _one(prometheus: Server, expression: str) -> float:
    found = prometheus.query(expression)
    return float(found[0]["value"][1]) if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--interval", type=int, default=30, help="seconds between scrapes")
    parser.add_argument("--minutes", type=int, default=10, help="how long; rates are whole after six")
    parser.add_argument("--rules", type=Path, nargs="+", default=[PLAIN_RULES], help="files to compare, side by side")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="throttle-scale-") as folder:
        made = measure(chosen.nodes, chosen.interval, chosen.minutes, Path(folder), [None, *chosen.rules])
        print(made)  # noqa: T201 a program prints


if __name__ == "__main__":
    main()
