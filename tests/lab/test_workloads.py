"""The workers: they do what they are for, report it, and end with their owner, however it ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.lab.hierarchy import LabError
from exporter.lab.spec import Workload
from exporter.lab.workloads import Workforce
from tests.support.lab_waiting import alive, eventually

LIFETIME = 30.0


@pytest.fixture
def workforce() -> Iterator[Workforce]:
    with Workforce() as made:
        yield made


def test_fixed_work_uses_the_cpu_time_it_was_given(workforce: Workforce) -> None:
    job = workforce.start(Workload(kind="fixed", unit_seconds=0.05), [], lifetime=LIFETIME)

    [report] = workforce.wait([job], 20)

    assert report.units == 1
    assert 0.05 <= report.cpu_seconds < 0.1
    assert report.wall_seconds >= report.cpu_seconds - 0.001
    assert report.latency_max_seconds == report.latency_sum_seconds >= 0.049


def test_workers_begin_together_and_end_after_their_time(workforce: Workforce) -> None:
    busy = Workload(kind="busy", workers=2, unit_seconds=0.005, seconds=0.2)
    slow = Workload(kind="fib_slow", seconds=0.2)
    jobs = [workforce.start(one, [], lifetime=LIFETIME, hold=True) for one in (busy, slow)]
    start = time.monotonic()
    for job in jobs:
        job.begin()

    reports = workforce.wait(jobs, 20)

    assert time.monotonic() >= start + 0.2
    assert len(reports) == 3
    assert len({pid for job in jobs for pid in job.pids}) == 3
    # What a busy neighbour leaves of two tenths of a second is enough for one unit of 5 ms.
    assert all(report.units >= 1 and report.wall_seconds >= 0.199 for report in reports)
    slow_report = jobs[1].reports[jobs[1].pids[0]]
    # 10 ms of sleep after each hundred iterations.
    assert slow_report.units <= 20
    assert slow_report.cpu_seconds < 0.1


def test_bursts_keep_to_their_times(workforce: Workforce) -> None:
    bursty = Workload(kind="bursty", unit_seconds=0.002, every_seconds=0.05, seconds=0.24)

    [report] = workforce.wait([workforce.start(bursty, [], lifetime=LIFETIME)], 20)

    # At 0, 50, 100, 150 and 200 ms, unless a burst was held up beyond the next one's time.
    assert 1 <= report.units <= 5
    assert report.cpu_seconds < 0.1


def test_a_worker_is_pinned_to_its_cpu(workforce: Workforce) -> None:
    cpus = tuple(sorted(os.sched_getaffinity(0)))
    job = workforce.start(Workload(workers=len(cpus), cpus=cpus), [], lifetime=LIFETIME)

    assert [os.sched_getaffinity(pid) for pid in job.pids] == [{cpu} for cpu in cpus]


def test_a_stopped_job_ends_and_leaves_the_others(workforce: Workforce) -> None:
    first, second = (workforce.start(Workload(workers=2), [], lifetime=LIFETIME) for _ in range(2))

    workforce.stop(first)

    assert not any(map(alive, first.pids))
    assert all(map(alive, second.pids))
    assert workforce.wait([first], 1) == []


def test_a_worker_that_cannot_enter_its_cgroup_says_which_file(workforce: Workforce, tmp_path: Path) -> None:
    missing = tmp_path / "cgroup.procs"

    with pytest.raises(LabError, match=f"{missing}: No such file"):
        workforce.start(Workload(), [missing], lifetime=LIFETIME)


def test_no_worker_outlives_its_lifetime(workforce: Workforce) -> None:
    job = workforce.start(Workload(), [], lifetime=1)

    workforce.wait([job], 10)

    assert not any(map(alive, job.pids))


def test_closing_ends_everything() -> None:
    with Workforce() as workforce:
        jobs = [
            workforce.start(Workload(kind="busy", workers=3), [], lifetime=LIFETIME, hold=hold)
            for hold in (False, True)
        ]

    assert not any(map(alive, (pid for job in jobs for pid in job.pids)))


def test_workers_die_with_a_killed_owner() -> None:
    program = (
        "import time; from exporter.lab.workloads import *\n"
        "job = Workforce().start(Workload(workers=2), [], lifetime=30)\n"
        "print(*job.pids, flush=True); time.sleep(30)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        pids = [int(word) for word in owner.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        owner.kill()

    assert eventually(lambda: not any(map(alive, pids)))


def test_ctrl_c_in_the_owners_terminal_leaves_the_workers_to_their_owner(workforce: Workforce) -> None:
    job = workforce.start(Workload(), [], lifetime=LIFETIME)

    assert os.getpgid(job.pids[0]) != os.getpgid(0)
