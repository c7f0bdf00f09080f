"""``--web.cadvisor-names`` on a recorded node, against what its kubelet's own cAdvisor said; ``once --output``."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from exporter.metrics.catalog import CADVISOR_FAMILIES
from exporter.settings import Settings
from tests.support.trees import containerd_systemd, pod_list
from tests.support.whole import page_of

TREES = Path(__file__).parent.parent / "fixtures" / "trees"
LINE = re.compile(r"^(container_\w+)\{([^}]*)\} (\S+)", re.MULTILINE)


def series(root: Path, pods: Path) -> dict[tuple[str, str], float]:
    sources = (f"file:{pods}",)
    settings = Settings(path_cgroup=str(root), pods_sources=sources, web_cadvisor_names=True)
    return parsed(page_of(settings).text)


def parsed(text: str) -> dict[tuple[str, str], float]:
    return {(name, ",".join(sorted(labels.split(",")))): float(value) for name, labels, value in LINE.findall(text)}


@pytest.mark.parametrize("name", ["kubelet-1.36-cgroup-v1-cgroupfs", "kubelet-1.36-cgroup-v1-systemd"])
def test_series_are_the_kubelet_s_own_name_by_name_and_label_by_label(name: str) -> None:
    ours = series(TREES / name / "t0/sys/fs/cgroup", TREES / name / "pods.json")
    theirs = parsed((TREES / name / "cadvisor.txt").read_text(encoding="utf-8"))
    names = {family.name for family in CADVISOR_FAMILIES}
    assert {key[0] for key in ours} == names
    # cAdvisor also shows sandboxes, QoS groups and the root, and not the containers it had not looked at yet.
    common = ours.keys() & theirs.keys()
    assert len(common) > 60
    assert {key[0] for key in common} == names
    for key in common:
        if key[0].startswith("container_spec"):
            assert ours[key] == theirs[key], key
        else:
            assert ours[key] >= theirs[key], f"{key}: theirs is up to 20 s older"


@pytest.mark.parametrize(("weight", "shares"), [("1", 2), ("39", 998), ("100", 2597), ("10000", 262144), ("0", None)])
def test_a_weight_is_converted_as_cadvisor_does(tmp_path: Path, weight: str, shares: int | None) -> None:
    """Fixed points of its ``convertCPUWeightToCPULimit``; of a weight it cannot convert it serves nothing either."""
    tree = containerd_systemd(tmp_path / "cgroup")
    for container in tree.containers:
        (tree.root / container.path / "cpu.weight").write_text(f"{weight}\n")
    (tmp_path / "pods.json").write_text(json.dumps(pod_list(tree)))
    served = series(tree.root, tmp_path / "pods.json")
    of_pods = 'container=""'
    found = {value for key, value in served.items() if key[0] == "container_spec_cpu_shares" and of_pods not in key[1]}
    assert found == ({shares} if shares else set())


def test_a_page_for_node_exporter_has_no_metrics_that_node_exporter_has(tmp_path: Path) -> None:
    root, output = TREES / "kubelet-1.36-cgroup-v1-systemd" / "t0", tmp_path / "throttling.prom"
    flags = [f"--path.cgroup={root}/sys/fs/cgroup", "--pods.sources=none", f"--output={output}"]
    subprocess.run([sys.executable, "-m", "exporter", "once", *flags], check=True)
    page = output.read_text(encoding="utf-8")
    assert "cgroup_container_cpu_periods_total{" in page
    assert "throttle_exporter_build_info{" in page
    assert not re.search("^(process|python)_", page, re.MULTILINE)
