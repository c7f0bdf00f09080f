"""The pages about degradation and operation name what there is, and nothing that there is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exporter.metrics.catalog import FAMILIES
from tests.faults.files import FILE_DEPENDENCIES
from tests.sampler.rig import Rig, running
from tests.support.reasons import POD_REASONS, unknown_to
from tests.support.trees import containerd_systemd

DOCS = Path(__file__).parent.parent.parent / "docs"
DEGRADATION = (DOCS / "degradation.md").read_text(encoding="utf-8")
PAGES = ("degradation.md", "operations.md")


def test_every_input_is_explained(tmp_path: Path) -> None:
    containerd_systemd(tmp_path)
    with running(Rig(tmp_path)) as rig:
        inputs = rig.snapshot().inputs.keys()
    told = set(re.findall(r'input_available\{input="(\w+)"\}', DEGRADATION))
    assert told == inputs


def test_every_dependency_of_the_fault_matrix_is_explained() -> None:
    text = DEGRADATION.replace("`", "").lower()
    spelled = {"cpuset tree": "cpuset", "cpuacct tree": "cpuacct", "cpu manager checkpoint": "cpu manager's checkpoint"}
    dependencies = ("kubelet", "API server", "log directory", "/configz", *(one.name for one in FILE_DEPENDENCIES))
    names = [spelled.get(name.lower(), name.lower()) for name in dependencies]
    assert [name for name in names if f"| {name}" not in text] == []


def test_every_listed_reason_of_a_pod_source_can_be_given() -> None:
    assert len(POD_REASONS) > 20
    assert unknown_to("kube", POD_REASONS) == set()


@pytest.mark.parametrize("page", PAGES)
def test_every_metric_that_is_named_exists(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    known = {family.name for family in FAMILIES} | set(re.findall(r"throttle_exporter_\w+", own()))
    named = set(re.findall(r"\b(?:cgroup_(?:container|pod|node)|throttle_exporter)_\w+", text))
    assert {name for name in named if name not in known and not any(one.startswith(name) for one in known)} == set()


def own() -> str:
    return (DOCS / "metrics.md").read_text(encoding="utf-8").partition("## The exporter itself")[2]
