"""The shipped rules as promtool has to be given them so that each group is evaluated at its own interval.

promtool evaluates all groups at each step, whatever ``interval`` they have. Here a rule of a slower group says between
two of its evaluations what it said at the last one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import yaml

from dashboards.rules import SOURCES
from dashboards.thresholds import THRESHOLDS, stamp

QUIET_NAMESPACE = "quiet"
"""Is excluded, as the chart's ``prometheusRule.excludedNamespaces`` does it."""


@cache
def groups() -> tuple[Mapping[str, Any], ...]:
    """All groups of the chart's files, in their order."""
    thresholds = {**THRESHOLDS, "excludedNamespaces": THRESHOLDS["excludedNamespaces"]._replace(value='"quiet"')}
    texts = [stamp(path.read_text(encoding="utf-8"), thresholds) for path in SOURCES]
    return tuple(group for text in texts for group in yaml.load(text, yaml.CSafeLoader)["groups"])


@cache
def in_time(phase: int = 0, *, texts: bool = True) -> str:
    """A rule file in which slower groups speak in their minute ``phase``, counted modulo their interval.

    Without ``texts`` it takes a fraction of the time: each of an alert's is made anew at each evaluation.
    """
    made = [_slowed(group, phase) for group in groups()]
    if not texts:
        made = [
            {**group, "rules": [{key: rule[key] for key in rule if key != "annotations"} for rule in group["rules"]]}
            for group in made
        ]
    return json.dumps({"groups": made})


def _slowed(group: Mapping[str, Any], phase: int) -> Mapping[str, Any]:
    minutes = int(group["interval"].removesuffix("m"))
    if minutes == 1:
        return group
    now = f"(vector(time()) % {minutes * 60} == {phase % minutes * 60})"
    rules: list[Mapping[str, Any]] = []
    for rule in group["rules"]:
        name = rule.get("record") or f"test:{rule['alert']}:last"
        expression = f"(({rule['expr']}\n) and on () {now}) or ({name} unless on () {now})"
        if "record" in rule:
            rules.append({**rule, "expr": expression})
        else:
            rules += [{"record": name, "expr": expression}, {**rule, "expr": name}]
    return {**group, "interval": "1m", "rules": rules}
