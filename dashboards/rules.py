"""The rule files: thresholds stamped into those of the chart, and one plain file of them all for everybody else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from dashboards.thresholds import stamp

ROOT = Path(__file__).parent.parent
CHART_RULES = ROOT / "charts" / "kube-throttle-exporter" / "rules"
PLAIN_RULES = ROOT / "deploy" / "prometheus" / "rules" / "kube-throttle-exporter.yaml"
SOURCES = (CHART_RULES / "recording.yaml", CHART_RULES / "alerts.yaml")
_HEADER = "# Made from charts/kube-throttle-exporter/rules by `make docs`. Load it with rule_files.\n"


def files() -> Mapping[Path, str]:
    """What each rule file should hold."""
    stamped = {path: stamp(path.read_text(encoding="utf-8")) for path in SOURCES}
    return {**stamped, PLAIN_RULES: _HEADER + _joined(tuple(stamped.values()))}


def _joined(texts: tuple[str, ...]) -> str:
    # As text, so that comments and marks stay: they explain the rules to whoever reads the plain file.
    parts = [text.partition("groups:\n") for text in texts]
    return (
        "\n".join([*(head.rstrip() for head, _, _ in parts), "groups:", *(body.rstrip("\n") for _, _, body in parts)])
        + "\n"
    )
