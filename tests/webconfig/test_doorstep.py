"""By turns, bounded, and nobody lost: against a model that keeps a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.webserver.doorstep import Doorstep

MOST = 5


def test_one_among_a_crowd_is_next_but_one() -> None:
    step = Doorstep[int](64)
    for number in range(50):
        step.come("crowd", number)
    step.come("scraper", 99)
    assert [step.next() for _ in range(3)] == [("crowd", 0), ("scraper", 99), ("crowd", 1)]


def test_who_has_most_makes_way_even_for_another() -> None:
    step = Doorstep[int](3)
    assert [step.come("crowd", number) for number in range(4)] == [None, None, None, 3]
    assert step.come("scraper", 99) == 2
    assert sorted(step) == [0, 1, 99]


def test_nobody_waits() -> None:
    with pytest.raises(LookupError):
        Doorstep[int](3).next()


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=60))
def test_each_is_let_in_once_or_turned_away_once(story: list[str | None]) -> None:
    step = Doorstep[int](MOST)
    waiting: dict[int, str] = {}
    for number, address in enumerate(story):
        if address is None:
            if waiting:
                who, one = step.next()
                assert waiting.pop(one) == who
                assert one == min([one, *(other for other, of in waiting.items() if of == who)]), "first come, first in"
        else:
            waiting[number] = address
            gone = step.come(address, number)
            assert (gone is None) == (len(waiting) <= MOST)
            if gone is not None:
                del waiting[gone]
        assert sorted(step) == sorted(waiting)
        assert len(step) == len(waiting)
