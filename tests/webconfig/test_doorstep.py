"""By turns, bounded, and nobody lost: against a model that keeps a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.webserver.doorstep import Doorstep

MOST = 5


def nobody_asks(_: int) -> bool:
    return False


def test_one_among_a_crowd_is_next_but_one() -> None:
    step = Doorstep[int](64, nobody_asks)
    for number in range(50):
        step.come("crowd", number)
    step.come("scraper", 99)
    assert [step.next() for _ in range(3)] == [("crowd", 0), ("scraper", 99), ("crowd", 1)]


def test_who_has_most_makes_way_even_for_another() -> None:
    step = Doorstep[int](3, nobody_asks)
    assert [step.come("crowd", number) for number in range(4)] == [None, None, None, 0]
    assert step.come("scraper", 99) == 1
    assert sorted(step) == [2, 3, 99]


def test_who_has_asked_stays_and_is_next_among_a_crowd_of_its_own_address() -> None:
    step = Doorstep[int](20, lambda one: one == 99)
    step.come("crowd", 99)
    for number in range(98):
        step.come("crowd", number)
    assert step.next() == ("crowd", 99)


def test_of_a_crowd_that_asks_somebody_goes() -> None:
    step = Doorstep[int](20, lambda _: True)
    gone = [step.come("crowd", number) for number in range(25)]
    assert len(step) == 20
    assert sorted([*step, *filter(None, gone)]) == list(range(25))
    assert step.next() == ("crowd", 0)


def test_nobody_waits() -> None:
    with pytest.raises(LookupError):
        Doorstep[int](3, nobody_asks).next()


@given(st.lists(st.none() | st.sampled_from("abc"), max_size=60), st.sets(st.integers(0, 60)))
def test_each_is_let_in_once_or_turned_away_once(story: list[str | None], asked: set[int]) -> None:
    step = Doorstep[int](MOST, asked.__contains__)
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
                crowd = waiting.pop(gone)
                others = [other for other, of in waiting.items() if of == crowd]
                assert gone not in asked or asked.issuperset(others), "nobody who asked goes for one who did not"
        assert sorted(step) == sorted(waiting)
        assert len(step) == len(waiting)
