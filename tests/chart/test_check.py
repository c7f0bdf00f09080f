"""What `helm test` runs: it ends in time, and believes no single round."""

import runpy
from typing import Any

import pytest

from tests.chart.charting import CHART

CHECK: dict[str, Any] = runpy.run_path(str(CHART / "files" / "check.py"))
GOOD = (True, "status 200")
BAD = (False, "status 503")

Answers = dict[str, tuple[bool, str]]


class Clock:
    """Seconds until the end; only sleeping and asking let them pass."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def left(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds -= seconds


@pytest.mark.parametrize(
    ("rounds", "stable", "count"),
    [
        ([{"a": GOOD}], True, 2),
        ([{"a": GOOD}, {"a": GOOD, "b": GOOD}], True, 3),
        ([{"a": GOOD, "gone": GOOD}, {"a": GOOD}], True, 3),
        ([{"a": GOOD}, {"a": BAD}, {"a": GOOD}], True, 4),
        ([{"a": BAD}], False, 5),
        ([{"a": GOOD}, {"b": GOOD}, {"a": GOOD}, {"b": GOOD}, {"a": GOOD}], False, 5),
    ],
)
def test_two_rounds_in_a_row_have_to_agree(rounds: list[Answers], *, stable: bool, count: int) -> None:
    """The last round repeats itself."""
    clock, asked = Clock(5), list[Answers]()

    def ask_all() -> Answers:
        asked.append(rounds[min(len(asked), len(rounds) - 1)])
        return asked[-1]

    assert CHECK["settled"](ask_all, clock.left, clock.sleep) == (asked[-1], stable)
    assert len(asked) == count


def test_the_end_is_seen_within_a_round() -> None:
    clock = Clock(25)
    given: list[float] = []

    def slow(_address: str, timeout: float) -> tuple[bool, str]:
        given.append(timeout)
        clock.sleep(timeout)
        return False, "timed out"

    found = CHECK["round_of"](["a", "b", "c", "d", "e"], slow, clock.left)
    assert given == [10, 10, 5], "no answer may take longer than what is left"
    late = (False, "not asked: the time is over")
    assert [found["d"], found["e"]] == [late, late]


@pytest.mark.parametrize(
    ("status", "page", "locked", "good"),
    [
        (200, 'throttle_exporter_up 1\ncgroup_container_info{pod="a"} 1\n', False, True),
        (200, "throttle_exporter_up 1\n", False, False),
        (503, "", False, False),
        (401, "", True, True),
        (200, "", True, False),
    ],
)
def test_a_page_without_containers_is_one_of_the_wrong_tree(
    status: int, page: str, *, locked: bool, good: bool
) -> None:
    assert CHECK["verdict"](status, page, locked=locked)[0] is good
