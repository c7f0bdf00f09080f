"""Trees that the sampler only reads."""

from __future__ import annotations

import pytest

from tests.support.treebuilder import Tree
from tests.support.trees import LAYOUTS


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.__name__)
def layout_tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Each odd layout."""
    built: Tree = request.param(tmp_path_factory.mktemp(request.param.__name__))
    return built
