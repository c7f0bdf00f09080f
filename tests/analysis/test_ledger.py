"""The account of a container's CPU time: what adds up, and what is unknown for which reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.analysis.ledger import Ledger, ledger_of
from exporter.analysis.nodeview import NodeView
from exporter.model import CgroupRow, Deltas
from tests.support import snapshots as make


def account(row: CgroupRow, **snapshot: Any) -> Ledger:
    taken = make.snapshot(row, **snapshot)
    found = ledger_of(NodeView(taken), taken.containers[0])
    assert found is not None
    return found


def limited(**changes: Any) -> CgroupRow:
    return make.container(limit=2.0, deltas=make.deltas(**changes))


def test_the_throttled_time_share_is_what_a_request_feels() -> None:
    """5 ms of work that is stopped for 95 ms once in 30 periods of 100 ms: ratio 3 %, share 36 %."""
    found = account(limited(usage_seconds=20 * 30 * 0.005 / 1.8, throttled_seconds=0.95, local_throttled_seconds=0.95))
    assert found.throttled_time_share == pytest.approx(0.95 / (0.95 + 20 * 30 * 0.005 / 1.8))
    # However many CPUs were stopped at once.
    for threads in (1, 4, 16):
        many = limited(usage_seconds=6.0 * threads, throttled_seconds=4.0 * threads, local_throttled_seconds=None)
        assert account(many).throttled_time_share == pytest.approx(0.4)


def test_losses_to_all_three_kinds_of_quotas_are_told_apart() -> None:
    row = limited(throttled_seconds=6.0, local_throttled_seconds=18.0, nested_throttled_seconds=3.0)
    found = account(row, pods=(make.pod(row, limit=3.0, deltas=make.deltas(throttled_seconds=12.0)),))
    assert (found.own_quota, found.quota_above, found.quota_inside) == pytest.approx((0.1, 0.2, 0.05))
    assert (found.quota_above_is_exact, found.above_source) == (True, "pod")
    assert found.throttled_time_share == pytest.approx(0.35 / 0.45)


@pytest.mark.parametrize("local", [18.0, None])
def test_a_pod_s_quota_that_is_the_container_s_counts_as_its_own(local: float | None) -> None:
    row = limited(throttled_seconds=6.0, local_throttled_seconds=local)
    found = account(row, pods=(make.pod(row, limit=2.0, deltas=make.deltas(throttled_seconds=12.0)),))
    assert (found.own_quota, found.quota_above) == pytest.approx((0.3, 0.0))


@pytest.mark.parametrize(
    ("row", "entry", "reason"),
    [
        pytest.param(limited(usage_seconds=None), "used", "does not count", id="no usage"),
        pytest.param(limited()._replace(limits=None), "own_quota", "limit could not be read", id="no limits"),
        pytest.param(limited(throttled_seconds=None), "own_quota", "does not count", id="no counter"),
        pytest.param(limited(waiting_seconds=None), "waited", "no PSI, no schedstats", id="no waiting"),
        pytest.param(
            limited()._replace(placement_deltas=make.deltas(seconds=0.5)), "waited", "a moment ago", id="just moved"
        ),
    ],
)
def test_what_is_unknown_is_unknown_for_a_reason(row: CgroupRow, entry: str, reason: str) -> None:
    found = account(row)
    assert reason in found.unknown[entry]
    assert (found.throttled_time_share is None) == (entry in {"used", "own_quota"})


def test_a_young_epoch_has_no_account() -> None:
    row = limited(seconds=0.5)
    assert ledger_of(NodeView(make.snapshot(row)), row) is None


COUNTERS = [name for name in Deltas._fields if name != "seconds"]


@given(st.fixed_dictionaries(dict.fromkeys(COUNTERS, st.none() | st.floats(0, 600))))
def test_no_entry_is_negative_and_a_share_is_one(grown: dict[str, float | None]) -> None:
    found, waiting = account(limited(**grown)), grown["waiting_seconds"]
    entries = (found.used, found.own_quota, found.quota_above, found.quota_inside, found.waited)
    assert all(amount is None or amount >= 0 for amount in entries)
    share = found.throttled_time_share
    assert share is None or 0 <= share <= 1
    assert waiting is None or found.waited is None or found.waited <= waiting / 60 + 1e-9
