"""The process' own metrics beside those of prometheus_client's collector."""

from __future__ import annotations

import os
from pathlib import Path

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from exporter.metrics.own import ProcessCollector, open_files


def page(registry: CollectorRegistry) -> dict[str, str]:
    lines = generate_latest(registry).decode().splitlines()
    return dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))


def test_names_help_and_values_are_those_of_every_client() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    ours.register(ProcessCollector())
    prometheus_client.ProcessCollector(registry=theirs)

    found, expected = page(ours), page(theirs)

    assert found.keys() == expected.keys()
    for name in ("process_start_time_seconds", "process_max_fds", "process_virtual_memory_bytes"):
        assert float(found[name]) == pytest.approx(float(expected[name]), rel=1e-3)
    assert float(found["process_cpu_seconds_total"]) == pytest.approx(
        float(expected["process_cpu_seconds_total"]), abs=0.1
    )
    heads = [
        [line for line in generate_latest(one).decode().splitlines() if line.startswith("#")] for one in (ours, theirs)
    ]
    assert heads[0] == heads[1]


@pytest.mark.parametrize("more", [0, 50])
def test_open_files_are_counted(more: int) -> None:
    registry = CollectorRegistry()
    registry.register(ProcessCollector())
    files = [os.open("/dev/null", os.O_RDONLY) for _ in range(more)]
    try:
        # Listing it opens one more: the directory itself.
        assert abs(float(page(registry)["process_open_fds"]) - len(os.listdir("/proc/self/fd"))) <= 1
    finally:
        for file in files:
            os.close(file)


def test_a_directory_whose_size_says_nothing_is_listed() -> None:
    assert os.stat("/proc/self/task").st_size == 0
    assert open_files("/proc/self/task") == len(os.listdir("/proc/self/task"))


@pytest.mark.parametrize("stat", [None, b"", b"1 (a) b) S 1\n", b"1 (python) " + b"x " * 40])
def test_what_cannot_be_read_costs_its_own_samples(stat: bytes | None, tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    if stat is not None:
        (tmp_path / "self" / "stat").write_bytes(stat)
    registry = CollectorRegistry()
    registry.register(ProcessCollector(str(tmp_path)))
    assert page(registry).keys() == {"process_cpu_seconds_total", "process_max_fds"}
