"""Trees that several tests read, and cgroups of the running kernel."""

from __future__ import annotations

import pytest

from tests.support.treebuilder import Tree
from tests.support.trees import LAYOUTS


@pytest.fixture(scope="session", params=LAYOUTS, ids=lambda layout: layout.__name__)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Each odd layout, written once; for reading only."""
    built: Tree = request.param(tmp_path_factory.mktemp(request.param.__name__))
    return built
