"""The benchmark measures what it says; its times are for people (``python -m tests.analysis.bench``)."""

from exporter.analysis.findings import find
from exporter.analysis.isolation import MAX_OVERLAPS, isolate
from tests.analysis import bench


def test_the_benchmark_s_nodes_are_what_it_says() -> None:
    well = isolate(bench.users(), bench.ONLINE, {}, 0.0, 10.0)
    assert len(well.states) == bench.CONTAINERS
    assert sum(well.exclusive.values()) == bench.OWNERS
    reset = isolate(bench.users(reset=True), bench.ONLINE, {}, 0.0, 10.0)
    assert len(reset.memory) == bench.OWNERS * MAX_OVERLAPS
    names = [finding["name"] for finding in find(bench.node())]
    assert names.count("throttled_below_limit") == names.count("contention") == bench.CONTAINERS // 50


def test_the_benchmark_runs() -> None:
    assert all(cost >= 0 for cost in bench.table(1).values())
