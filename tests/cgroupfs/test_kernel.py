"""Readers against the running kernel: how a cgroup really dies, comes back, and hides a file."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from exporter.cgroupfs.discover import walk
from exporter.cgroupfs.files import Descriptors
from exporter.cgroupfs.readers import CgroupFiles
from exporter.errors import VanishedError
from exporter.model import CpuStat
from tests.conftest import unavailable
from tests.support.readers import v1_files, v2_files

NAME = "kte-readers-"


def mounted(kind: str) -> Path | None:
    """Where this machine has the v1 cpu controller (``cgroup``) or a v2 hierarchy (``cgroup2``)."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place, _, filesystem = line.partition(" - ")
        found, _, options = filesystem.split(" ", 2)
        if found == kind and (kind == "cgroup2" or "cpu" in options.rpartition(" ")[2].split(",")):
            return Path(place.split()[4])
    return None


@pytest.fixture(params=["cgroup", "cgroup2"], ids=["v1", "v2"])
def live(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A cgroup of this machine, in each hierarchy that it has."""
    mounts = {kind: mount for kind in ("cgroup", "cgroup2") if (mount := mounted(kind))}
    if not mounts:
        unavailable("needs a cgroup hierarchy")
    mount = mounts.get(request.param)
    if mount is None:
        pytest.skip(f"this machine has {' and '.join(mounts)} only")
    for left in mount.glob(f"{NAME}*"):
        if not Path(f"/proc/{left.name.removeprefix(NAME)}").exists():
            left.rmdir()
    folder = mount / f"{NAME}{os.getpid()}"
    try:
        folder.mkdir()
    except OSError as error:
        unavailable(f"needs a hierarchy in which cgroups can be made: {error}")
    yield folder
    with suppress(FileNotFoundError):
        folder.rmdir()


def files_of(folder: Path, budget: Descriptors) -> CgroupFiles:
    if (folder.parent / "cgroup.controllers").exists():
        return v2_files(folder, budget=budget)
    return v1_files(folder, None, None, budget)


@pytest.mark.parametrize("limit", [8, 0], ids=["kept", "not kept"])
def test_a_removed_cgroup_has_vanished_and_one_made_anew_is_read_at_once(live: Path, limit: int) -> None:
    budget = Descriptors(limit)
    files = files_of(live, budget)
    first = files.stat()
    assert isinstance(first, CpuStat)
    live.rmdir()
    live.mkdir()
    assert files.stat() == first, "both are new: all counters are zero"
    live.rmdir()
    for read in (files.stat, files.local_throttled_seconds, files.limits, files.threads):
        with pytest.raises(VanishedError):
            read()
    assert budget.kept == 0


@contextmanager
def churning(folder: Path) -> Iterator[None]:
    """A process that makes and removes ``folder`` all the time."""
    script = "import os, sys\nprint('ready', flush=True)\nwhile True:\n os.mkdir(sys.argv[1])\n os.rmdir(sys.argv[1])"
    with subprocess.Popen([sys.executable, "-c", script, folder], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield
        finally:
            process.kill()
    with suppress(FileNotFoundError):
        folder.rmdir()


@pytest.mark.parametrize("limit", [8, 0], ids=["kept", "not kept"])
def test_a_cgroup_that_dies_under_the_reader_is_never_one_without_counters(live: Path, limit: int) -> None:
    budget, pod = Descriptors(limit), live / "pod"
    with churning(pod):
        died = 0
        while died < 15:
            files = files_of(pod, budget)
            with suppress(VanishedError):
                while files.stat() is None:
                    pass  # files appear a moment after their directory, and go a moment before it
                with suppress(VanishedError):
                    while True:
                        assert files.stat() is not None
                died += 1
            files.close()
    assert budget.kept == 0


def test_a_walk_over_cgroups_that_come_and_go_meets_no_problem(live: Path) -> None:
    problems, numbers = Counter[str](), Counter[int]()
    with churning(live / "pod6a1b2c3d-0d11-4e22-8f33-123456789abc"):
        while min(numbers[0], numbers[1]) < 10:
            found = walk(str(live))
            problems.update(found.problems)
            numbers[len(found.found)] += 1
    assert problems == Counter()


def test_pressure_that_is_switched_off_is_absent_and_comes_back(live: Path) -> None:
    switch = live / "cgroup.pressure"
    if not switch.exists():
        pytest.skip("v1, or a kernel without a PSI switch")
    files = files_of(live, Descriptors(8))
    for _ in range(2):
        assert files.pressure() is not None
        switch.write_text("0")
        assert files.pressure() is None
        assert files.stat() is not None
        switch.write_text("1")
    assert files.pressure() is not None
    files.close()


THREADS = """
import sys, threading
threading.stack_size(65536)
for _ in range(int(sys.argv[1]) - 1):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


def test_threads_are_counted_beyond_a_page_of_their_numbers(live: Path) -> None:
    files = files_of(live, Descriptors(8))
    assert files.threads() is None
    with subprocess.Popen(
        [sys.executable, "-c", THREADS, "1200"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        (live / "cgroup.procs").write_text(str(process.pid))
        counted = files.threads()
        (live.parent / "cgroup.procs").write_text(str(process.pid))
    assert counted == 1200
