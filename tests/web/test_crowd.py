"""Who makes way when there are too many, on a clock of the test's own."""

from __future__ import annotations

import random

import pytest

from exporter.web.server.crowd import Client, Crowd, State
from exporter.web.server.limits import Limits

LIMITS = Limits(connections=4, held_bytes=100)


class Room:
    """A crowd, and who had to leave it."""

    def __init__(self, limits: Limits = LIMITS) -> None:
        self.now = 1000.0
        self.crowd = Crowd(limits, lambda: self.now)
        self.dropped: list[tuple[Client, str]] = []

    def come(
        self, address: str, state: State = State.REQUESTING, ago: float = 0.0, body: bytes | None = None
    ) -> Client:
        client = Client(address, self.now, lambda reason: self.dropped.append((client, reason)))
        assert self.crowd.admit(client)
        client.becomes(state, self.now - ago, body)
        return client

    @property
    def gone(self) -> list[Client]:
        return [client for client, _ in self.dropped]


def test_there_is_room() -> None:
    room = Room()
    for _ in range(4):
        room.come("a")
    assert (len(room.crowd), room.dropped) == (4, [])


@pytest.mark.parametrize(
    ("states", "goes"),
    [
        ([State.WAITING, State.IDLE, State.REQUESTING, State.IDLE], 2),
        ([State.WAITING, State.READING, State.IDLE, State.READING], 2),
        ([State.WAITING, State.READING, State.WAITING, State.WAITING], 1),
    ],
)
def test_who_is_least_useful_makes_way(states: list[State], goes: int) -> None:
    room = Room()
    clients = [room.come("a", state, ago=2.0) for state in states]
    room.come("b")
    assert room.dropped == [(clients[goes], "connection_dropped")]
    assert len(room.crowd) == 4


def test_who_was_first_in_that_state_goes_first() -> None:
    room = Room()
    clients = [room.come("a", State.IDLE, ago) for ago in (1.0, 9.0, 5.0, 9.5)]
    for _ in range(3):
        room.come("b", State.WAITING)
    assert room.gone == [clients[3], clients[1], clients[2]]


def test_the_address_with_most_connections_makes_way() -> None:
    room = Room()
    scraper = room.come("scraper", ago=60.0)
    crowd = [room.come("crowd", ago=ago) for ago in (1.0, 2.0, 3.0)]
    room.come("newcomer", State.WAITING)
    assert room.gone == [crowd[2]]
    assert scraper in set(room.crowd)


def test_who_is_being_answered_stays() -> None:
    room = Room()
    for state in (State.WAITING, State.WAITING, State.READING, State.READING):
        room.come("a", state, ago=0.5)
    assert not room.crowd.admit(Client("b", room.now, lambda _: None))
    assert room.dropped == []
    room.now += 1.0  # by now those that read have stopped to
    assert room.crowd.admit(Client("b", room.now, lambda _: None))


def test_old_pages_that_nobody_reads_are_let_go() -> None:
    room = Room(Limits(connections=100, held_bytes=100))
    pages = [bytes([number]) * 40 for number in range(3)]
    stalled = [room.come("a", State.READING, ago=3.0, body=page) for page in pages[:2] for _ in range(5)]
    brisk = room.come("b", State.READING, ago=0.1, body=pages[0])
    room.crowd.hold(pages[1])
    assert room.dropped == [], "pages that many hold count once"
    room.crowd.hold(pages[2])
    assert set(room.gone) == set(stalled)
    assert brisk not in room.gone
    assert {reason for _, reason in room.dropped} == {"slow_reader"}


def test_whatever_happens_there_are_never_too_many() -> None:
    chance = random.Random(7)
    room = Room(Limits(connections=16))
    for _ in range(5000):
        room.now += chance.random() * 0.2
        client = Client(chance.choice("abcd"), room.now, lambda reason: None)
        admitted = room.crowd.admit(client)
        assert admitted or all(other.state >= State.READING for other in room.crowd)
        for other in room.crowd:
            if chance.random() < 0.1:
                other.becomes(chance.choice(list(State)), room.now)
            if chance.random() < 0.02:
                room.crowd.leave(other)
        assert len(room.crowd) <= 16
