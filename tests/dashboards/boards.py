"""The dashboards as Grafana gets them."""

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from dashboards.generate import CHART_DASHBOARDS

Json = dict[str, Any]


class Asked(NamedTuple):
    """One query of a dashboard."""

    board: str
    where: str
    expr: str


@cache
def boards() -> dict[str, Json]:
    """By file name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(CHART_DASHBOARDS.glob("*.json"))}


def panels(board: Json) -> Iterator[Json]:
    """Every panel, those of collapsed rows too, without the rows."""
    for panel in board["panels"]:
        yield from (panel.get("panels") or []) if panel["type"] == "row" else [panel]


def variables(board: Json) -> Iterator[Json]:
    return (variable for variable in board["templating"]["list"] if variable["type"] == "query")


def label_values(variable: Json) -> tuple[str, str]:
    """Selector and label of ``label_values(selector, label)``."""
    [(selector, label)] = re.findall(r"^label_values\((.+), (\w+)\)$", variable["query"]["query"])
    return selector, label


def queries() -> Iterator[Asked]:
    """Every expression of every dashboard: panels, variables, annotations."""
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(name, f"{panel['title']} {target['refId']}", target["expr"])
        for variable in variables(board):
            yield Asked(name, f"variable {variable['name']}", label_values(variable)[0])
        for annotation in board["annotations"]["list"]:
            yield Asked(name, f"annotation {annotation['name']}", annotation["expr"])
