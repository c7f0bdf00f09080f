"""The patch that carries out a recommendation."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.cli.explain import limit_patch
from exporter.report import Container


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        ("Deployment", ("spec", "template", "spec")),
        ("CronJob", ("spec", "jobTemplate", "spec", "template", "spec")),
        ("Job", ("spec",)),
    ],
)
def test_the_owner_s_template_or_the_pod(by_name: dict[str, Container], kind: str, path: tuple[str, ...]) -> None:
    one: Any = by_name["catalog/api"] | {"workload_kind": kind, "workload": "owner"}
    assert one["recommended"] is not None
    one["recommended"] = one["recommended"] | {"next_cores": 2.04}
    patch = limit_patch(one)
    assert patch is not None
    assert patch["kind"] == (kind if kind != "Job" else "Pod")
    assert patch["metadata"] == {"namespace": "shop", "name": "owner" if kind != "Job" else one["pod"]}
    spec: Any = patch
    for key in path:
        spec = spec[key]
    assert spec["containers"] == [{"name": "api", "resources": {"limits": {"cpu": "2100m"}}}]


def test_a_guaranteed_pod_stays_guaranteed(by_name: dict[str, Container]) -> None:
    one: Any = by_name["catalog/api"] | {"qos_class": "Guaranteed"}
    patch = limit_patch(one)
    assert patch is not None
    [container] = patch["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == container["resources"]["limits"]


def test_nothing_to_recommend_is_no_patch(by_name: dict[str, Container]) -> None:
    one: Any = by_name["catalog/api"]
    assert limit_patch(one | {"recommended": None}) is None
    assert limit_patch(one | {"mapped": False}) is None
