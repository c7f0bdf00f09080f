"""The last six hours of each container."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import pytest

from exporter.model import CgroupRow
from exporter.report.history import MINUTES, MinuteHistory, throttled_time_share
from tests.support import snapshots as make

START = 1_700_000_000.0 // 60 * 60
NAME = make.named("a")


def recorded(*ratios: float | None, every: float = 60.0) -> MinuteHistory:
    history = MinuteHistory()
    for at, ratio in enumerate(ratios):
        row = make.container("a", limit=1.0)._replace(window=None if ratio is None else make.window(ratio))
        history.record(replace(make.snapshot(row), taken_at=START + at * every))
    return history


def test_each_minute_has_its_highest_ratio() -> None:
    values = recorded(0.5, 1.0, 0.25, 0.0, every=30.0).highest("ratio", NAME)

    assert len(values) == MINUTES
    assert values[:-2] == [None] * (MINUTES - 2)
    assert values[-2] == 1.0
    assert values[-1] == pytest.approx(0.25, abs=0.004)
    longer = recorded(0.0, 0.0, 1.0, 0.0).highest("ratio", NAME, minutes=5)
    assert (len(longer), longer[-1], longer[0]) == (72, 1.0, None)


def test_minutes_without_a_sample_are_unknown_and_forgotten_after_six_hours() -> None:
    assert recorded(1.0, None, every=300.0).highest("ratio", NAME)[-6:] == [1.0, None, None, None, None, None]
    assert set(recorded(1.0, *[0.0] * MINUTES).highest("ratio", NAME)) == {0.0}
    assert set(recorded(1.0, 0.0, every=24 * 3600).highest("ratio", NAME)) == {None, 0.0}


def test_its_memory_is_what_the_documents_say() -> None:
    rows = [make.container(f"web-{number}", limit=1.0) for number in range(200)]
    snapshots = [replace(make.snapshot(*rows), taken_at=START + at * 60.0) for at in range(3)]
    history = MinuteHistory()
    tracemalloc.start()
    try:
        for snapshot in snapshots:
            history.record(snapshot)
        used, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    # docs/status.md: 1.0 KB; the table of names grows in steps.
    assert 2 * MINUTES < used / len(rows) < 1150


def test_a_container_that_is_gone_is_dropped_and_a_clock_that_is_set_back_drops_nothing() -> None:
    history = recorded(1.0, 0.5, every=600.0)
    history.record(replace(make.snapshot(make.container("a", limit=1.0)), taken_at=START))
    assert 1.0 in history.highest("ratio", NAME)
    history.record(replace(make.snapshot(make.container("b", limit=1.0)), taken_at=START + 60))

    assert history.highest("ratio", NAME) == ()
    assert history.highest("ratio", make.named("b"))[-1] == 0.0


def test_a_pod_whose_containers_have_no_cgroups_has_a_history() -> None:
    row = make.container("a")
    owner = replace(row.pod_identity, containers=(row.identity,)) if row.pod_identity and row.identity else None
    pod = make.pod(row, limit=1.0, window=make.window(0.5), pod_identity=owner)
    history = MinuteHistory()
    history.record(replace(make.snapshot(pods=(pod,)), taken_at=START))

    assert history.highest("ratio", make.named("a")._replace(container=""))[-1] == pytest.approx(0.5, abs=0.004)


@pytest.mark.parametrize(
    ("row", "share"),
    [
        (make.container("a", limit=1.0, deltas=make.deltas(usage_seconds=6.0, throttled_seconds=54.0)), 0.9),
        (make.container("a", limit=1.0, deltas=make.deltas(usage_seconds=6.0, throttled_seconds=0.0,
                                                           local_throttled_seconds=2.0)), 0.25),
        (make.container("a", limit=1.0, deltas=make.deltas(usage_seconds=None)), None),
        (make.container("a", limit=1.0, deltas=None), None),
    ],
)  # fmt: skip
def test_the_throttled_time_share(row: CgroupRow, share: float | None) -> None:
    assert throttled_time_share(row) == (None if share is None else pytest.approx(share))
