import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.kube.watchlines import WatchEvent, watch_events

POD = {"kind": "Pod", "metadata": {"name": "w\u00e9b-1", "resourceVersion": "7"}}
EVENTS = [WatchEvent(kind, {**POD, "n": n}) for n, kind in enumerate(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])]
TEXT = b"".join(json.dumps({"type": e.kind, "object": e.item}, ensure_ascii=False).encode() + b"\n" for e in EVENTS)


class Pieces:
    """What a connection brings, piece by piece; then its end."""

    def __init__(self, *pieces: bytes) -> None:
        self._pieces = list(pieces)

    async def readany(self) -> bytes:
        return self._pieces.pop(0) if self._pieces else b""


async def read(*pieces: bytes) -> list[WatchEvent]:
    return [event async for event in watch_events(Pieces(*pieces), 1.0, "test")]


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
def test_events_come_out_whole_however_the_bytes_come_in(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts) - {0, len(TEXT)}), len(TEXT)]
    pieces = [TEXT[start:end] for start, end in pairwise(edges)]
    assert asyncio.run(read(*pieces)) == EVENTS


async def test_a_line_without_its_end_is_forgotten() -> None:
    assert await read(TEXT[:-1]) == EVENTS[:-1]


async def test_blank_lines_mean_nothing() -> None:
    assert await read(b"\n \n" + TEXT + b"\r\n") == EVENTS


@pytest.mark.parametrize(
    "line",
    [b"<html>", b"[]", b"{}", b'{"type": "ADDED"}', b'{"type": 1, "object": {}}', b'{"type": "A", "object": []}'],
)
async def test_a_line_that_is_no_event(line: bytes) -> None:
    with pytest.raises(MappingError) as caught:
        await read(line + b"\n")
    assert caught.value.reason == "malformed"


async def test_a_line_without_end_is_bounded() -> None:
    with pytest.raises(MappingError) as caught:
        await read(*[b"x" * 1024 * 1024] * 5)
    assert caught.value.reason == "too_large"


@given(body=st.binary(max_size=80))
def test_any_bytes_are_events_or_our_error(body: bytes) -> None:
    try:
        events = asyncio.run(read(body))
    except MappingError:
        return
    assert all(isinstance(event, WatchEvent) for event in events)


@pytest.mark.parametrize("item", [{}, {"metadata": None}, {"metadata": {}}, {"metadata": {"resourceVersion": 7}}])
def test_an_object_without_a_version(item: dict[str, object]) -> None:
    assert WatchEvent("ADDED", item).version == ""
