"""The part of values.yaml and values.schema.json that is written from tables: options and thresholds."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Final

import yaml

from dashboards.thresholds import THRESHOLDS, Threshold
from exporter.settings import OPTIONS, Option
from tests.chart.charting import CHART, Json

BEGIN: Final = "config:"
END: Final = "# --- End of the options "
WIDTH: Final = 120

IN_THE_CHART: Final = {
    "path.cgroup": "The chart mounts hostPaths.cgroup there.",
    "path.logs": "The chart mounts pods and containers of hostPaths.logs there when pods.sources has logs.",
    "pods.sources": "They decide which rights and mounts the chart asks for. Also as a list.",
    "web.listen-address": "The chart takes the port from here; 0 is refused.",
    "web.config.file": "webConfig sets it; set it here for a file of your own from extraVolumes.",
    "kubelet.url": "NODE_IP is the node's address.",
    "kubelet.ca-file": "Where the kubelets have a CA of their own: a file from extraVolumes.",
    "node.name": "NODE_NAME is the node's name.",
    "config.file": "A file from extraVolumes.",
}
"""What the exporter's help cannot say, because it knows no chart."""

# Short rather than exact, because Helm's message shows them; the exporter says the rest.
_DURATION: Final = "^(0|([0-9]+(ms|[smhdwy]))+)$"
_ONE_LINE: Final = r"^[^\n\r\t]*$"
# Not 0, which the exporter takes for any free one: the Service and the probes have to know it.
_PORT: Final = "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_SOURCE: Final = "(kubelet|apiserver|logs|file:[^,]+)"

_TYPES: Final[Mapping[str, Json]] = {
    "duration": {"type": ["string", "null"], "pattern": _DURATION},
    "switch": {"type": ["boolean", "null"]},
    "path": {"type": ["string", "null"], "pattern": _ONE_LINE},
    "URL": {"type": ["string", "null"], "pattern": r"^https?://[^@\s]+$"},
    "URL path": {"type": ["string", "null"], "pattern": r"^(/[A-Za-z0-9._~-]+)+$"},
    "address": {"type": ["string", "null"], "pattern": rf"^\S*:{_PORT}$"},
    "text": {"type": ["string", "null"], "pattern": _ONE_LINE},
    "list": {
        "type": ["string", "array", "null"],
        "pattern": f"^(none|{_SOURCE}(,{_SOURCE})*)$",
        "items": {"type": "string", "pattern": f"^(none|{_SOURCE})$"},
        "minItems": 1,
        "uniqueItems": True,
    },
}


def nested(values: Mapping[str, object]) -> Json:
    """``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    tree: Json = {}
    for flag, value in values.items():
        *parents, last = flag.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return tree


def flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """The inverse of :func:`nested`."""
    for name, value in tree.items():
        if isinstance(value, dict):
            yield from flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def values_with_options(text: str) -> str:
    """values.yaml with its ``config`` written anew: every option, its help as comment, the value that is there now."""
    kept = dict(flat(yaml.safe_load(text)["config"]))
    before, _, rest = text.partition(f"\n{BEGIN}")
    after = rest[rest.index(f"\n{END}") :]
    lines = [BEGIN, *_block(nested({row.flag: row for row in OPTIONS}), kept, "  ")]
    return "\n".join([before, *lines]) + after


def schema_with_options(schema: Json) -> Json:
    """values.schema.json with what it says of ``config`` and of the rules' thresholds written anew."""
    tree = nested({row.flag: row for row in OPTIONS})
    config = _object(tree) | {"description": "Options of the exporter, each under its own name."}
    rules = schema["properties"]["prometheusRule"]
    rules["properties"]["thresholds"] = _object({}) | {
        "properties": {name: _threshold(threshold) for name, threshold in sorted(THRESHOLDS.items())}
    }
    rules["properties"]["disabledAlerts"]["items"] = {"type": "string", "enum": sorted(alerts())}
    return schema | {"properties": schema["properties"] | {"config": config, "prometheusRule": rules}}


@cache
def alerts() -> Mapping[str, str]:
    """Severity by alert of the chart's rule files."""
    groups = [
        group for path in (CHART / "rules").glob("*.yaml") for group in yaml.safe_load(path.read_text())["groups"]
    ]
    return {rule["alert"]: rule["labels"]["severity"] for group in groups for rule in group["rules"] if "alert" in rule}


def _threshold(threshold: Threshold) -> Json:
    """What may stand in its place: a number, a duration, or a regular expression without what would end its quotes."""
    if threshold.value.startswith('"'):
        kind: Json = {"type": "string", "pattern": r'^([^\s"\\]|\\[^\s"])+$'}
    elif re.fullmatch(_DURATION, threshold.value):
        kind = {"type": "string", "pattern": _DURATION}
    else:
        kind = {"type": "number", "minimum": 0}
    return {"description": threshold.help} | kind


def _block(tree: Json, kept: Mapping[str, object], indent: str) -> Iterator[str]:
    for name, node in tree.items():
        if isinstance(node, dict):
            yield f"{indent}{name}:"
            yield from _block(node, kept, f"{indent}  ")
        else:
            yield from (f"{indent}# {line}" for line in textwrap.wrap(_comment(node), WIDTH - 2 - len(indent)))
            yield f"{indent}{name}: {json.dumps(kept.get(node.flag))}"


def _comment(row: Option) -> str:
    limits = f", {row.kind.limits}" if row.kind.limits else ""
    sentences = (row.help, f"Default: {row.default or 'none'}{limits}", IN_THE_CHART.get(row.flag, ""))
    return " ".join(f"{sentence.rstrip('.')}." for sentence in sentences if sentence)


def _object(tree: Json) -> Json:
    properties = {name: _object(node) if isinstance(node, dict) else _leaf(node) for name, node in tree.items()}
    return {"type": "object", "additionalProperties": False, "properties": properties}


def _leaf(row: Option) -> Json:
    if row.kind.unit == "choice":
        choices = row.kind.limits.removeprefix("one of ").split(", ")
        # Not an enum: with null in it, Helm's message calls that <nil>.
        return {"description": row.help, "type": ["string", "null"], "pattern": f"^({'|'.join(choices)})$"}
    return {"description": row.help} | _TYPES[row.kind.unit]
