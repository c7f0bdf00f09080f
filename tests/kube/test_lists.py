import json
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.podlist import ListReader, PodStore, parse_pod_list
from tests.support.pods import pod, pod_list, running

HASH = "9e670b8013a41803affaa258e0b3550f"
# A list holds objects: the end of a bare number could not be told.
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: isinstance(value, (dict, list, str)))
LIST = json.dumps({"kind": "PodList", "items": [{"name": "\u00e4\U0001f600", "n": [1, 2.5, None]}] * 3}).encode()
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
    assert reader.fields == {**before, "items": None, **after}


@given(cut=st.integers(min_value=1, max_value=len(LIST)))
def test_half_a_list_is_refused(cut: int) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(ListReader(LIST[:-cut], 16))


@pytest.mark.parametrize(
    "body",
    [b'{"items": {}}', b'{"items": 3}', b'{"items": [1 2]}', b'{"items": [1,]}', b"{1: 2}", b'{"items": []}\xe2\x82'],
)
def test_items_of_another_shape_are_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        list(ListReader(body))


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


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "HTML"),
        (pod_list(pod())[:-40], "incomplete JSON"),
        *((body, "broken") for body in (b"", b"  \n", pod_list(pod()) + b"}", b"Unauthorized", b"[]", b"[" * 100_000)),
        *((body, "broken") for body in (b"\xff\xfe\x00binary", b'{"items": ' + b"[" * 10**6 + b"]" * 10**6 + b"}")),
        (b'{"kind": "PodList", "items": [1' + b"0" * 5000 + b"]}", "broken"),  # more digits than Python reads
        *((body, "another kind") for body in (b"{}", b'{"kind": "PodList"}', b'{"kind": "NodeList", "items": []}')),
        (b'{"kind": ["PodList"], "items": []}', "another kind"),
        (b'{"kind": "Status", "status": "Failure", "message": "secret"}', "another kind"),
    ],
)
def test_what_is_no_pod_list_is_one_clear_error_without_the_body(body: bytes, cause: str) -> None:
    with pytest.raises(MappingError, match=rf"^kubelet https://n:1/pods: no PodList: .*{cause}") as caught:
        parse_pod_list(body, "kubelet https://n:1/pods")
    assert caught.value.reason == "malformed"
    assert "\n" not in str(caught.value)
    assert not any(word in str(caught.value) for word in ("secret", "Sign", "binary", "Unauthorized"))


@pytest.mark.parametrize(
    ("kind", "items"), [("PodList", None), ("PodList", []), ("List", [{"kind": "Service"}, pod()])]
)
def test_an_empty_node_is_a_list_and_what_kubectl_prints(kind: str, items: list[Any] | None) -> None:
    body = json.dumps({"items": items, "kind": kind}).encode()
    assert len(parse_pod_list(body, "test").pods) == (kind == "List")


@given(steps=st.lists(st.tuples(st.sampled_from(["put", "remove"]), st.integers(0, 5), st.integers(0, 3))))
def test_a_store_is_the_list_of_what_is_left(steps: list[tuple[str, int, int]]) -> None:
    store, left = PodStore(), {}
    for step, number, container in steps:
        item = pod(f"uid-{number}", f"web-{number}", statuses=[running(container_id=f"containerd://{container}")])
        if step == "put":
            store.put(item)
            left[number] = item
        else:
            store.remove(item)
            left.pop(number, None)
    assert store.snapshot() == parse_pod_list(pod_list(*left.values()), "model")


@pytest.mark.parametrize(
    ("item", "uids", "problems"),
    [
        (pod("own", metadata={"annotations": {"kubernetes.io/config.mirror": HASH}}), {HASH}, {}),
        (pod("uid-1", spec={"containers": "app"}), set(), {"malformed_pod": 1}),
    ],
)
def test_what_is_known_by_another_uid_or_not_at_all_goes_by_its_own(
    item: dict[str, Any], uids: set[str], problems: dict[str, int]
) -> None:
    store = PodStore()
    store.put(item)
    store.put(item)
    found = store.snapshot()
    assert (set(found.pods), dict(found.problems)) == (uids, problems)
    store.remove(item)
    assert store.snapshot() == PodList(pods={})


@pytest.mark.parametrize("item", [None, 3, [], {}, {"metadata": []}, {"metadata": {"uid": 7}}])
def test_what_is_no_pod_at_all(item: object) -> None:
    store = PodStore()
    store.put(item)
    assert dict(store.snapshot().problems) == {"malformed_pod": 1}
    store.remove(item)


def test_a_store_is_bounded() -> None:
    store = PodStore()
    for number in range(10_000):
        store.put({"metadata": {"uid": str(number)}})
    store.put({"metadata": {"uid": "7"}})  # one that is there already
    with pytest.raises(MappingError) as caught:
        store.put({"metadata": {"uid": "one more"}})
    assert caught.value.reason == "too_large"
