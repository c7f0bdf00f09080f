"""What `helm test` runs: it ends in time, and believes no single round."""

import runpy
from collections.abc import Callable
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


def settled(rounds: list[Answers], seconds: float) -> tuple[Answers, bool, int]:
    """The result, and how many rounds it took; the last round repeats itself."""
    clock = Clock(seconds)
    asked: list[Answers] = []

    def ask_all() -> Answers:
        asked.append(rounds[min(len(asked), len(rounds) - 1)])
        return asked[-1]

    settle: Callable[..., tuple[Answers, bool]] = CHECK["settled"]
    found, stable = settle(ask_all, clock.left, clock.sleep)
    return found, stable, len(asked)


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
    found, agreed, asked = settled(rounds, seconds=5)
    assert (agreed, asked) == (stable, count)
    assert found == rounds[min(count, len(rounds)) - 1]


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
