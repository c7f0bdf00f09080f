from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from exporter.errors import ExporterError
from exporter.metrics.exposition import Renderer
from tests.support import snapshots as make

TREE = Path(__file__).parent.parent / "fixtures" / "trees" / "kubelet-1.36-cgroup-v1-systemd"


def test_a_value_that_cannot_be_written_costs_its_own_family_and_is_counted() -> None:
    healthy = make.container("web", limit=1.0)
    assert healthy.identity is not None
    sick = healthy._replace(identity=replace(healthy.identity, restart_count=10**400))
    errors: list[ExporterError] = []

    page = Renderer({"info", "usage", "limits"}, on_error=errors.append).render(make.snapshot(sick), "text")

    assert b"cgroup_container_cpu_limit_cores{" in page
    assert b"restarts_total" not in page
    assert [(error.stage, error.reason) for error in errors] == [("render", "value")]


def test_a_page_for_node_exporter_has_no_metrics_that_node_exporter_has(tmp_path: Path) -> None:
    output = tmp_path / "throttling.prom"
    root = TREE / "t0"
    flags = [f"--path.cgroup={root}/sys/fs/cgroup", f"--path.proc={root}/proc", f"--path.sys={root}/sys"]
    command = [sys.executable, "-m", "exporter", "once", *flags, "--pods.sources=none", f"--output={output}"]
    subprocess.run(command, check=True)

    page = output.read_text(encoding="utf-8")

    assert "cgroup_container_cpu_periods_total{" in page
    assert "throttle_exporter_build_info{" in page
    assert "\nprocess_" not in page
    assert "\npython_" not in page
