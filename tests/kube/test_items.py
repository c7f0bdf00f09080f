import json
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.kube.podlist import ListReader

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
members = st.dictionaries(st.text(max_size=5).filter(lambda key: key != "items"), values, max_size=3)


@given(
    items=st.lists(values, max_size=6),
    before=members,
    after=members,
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    window=st.integers(min_value=1, max_value=40),
)
def test_items_come_out_as_they_went_in_however_small_the_window(
    items: list[Any], before: dict[str, Any], after: dict[str, Any], indent: int | None, ascii_only: bool, window: int
) -> None:
    text = json.dumps({**before, "items": items, **after}, indent=indent, ensure_ascii=ascii_only)
    reader = ListReader(text.encode("utf-8", "surrogatepass"), window)

    assert list(reader) == items
    assert reader.fields == {key: value for key, value in {**before, **after}.items() if key != "items"}


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]:," \nitems1', max_size=60).map(str.encode))
def test_any_bytes_are_a_list_or_refused(body: bytes) -> None:
    try:
        list(ListReader(body, 8))
    except ValueError:
        return
    assert isinstance(json.loads(body), dict)


@given(cut=st.integers(min_value=0, max_value=200))
def test_half_a_list_is_refused(cut: int) -> None:
    body = json.dumps(
        {"kind": "PodList", "items": [{"name": "\u00e4\u20ac\U0001f600", "n": [1, 2.5, None]}] * 3}
    ).encode()
    whole = len(body)
    if cut >= whole:
        return
    with pytest.raises(ValueError, match=r".*"):
        list(ListReader(body[:cut], 16))


@pytest.mark.parametrize("body", [b'{"items": null}', b'{"items": []}', b' {"items" : [ ] } \n'])
def test_no_items(body: bytes) -> None:
    reader = ListReader(body)
    assert list(reader) == []
    assert reader.has_items


@pytest.mark.parametrize(
    "body", [b'{"items": {}}', b'{"items": 3}', b'{"items": [1 2]}', b'{"items": [1,]}', b"{1: 2}"]
)
def test_items_of_another_shape_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(ListReader(body))


def test_a_number_is_not_cut_at_the_end_of_the_window() -> None:
    body = b'{"items": [123456, -1.5e10]}'
    for window in range(1, len(body)):
        assert list(ListReader(body, window)) == [123456, -1.5e10]


def test_a_huge_value_is_read_without_starting_over_for_each_window() -> None:
    body = json.dumps({"items": ["x" * 200_000]}).encode()
    attempts = 0

    def count(frame: FrameType, event: str, _argument: object) -> None:
        nonlocal attempts
        attempts += event == "call" and frame.f_code.co_name == "raw_decode"

    sys.setprofile(count)
    try:
        assert [len(item) for item in ListReader(body, 64)] == [200_000]
    finally:
        sys.setprofile(None)
    assert attempts < 30  # 3,125 windows


def test_half_a_character_at_the_end_is_refused() -> None:
    with pytest.raises(ValueError, match=r"utf-8"):
        list(ListReader(b'{"items": []}\xe2\x82'))
