"""A day of samples and a week's containers in a minute: memory and descriptors stay where they are.

Of a process of its own: the median of the last third of the readings beside that of the second third, of the blocks
that Python holds, and of resident memory as the kernel counts it, which grows by whole arenas or not at all.
:mod:`tests.soak.soak` says what is done, and what is not in it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.soak.soak import CONTAINERS, PODS

ROOT = Path(__file__).parent.parent.parent
TICKS = 100_000
LIFETIMES = 20_000
"""A fifth of what ``--lifetimes 100000`` does: a leak of one object in ten containers would show."""
MOST_BYTES = 2_500_000
"""Two arenas."""
MOST_BLOCKS = 500


def soaked(*options: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.soak.soak", *options]
    ended = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    sys.stdout.write(ended.stdout)
    told: dict[str, Any] = json.loads(ended.stdout)
    assert told["failures"] == {}
    assert told["kept after close"] == 0
    assert told["growth blocks"] < MOST_BLOCKS
    assert told["growth bytes"] < MOST_BYTES
    return told


@pytest.mark.timeout(240)
def test_a_hundred_thousand_samples(tmp_path: Path) -> None:
    told = soaked(f"--ticks={TICKS}")
    assert told["ticks"] == TICKS
    # Three files of each of the pods and containers that are there, whatever was there before.
    assert told["descriptors"] <= 3 * PODS * (1 + CONTAINERS)


@pytest.mark.timeout(240)
def test_containers_that_come_and_go() -> None:
    told = soaked(f"--lifetimes={LIFETIMES}")
    assert told["lifetimes"] == LIFETIMES
