"""The chart, as Helm 4 itself lints, checks and renders it (``helm-python-sdk`` carries it)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import helm_python
import yaml

Json = dict[str, Any]

ROOT: Final = Path(__file__).parent.parent.parent
CHART: Final = ROOT / "charts" / "kube-throttle-exporter"
RELEASE: Final = "kube-throttle-exporter"
NAMESPACE: Final = "monitoring"
CASES: Final[Mapping[str, Json]] = {
    path.name.removesuffix("-values.yaml"): yaml.safe_load(path.read_text()) or {}
    for path in sorted((CHART / "ci").glob("*-values.yaml"))
}
"""Values by feature."""
LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""PyYAML's own parser takes ten times as long as libyaml's."""


@cache
def load_chart(folder: Path = CHART) -> helm_python.Chart:
    """The chart in ``folder``, loaded once."""
    return helm_python.Chart.load(folder)


@cache
def _rendered(folder: Path, values: str, name: str, namespace: str) -> Mapping[str, str]:
    return load_chart(folder).render(json.loads(values), name=name, namespace=namespace)


def texts(values: Json, *, name: str = RELEASE, namespace: str = NAMESPACE, folder: Path = CHART) -> Mapping[str, str]:
    """Rendered text by template, without the folder's name."""
    found = _rendered(folder, json.dumps(values), name, namespace)
    return {path.split("/templates/", 1)[1]: text for path, text in found.items()}


def objects(values: Json, **keywords: Any) -> list[Json]:
    """Every object of one rendering, the test's pod included."""
    return [
        document
        for path, text in texts(values, **keywords).items()
        if path.endswith(".yaml")
        for document in yaml.load_all(text, Loader=LOADER)
        if document
    ]


def only(found: Iterable[Json], kind: str) -> Json:
    """The one object of a kind."""
    [one] = [each for each in found if each["kind"] == kind]
    return one


def kinds(found: Iterable[Json]) -> set[str]:
    return {each["kind"] for each in found}


def pod_specs(found: Iterable[Json]) -> Iterator[tuple[str, Json]]:
    """Every pod that the objects make, by the object's name."""
    for each in found:
        if each["kind"] == "Pod":
            yield each["metadata"]["name"], each["spec"]
        elif each["kind"] in {"DaemonSet", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def daemonset(values: Json, **keywords: Any) -> Json:
    return only(objects(values, **keywords), "DaemonSet")


def container(values: Json, **keywords: Any) -> Json:
    """The exporter's container."""
    [one] = daemonset(values, **keywords)["spec"]["template"]["spec"]["containers"]
    found: Json = one
    return found


def refusal(values: Json) -> str:
    """What Helm says to values that it does not take."""
    try:
        texts(values)
    except helm_python.HelmError as error:
        return str(error)
    raise AssertionError(f"rendered in spite of {values}")
