"""Who is connected, and who makes way when there are too many."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final

from exporter.web.server.limits import Limits

_MAY_STALL: Final = 1.0
"""Seconds without progress after which a client that is being sent its answer may have to make way."""


class State(enum.IntEnum):
    """What a client does; of too many, the first of these go first."""

    REQUESTING = 0
    """Connected, and no whole request yet."""
    IDLE = 1
    """Between two requests."""
    READING = 2
    """Being sent its answer."""
    WAITING = 3
    """Its answer is being made."""


class Client:
    """One accepted connection."""

    __slots__ = ("address", "body", "drop", "since", "state")

    def __init__(self, address: str, since: float, drop: Callable[[str], None]) -> None:
        self.address = address
        self.since = since
        """When it came into its state or, reading, last took something."""
        self.drop = drop
        """Ends the connection at once, for a reason of :data:`exporter.web.config.failures.REASONS`."""
        self.state = State.REQUESTING
        self.body: bytes | None = None
        """What it is being sent."""

    def becomes(self, state: State, now: float, body: bytes | None = None) -> None:
        """A new state."""
        self.state, self.since, self.body = state, now, body


class Crowd:
    """All clients there are; bounded in number and in what they keep in memory."""

    def __init__(self, limits: Limits, clock: Callable[[], float]) -> None:
        self._limits, self._clock = limits, clock
        self._clients: dict[Client, None] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def __iter__(self) -> Iterator[Client]:
        return iter(tuple(self._clients))

    def admit(self, client: Client) -> bool:
        """Whether there is a place for one more, made if need be."""
        if len(self._clients) >= self._limits.connections:
            idlest = self._idlest()
            if idlest is None:
                return False
            self.leave(idlest)
            idlest.drop("connection_dropped")
        self._clients[client] = None
        return True

    def leave(self, client: Client) -> None:
        """It is gone, or as good as."""
        self._clients.pop(client, None)

    def hold(self, body: bytes) -> None:
        """One more page is being sent: who keeps an older one and does not read it makes way if there is no room."""
        kept = {id(client.body): len(client.body) for client in self._clients if client.body is not None}
        kept[id(body)] = len(body)
        if sum(kept.values()) <= self._limits.held_bytes:
            return
        for client in sorted(self._stalled(), key=lambda client: client.since):
            if client.body is not body:
                client.drop("slow_reader")

    def _stalled(self) -> Iterator[Client]:
        before = self._clock() - _MAY_STALL
        return (client for client in self if client.state is State.READING and client.since < before)

    def _idlest(self) -> Client | None:
        """Of the least useful state, from the address that has most of these, the one that is longest in it."""
        before = self._clock() - _MAY_STALL
        found = [
            client
            for client in self._clients
            if client.state < State.READING or (client.state is State.READING and client.since < before)
        ]
        if not found:
            return None
        state = min(client.state for client in found)
        found = [client for client in found if client.state is state]
        number = Counter(client.address for client in found)
        return min(found, key=lambda client: (-number[client.address], client.since))
