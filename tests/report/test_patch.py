"""The patch that carries out a recommendation."""

from __future__ import annotations

from typing import Any

import pytest

from exporter.cli.explain import limit_patch
from exporter.report.schema import Container

TO = {"cpu": "2100m"}


@pytest.mark.parametrize(
    ("kind", "path"),
    [("Deployment", ("template", "spec")), ("CronJob", ("jobTemplate", "spec", "template", "spec")), ("Job", ())],
)
@pytest.mark.parametrize(
    ("qos_class", "resources"),
    [("Burstable", {"limits": TO}), ("Guaranteed", {"limits": TO, "requests": TO})],
)
def test_the_owner_s_template_or_the_pod(
    by_name: dict[str, Container], kind: str, path: tuple[str, ...], qos_class: str, resources: dict[str, Any]
) -> None:
    one: Any = by_name["catalog/api"] | {"workload_kind": kind, "workload": "owner", "qos_class": qos_class}
    one["recommended"] = one["recommended"] | {"next_cores": 2.04}
    spec = patch = limit_patch(one) or {}
    assert patch["kind"] == (kind if kind != "Job" else "Pod")
    assert patch["metadata"] == {"namespace": "shop", "name": "owner" if kind != "Job" else one["pod"]}
    for key in ("spec", *path):
        spec = spec[key]
    assert spec["containers"] == [{"name": "api", "resources": resources}]


@pytest.mark.parametrize(
    "changes",
    [{"recommended": None}, {"mapped": False}, {"container": ""}, {"workload_kind": "Job", "resizable": False}],
)
def test_where_nothing_is_recommended_or_can_be_patched(by_name: dict[str, Container], changes: Any) -> None:
    one: Any = by_name["catalog/api"]
    assert limit_patch(one | changes) is None
