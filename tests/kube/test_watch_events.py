import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.kube.apiserver import WatchEvent
from tests.kube.watch_stream import watched

POD = {"kind": "Pod", "metadata": {"name": "w\u00e9b-1", "resourceVersion": "7"}}
EVENTS = [WatchEvent(kind, {**POD, "n": n}, "7") for n, kind in enumerate(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])]
TEXT = b"".join(json.dumps({"type": e.kind, "object": e.item}, ensure_ascii=False).encode() + b"\n" for e in EVENTS)


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
def test_events_come_out_whole_however_the_bytes_come_in(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts) - {0, len(TEXT)}), len(TEXT)]
    assert asyncio.run(watched(TEXT[start:end] for start, end in pairwise(edges))) == EVENTS


async def test_half_a_line_is_no_event() -> None:
    with pytest.raises(MappingError):
        await watched([TEXT[:-10]])


async def test_blank_lines_mean_nothing() -> None:
    assert await watched([b"\n \n" + TEXT + b"\r\n"]) == EVENTS


@pytest.mark.parametrize(
    "line",
    [
        *(b"<html>", b"[]", b"{}", b"7", b"[" * 100_000, b"\xff", b'{"type": "ADDED"}'),
        *(b'{"type": 1, "object": {}}', b'{"type": "A", "object": []}', b'{"type": "ERROR", "object": {}}'),
        b"x" * 5 * 1024 * 1024,
    ],
)
async def test_a_line_that_is_no_event(line: bytes) -> None:
    with pytest.raises(MappingError) as caught:
        await watched([line + b"\n"])
    assert caught.value.reason == "malformed"
    assert "html" not in str(caught.value)


async def test_an_error_is_named_by_its_status_and_not_quoted() -> None:
    status = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "internal details"}
    with pytest.raises(MappingError, match=r"status 500$") as caught:
        await watched([json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"])
    assert caught.value.reason == "http_status"


@given(body=st.binary(max_size=80))
def test_any_bytes_are_events_or_our_error(body: bytes) -> None:
    try:
        events = asyncio.run(watched([body]))
    except MappingError:
        return
    assert all(isinstance(event, WatchEvent) for event in events)


@pytest.mark.parametrize("metadata", [{}, {"resourceVersion": 7}])
async def test_an_object_without_a_version(metadata: dict[str, object]) -> None:
    line = json.dumps({"type": "ADDED", "object": {"metadata": metadata}}).encode()
    assert [event.version for event in await watched([line + b"\n"])] == [""]
