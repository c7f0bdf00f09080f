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
    expanded = expression.replace("$__rate_interval", RATE_INTERVAL).replace("$__range", f"{PAST_SECONDS}s")
    # What makes an absent number grey is no answer.
    expanded = expanded.removesuffix(" or vector(NaN)")
    for name, text in texts.items():
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


def _asked(name: str, board: Json) -> list[Asked]:
    every = [
        Asked(name, f"{panel['title']} {target['refId']}", target["expr"])
        for panel in panels(board)
        for target in panel["targets"]
    ]
    return every + [Asked(name, "annotation", item["expr"]) for item in board["annotations"]["list"]]
