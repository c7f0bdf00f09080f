"""Thresholds: read from ``thresholds.yaml``, stamped into rules, drawn in panels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

_FILE = Path(__file__).with_name("thresholds.yaml")
_MARK = re.compile(r"(?P<value>\S+)(?P<gap> # )(?P<name>[a-z]\w+)$", re.MULTILINE)


class Threshold(NamedTuple):
    """One row of the file."""

    value: str
    """As PromQL or YAML spells it: ``0.25``, ``15m``, ``"static"`` with its quotes."""
    help: str

    @property
    def number(self) -> float:
        """For a panel; raises ``ValueError`` where the threshold is no number."""
        return float(self.value)


def load(path: Path = _FILE) -> Mapping[str, Threshold]:
    """Every threshold by name."""
    rows = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: Threshold(str(row["value"]), row["help"]) for name, row in rows.items()}


THRESHOLDS: Mapping[str, Threshold] = load()


def stamp(text: str, thresholds: Mapping[str, Threshold] = THRESHOLDS) -> str:
    """``text`` with the value before each ``# name`` at a line's end put right; ``KeyError`` on an unknown name."""
    return _MARK.sub(lambda mark: f"{thresholds[mark['name']].value}{mark['gap']}{mark['name']}", text)


def marks(text: str) -> set[str]:
    """Names of the thresholds that ``text`` uses."""
    return {mark["name"] for mark in _MARK.finditer(text)}
