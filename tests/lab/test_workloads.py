"""The workers: they do what they are for, report it, and end with their owner, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.lab.cgroups import LabError
from exporter.lab.spec import Workload
from exporter.lab.workloads import Job, Workforce
from tests.support.lab import alive, eventually


@pytest.fixture
def workforce() -> Iterator[Workforce]:
    with Workforce() as made:
        yield made


def pids(*jobs: Job) -> list[int]:
    return [process.pid for job in jobs for process in job.processes]


def test_workers_begin_together_and_end_after_their_time(workforce: Workforce) -> None:
    busy = Workload("busy", 2, unit_seconds=0.005, seconds=0.2)
    slow = Workload("fib_slow", seconds=0.2)
    jobs = [workforce.start(one, [], hold=True) for one in (busy, slow)]
    start = time.monotonic()
    for job in jobs:
        job.begin()

    reports = [job.wait() for job in jobs]

    assert time.monotonic() >= start + 0.2
    assert [len(one) for one in reports] == [2, 1]
    # What a busy neighbour leaves of two tenths of a second is enough for one unit of 5 ms.
    assert all(one.units >= 1 and one.cpu_seconds >= one.units * 0.005 for one in reports[0])
    assert all(0.005 * one.units <= one.latency_seconds <= 0.25 for one in reports[0])
    # 10 ms of sleep after each hundred iterations.
    assert reports[1][0].units <= 20
    assert reports[1][0].cpu_seconds < 0.1


def test_bursts_keep_to_their_times(workforce: Workforce) -> None:
    bursty = Workload("bursty", unit_seconds=0.002, every_seconds=0.05, seconds=0.24)

    [report] = workforce.start(bursty, []).wait()

    # At 0, 50, 100, 150 and 200 ms, unless a burst was held up beyond the next one's time.
    assert 1 <= report.units <= 5
    assert report.cpu_seconds < 0.1


def test_a_worker_is_pinned_to_its_cpu(workforce: Workforce) -> None:
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    job = workforce.start(Workload(workers=len(cpus), cpus=cpus), [])

    assert [os.sched_getaffinity(pid) for pid in pids(job)] == [{cpu} for cpu in cpus]
    # Ctrl-C in the owner's terminal is for the owner.
    assert os.getpgid(pids(job)[0]) != os.getpgid(0)


def test_a_worker_that_cannot_enter_its_cgroup_says_which_file(workforce: Workforce, tmp_path: Path) -> None:
    missing = tmp_path / "cgroup.procs"

    with pytest.raises(LabError, match=f"{missing}: No such file"):
        workforce.start(Workload(), [missing])


def test_stopping_ends_a_job_and_closing_ends_all() -> None:
    with Workforce() as workforce:
        jobs = [workforce.start(Workload("busy", 3), [], hold=hold) for hold in (False, True)]
        jobs[0].stop()
        assert [any(map(alive, pids(job))) for job in jobs] == [False, True]

    assert not any(map(alive, pids(*jobs)))


def test_workers_die_with_a_killed_owner() -> None:
    program = (
        "import time; from exporter.lab.workloads import *\n"
        "job = Workforce().start(Workload(workers=2), [])\n"
        "print(*(process.pid for process in job.processes), flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        left = [int(word) for word in owner.stdout.readline().split()]
        assert len(left) == 2
        assert all(map(alive, left))
        owner.kill()

    assert eventually(lambda: not any(map(alive, left)))
