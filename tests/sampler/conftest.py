"""Trees that the sampler only reads."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampler.rig import SmallNode, running
from tests.support import trees
from tests.support.treebuilder import Tree


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallNode]:
    with running(SmallNode(tmp_path)) as rig:
        yield rig


# Of all layouts those that ask something of the sampler: other paths are the walk's and the opener's business.
LAYOUTS = (
    trees.crio,
    trees.v1_paths_differ,
    trees.containerd_slice_colon,
    trees.hybrid,
    trees.two_kind_nodes,
    trees.gvisor,
    trees.systemd_in_pod,
    trees.host_noise,
)


@pytest.fixture(params=LAYOUTS, ids=lambda layout: layout.__name__)
def layout_tree(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Each odd layout."""
    built: Tree = request.param(tmp_path_factory.mktemp(request.param.__name__))
    return built
