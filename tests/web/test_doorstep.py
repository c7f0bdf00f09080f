"""By turns, bounded, and nobody lost: against a model that keeps a plain list."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.web.server.doorstep import Doorstep

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


def test_nobody_who_asked_goes_for_those_who_only_stand_there() -> None:
    step = Doorstep[int](128, lambda one: one < 40)
    gone = {step.come("crowd", number) for number in range(540)} - {None}
    assert gone.isdisjoint(range(40))
    assert [step.next()[1] for _ in range(40)] == list(range(40))


def test_of_a_crowd_that_asks_the_last_goes() -> None:
    step = Doorstep[int](20, lambda _: True)
    assert [step.come("crowd", number) for number in range(25)] == [None] * 20 + [20, 21, 22, 23, 24]
    assert step.next() == ("crowd", 0)


def test_who_has_asked_is_looked_at_once() -> None:
    looked: list[int] = []

    def has_asked(one: int) -> bool:
        looked.append(one)
        return True

    step = Doorstep[int](100, has_asked)
    for number in range(200):
        step.come("crowd", number)
    assert sorted(looked) == list(range(200))


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
                of_address = {other for other, of in waiting.items() if of == who}
                same = of_address & asked if one in asked else of_address - asked
                assert one < min(same, default=number), "of one kind, first come, first in"
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
