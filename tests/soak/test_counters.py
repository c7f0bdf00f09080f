"""A longer random life than that of ``tests/faults/test_counters.py``, from more seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.test_counters import check


@pytest.mark.parametrize("above", [False, True], ids=["", "quota above"])
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("seed", range(1, 5))
def test_a_served_counter_is_what_the_kernel_said(version: str, seed: int, above: bool, tmp_path: Path) -> None:
    check(tmp_path, version, above=above, seed=seed, steps=600)
