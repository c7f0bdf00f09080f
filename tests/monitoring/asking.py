"""Every query of every dashboard, put to a Prometheus as Grafana would put it."""

import re
import time
from collections.abc import Mapping

from tests.dashboards.boards import Asked, Json, boards, label_values, panels, variables
from tests.monitoring.parts import Server

Values = Mapping[str, str]
"""Variable -> the text Grafana writes in its place."""

RATE_INTERVAL = "5s"
PAST_SECONDS = 20

EMPTY_BY_NATURE = {
    ("exporter", "Errors, by stage and reason A"): "nothing fails",
    ("exporter", "Inputs that are missing A"): "all can be read",
    ("exporter", "annotation"): "no alert about the exporter fires",
    ("workload", "Burst A"): "no demo container has a burst",
}
"""Queries that may give nothing, and why that is as it should be."""


def choices(board: Json, prometheus: Server) -> dict[str, list[str]]:
    """What each variable offers, everything being chosen in those before it."""
    found: dict[str, list[str]] = {}
    for variable in variables(board):
        selector, label = label_values(variable)
        series = prometheus.get("/api/v1/series", **{"match[]": expand(selector, texts_of(board, found))})["data"]
        found[variable["name"]] = sorted({one[label] for one in series if one.get(label)})
    return found


def texts_of(board: Json, found: Mapping[str, list[str]]) -> dict[str, str]:
    """Variable -> what Grafana writes for it when everything is chosen."""
    texts = {}
    for variable in variables(board):
        if (name := variable["name"]) not in found:
            continue
        # Of nodes the last: a synthetic one, which has pressure counters on any machine.
        texts[name] = found[name][-1] if name == "node" and not variable["includeAll"] else ".*"
    return texts


def expand(expression: str, texts: Values) -> str:
    """The expression with every variable replaced."""
    times = {"$__rate_interval": RATE_INTERVAL, "$__interval": RATE_INTERVAL, "$__range": f"{PAST_SECONDS}s"}
    expanded = expression
    for name, text in times.items():
        expanded = expanded.replace(name, text)
    # What makes an absent number grey is no answer.
    expanded = expanded.removesuffix(" or vector(NaN)")
    for name, text in texts.items():
        if text == ".*":
            expanded = expanded.replace(f'{name}="${name}"', f'{name}=~"${name}"')
        # Within the quotes of a PromQL string a backslash is written twice.
        expanded = expanded.replace(f'"${name}"', '"' + text.replace("\\", "\\\\") + '"')
    assert not re.search(r"\$(?!\d)", expanded), expanded  # $1 is of label_replace
    return expanded


def answers(prometheus: Server) -> dict[Asked, int]:
    """How many series each query of each dashboard gives over the last seconds, everything being chosen."""
    found = {}
    for name, board in boards().items():
        texts = texts_of(board, choices(board, prometheus))
        for asked in _asked(name, board):
            end = time.time()
            result = prometheus.get(
                "/api/v1/query_range", query=expand(asked.expr, texts), start=end - PAST_SECONDS, end=end, step=1
            )
            found[asked] = len(result["data"]["result"])
    return found


_POD = frozenset({"cluster", "namespace", "pod", "container"})
_WORKLOAD = frozenset({"cluster", "namespace", "workload_kind", "workload"})
SUBJECTS = {
    "Which workloads lack CPU, and why?": _WORKLOAD,
    "Which workloads wait for a CPU?": _WORKLOAD,
    "Which alerts fire?": frozenset({"alertname", "cluster", "namespace", "workload", "node"}),
    "Limits": _POD,
    # A restarted container is another one for as long as Prometheus looks back.
    "Instances": _POD | {"node", "container_id"},
    "Owners of CPUs": _POD,
    "Use and requests": _POD,
    "Kernel and cgroups": frozenset({"cluster", "node"}),
    "Kubelet": frozenset({"cluster", "node"}),
    "Pod sources": frozenset({"cluster", "source"}),
    "Versions": frozenset({"cluster", "version", "python_version"}),
    "Inputs that are missing": frozenset({"cluster", "input"}),
    "Settings in use": frozenset({"cluster", "setting", "value"}),
}
"""Table -> the labels that say what a row is about."""

Labels = frozenset[tuple[str, str]]


def tables(prometheus: Server) -> dict[str, tuple[set[Labels], set[Labels]]]:
    """Rows and subjects of each table as it is now, everything being chosen; Grafana makes a row of each label set."""
    found = {}
    for board in boards().values():
        texts = texts_of(board, choices(board, prometheus))
        for panel in (panel for panel in panels(board) if panel["type"] == "table"):
            rows = {
                frozenset((name, text) for name, text in sample["metric"].items() if name != "to")
                for target in panel["targets"]
                for sample in prometheus.query(expand(target["expr"], texts))
            }
            about = {frozenset(pair for pair in row if pair[0] in SUBJECTS[panel["title"]]) for row in rows}
            found[panel["title"]] = (rows, about)
    return found


def _asked(name: str, board: Json) -> list[Asked]:
    every = [
        Asked(name, f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels(board)
        for target in panel["targets"]
    ]
    return every + [Asked(name, "annotation", item["expr"]) for item in board["annotations"]["list"]]
