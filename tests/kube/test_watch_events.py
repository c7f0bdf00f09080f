import asyncio
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from tests.kube.watch_stream import watched

POD = {"kind": "Pod", "metadata": {"name": "w\u00e9b-1", "resourceVersion": "7"}}
EVENTS = [(kind, {**POD, "n": n}, "7") for n, kind in enumerate(["ADDED", "MODIFIED", "DELETED", "BOOKMARK"])]
TEXT = b"".join(json.dumps({"type": e[0], "object": e[1]}, ensure_ascii=False).encode() + b"\n" for e in EVENTS)


@given(cuts=st.lists(st.integers(min_value=0, max_value=len(TEXT)), max_size=8))
def test_events_come_out_whole_however_the_bytes_come_in(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts) - {0, len(TEXT)}), len(TEXT)]
    assert asyncio.run(watched(TEXT[start:end] for start, end in pairwise(edges))) == EVENTS


async def test_blank_lines_mean_nothing_and_half_a_line_is_no_event() -> None:
    assert await watched([b"\n \n" + TEXT + b"\r\n"]) == EVENTS
    with pytest.raises(MappingError):
        await watched([TEXT[:-10]])


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


@pytest.mark.parametrize("metadata", [{}, {"resourceVersion": 7}])
async def test_an_object_without_a_version(metadata: dict[str, object]) -> None:
    line = json.dumps({"type": "ADDED", "object": {"metadata": metadata}}).encode()
    assert [version for _, _, version in await watched([line + b"\n"])] == [""]
