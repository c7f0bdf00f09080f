import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.kube.podlist import PodStore, parse_pod_list
from tests.support.pods import pod, pod_list, running

HASH = "9e670b8013a41803affaa258e0b3550f"


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


def test_a_snapshot_does_not_change() -> None:
    store = PodStore()
    store.put(pod("uid-1"))
    before = store.snapshot()
    store.put(pod("uid-2"))
    assert before.pods.keys() == {"uid-1"}


def test_a_mirror_pod_is_removed_by_its_own_uid() -> None:
    mirror = pod("own", metadata={"annotations": {"kubernetes.io/config.mirror": HASH}})
    store = PodStore()
    store.put(mirror)
    assert store.snapshot().pods.keys() == {HASH}
    store.remove(mirror)
    assert store.snapshot().pods == {}


def test_a_pod_that_cannot_be_understood_is_counted_until_it_is_gone() -> None:
    store = PodStore()
    bad = pod("uid-1", spec={"containers": "app"})
    store.put(bad)
    store.put(bad)
    assert dict(store.snapshot().problems) == {"malformed_pod": 1}
    store.remove(bad)
    assert dict(store.snapshot().problems) == {}


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
    store.put({"metadata": {"uid": "7"}})
    with pytest.raises(MappingError) as caught:
        store.put({"metadata": {"uid": "one more"}})
    assert caught.value.reason == "too_large"
