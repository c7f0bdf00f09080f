"""A small node for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sampler.rig import SmallNode, running


@pytest.fixture
def small(tmp_path: Path) -> Iterator[SmallNode]:
    with running(SmallNode(tmp_path)) as rig:
        yield rig
