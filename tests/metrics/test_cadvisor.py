"""``--web.cadvisor-names`` on a recorded node, against what its kubelet's own cAdvisor said."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from exporter.metrics.catalog import CADVISOR_FAMILIES
from exporter.settings import Settings
from tests.support.trees import containerd_systemd, pod_list
from tests.support.whole import page_of

TREES = Path(__file__).parent.parent / "fixtures" / "trees"
LINE = re.compile(r"^(container_\w+)\{([^}]*)\} (\S+)")


def series(text: str) -> dict[tuple[str, str], float]:
    found = {}
    for line in text.splitlines():
        match = LINE.match(line)
        if match:
            found[match[1], ",".join(sorted(match[2].split(",")))] = float(match[3])
    return found


@pytest.mark.parametrize("name", ["kubelet-1.36-cgroup-v1-cgroupfs", "kubelet-1.36-cgroup-v1-systemd"])
def test_series_are_the_kubelet_s_own_name_by_name_and_label_by_label(name: str) -> None:
    folder = TREES / name
    root = folder / "t0"
    settings = Settings(
        path_cgroup=f"{root}/sys/fs/cgroup",
        path_proc=f"{root}/proc",
        path_sys=f"{root}/sys",
        pods_sources=(f"file:{folder}/pods.json",),
        web_cadvisor_names=True,
    )
    ours = series(page_of(settings).text)
    theirs = series((folder / "cadvisor.txt").read_text(encoding="utf-8"))
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
    sources = (f"file:{tmp_path}/pods.json",)
    page = page_of(Settings(path_cgroup=str(tree.root), pods_sources=sources, web_cadvisor_names=True))
    found = {
        value
        for (name, labels), value in series(page.text).items()
        if name == "container_spec_cpu_shares" and 'container=""' not in labels
    }
    assert found == ({shares} if shares else set())
