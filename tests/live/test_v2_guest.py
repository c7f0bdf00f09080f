"""The live tests again, in a throw-away guest whose only hierarchy is cgroup v2.

The guest's runner is not part of this repository: ``V2GUEST_RUNNER`` names a program that is called as
``RUNNER --kernel K --share DIR --timeout S -- COMMAND``, shows DIR at ``/share``, runs COMMAND as root and ends with
its exit code. Without it these tests are skipped, also with CI=true: they are the other tests of this folder, which
run on the machine's own hierarchy.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lab_guest import write_share

RUNNER = os.environ.get("V2GUEST_RUNNER", "")
KERNELS = ("6.1", "6.18")
GUEST_PYTHON = (3, 11)
TIMEOUT_SECONDS = 600
EMULATOR_FAILED = 125

pytestmark = [
    pytest.mark.skipif(not RUNNER, reason="V2GUEST_RUNNER names no guest to run in"),
    pytest.mark.skipif(
        sys.version_info[:2] != GUEST_PYTHON, reason="the guest's Python 3.11 cannot load this version's packages"
    ),
    pytest.mark.timeout(2 * TIMEOUT_SECONDS + 60),
]


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("share")
    write_share(folder)
    return folder


def in_guest(kernel: str, share: Path) -> subprocess.CompletedProcess[str]:
    """The live tests in one guest; its CPUs are ten times slower than ours, so a test may take longer."""
    inside = (
        "cd /share/t && CI=true PYTHONPATH=/share/site python3 -m pytest -p no:cacheprovider "
        "--timeout=180 -rA -q tests/live --deselect tests/live/test_v2_guest.py"
    )
    arguments = ["--kernel", kernel, "--share", str(share), "--timeout", str(TIMEOUT_SECONDS), "--", inside]
    return subprocess.run([RUNNER, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_live_tests_hold_on_cgroup_v2(kernel: str, share: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = in_guest(kernel, share)
    if done.returncode == EMULATOR_FAILED:  # it now and then does
        done = in_guest(kernel, share)

    with capsys.disabled():
        tables = re.findall(r"^200 ms of CPU.*\n(?:.+\n){7}", done.stdout, re.MULTILINE)
        sys.stdout.write(f"\nkernel {kernel}, cgroup v2: {done.stdout.strip().splitlines()[-1:]}\n{''.join(tables)}")
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert re.search(r"\d+ passed", done.stdout)
    assert "skipped" not in done.stdout
