"""One minute of the demo's node, and the documents made of it."""

from __future__ import annotations

import pytest

from exporter.report.documents import Report
from exporter.report.schema import Container, ContainersDocument
from tests.report.node import minute


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return minute(tmp_path_factory.mktemp("minute"))


@pytest.fixture(scope="session")
def document(report: Report) -> ContainersDocument:
    return report.containers()


@pytest.fixture(scope="session")
def by_name(document: ContainersDocument) -> dict[str, Container]:
    """The node's containers by ``pod prefix/container``."""
    return {f"{one['pod'].partition('-')[0]}/{one['container']}": one for one in document["containers"]}
