"""A real, writable cgroup hierarchy, or the reason why there is none.

These tests measure the kernel itself: they need root and a hierarchy in which groups can be made. With CI=true its
absence is a failure, not a skip.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from exporter.lab.cgroups import CgroupTree, Hierarchy, LabError, writable_hierarchy
from tests.conftest import unavailable
from tests.support.lab_stage import Stage, stage


@pytest.fixture(scope="session")
def hierarchy() -> Hierarchy:
    try:
        return writable_hierarchy()
    except LabError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")


@pytest.fixture
def tree(hierarchy: Hierarchy) -> Iterator[CgroupTree]:
    with CgroupTree(hierarchy, "test") as made:
        yield made


@pytest.fixture(scope="module")
def node(hierarchy: Hierarchy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A node with an exporter, for all scenes of a module."""
    with stage(hierarchy, tmp_path_factory.mktemp("stage")) as made:
        yield made
