"""Trees that several tests read, and cgroups of the running kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.treebuilder import Tree
from tests.support.trees import LAYOUTS


@pytest.fixture(scope="session", params=LAYOUTS, ids=lambda layout: layout.__name__)
def tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Each odd layout, written once; for reading only."""
    built: Tree = request.param(tmp_path_factory.mktemp(request.param.__name__))
    return built


@pytest.fixture
def public_path(tmp_path: Path) -> Path:
    """A folder that every user may enter; pytest's own are the owner's alone."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o711)
    return tmp_path
