import json
import math
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.identities import ContainerIdentity, ContainerSpec, PodIdentity, PodList, PodSpec
from exporter.kube.podlist import (
    ALERT_ANNOTATION,
    THRESHOLD_ANNOTATION,
    ListReader,
    PodStore,
    parse_cores,
    parse_pod_list,
)
from tests.support.pods import cpu, pod, pod_list, running
from tests.support.reasons import POD_REASONS

HASH = "9e670b8013a41803affaa258e0b3550f"
STATIC = {"kubernetes.io/config.hash": HASH, "kubernetes.io/config.source": "file"}
MIRROR = {**STATIC, "kubernetes.io/config.mirror": HASH}


def read(*pods: Any) -> PodList:
    return parse_pod_list(pod_list(*pods), "test")


def only(pods: PodList) -> PodIdentity:
    [identity] = pods.pods.values()
    return identity


def container(pods: PodList) -> ContainerIdentity:
    [identity] = only(pods).containers
    return identity


OLD = {"terminated": {"containerID": "containerd://old", "exitCode": 1}}
WAITING = {"waiting": {"reason": "CrashLoopBackOff"}}


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, ("", "", False, 0, ())),
        (running(container_id="cri-o://abc"), ("abc", "cri-o", True, 0, ())),
        (running(container_id="abc"), ("abc", "", True, 0, ())),
        (running(restartCount=3, lastState=OLD, container_id="docker://new"), ("new", "docker", True, 3, ("old",))),
        # One that waits for its restart is not its own earlier instance.
        (running(state=WAITING, lastState=OLD, container_id="docker://old"), ("old", "docker", False, 0, ())),
    ],
)
def test_what_a_status_tells_of_a_container(status: dict[str, Any] | None, expected: tuple[Any, ...]) -> None:
    found = container(read(pod(statuses=[status] if status else [])))
    told = (found.container_id, found.runtime, found.running, found.restart_count, found.previous_container_ids)
    assert told == expected


@pytest.mark.parametrize("count", [-7, 10**400, 2**31, "many"])
def test_a_restart_count_that_no_kubelet_writes_costs_no_page(count: object) -> None:
    found = read(pod(statuses=[running(container_id="containerd://new", restartCount=count)]))
    assert sum(found.problems.values()) == 1
    assert container(found).restart_count == 0


def test_init_sidecar_and_ephemeral_containers_are_told_apart() -> None:
    init = [{"name": "warm"}, {"name": "proxy", "restartPolicy": "Always"}]
    spec = {"initContainers": init, "ephemeralContainers": [{"name": "debug", "targetContainerName": "app"}]}
    status = {
        "initContainerStatuses": [running("warm", "containerd://2"), running("proxy", "containerd://3")],
        "ephemeralContainerStatuses": [running("debug", "containerd://4")],
    }
    found = only(read(pod(statuses=[running("app", "containerd://1")], spec=spec, status=status)))
    assert {c.name: (c.container_type, c.container_id) for c in found.containers} == {
        "warm": ("init", "2"),
        "proxy": ("sidecar", "3"),
        "app": ("container", "1"),
        "debug": ("ephemeral", "4"),
    }


@pytest.mark.parametrize(
    ("asked", "status", "spec"),
    [
        (cpu("300m", "600m"), cpu("200m", "400m") | {"allocatedResources": {"cpu": "250m"}}, (0.3, 0.6, 0.2, 0.4)),
        ({}, {"allocatedResources": {"cpu": "300m"}}, (None, None, 0.3, None)),  # an older kubelet
        (cpu(1, 0.1), {}, (1.0, 0.1, None, None)),  # a number is a quantity too
    ],
)
def test_amounts_asked_for_and_applied(asked: Any, status: Any, spec: tuple[float | None, ...]) -> None:
    pods = read(pod(containers=[{"name": "app", **asked}], statuses=[running(**status)]))
    assert container(pods).spec == ContainerSpec(*spec)


def test_a_status_without_a_spec_still_names_a_container() -> None:
    found = only(read(pod(containers=[{"name": "app"}], statuses=[running("ghost", "containerd://1")])))
    assert {c.name: (c.container_id, c.spec) for c in found.containers} == {
        "app": ("", ContainerSpec()),
        "ghost": ("1", None),  # not known, which is not a spec that sets nothing
    }


def test_what_is_claimed_twice_is_counted() -> None:
    pods = read(pod("uid-1", "a", statuses=[running()]), pod("uid-2", "b", statuses=[running()]))
    assert {p.containers[0].container_id for p in pods.pods.values()} == {"a" * 64}
    assert (len(pods.pods), dict(pods.problems)) == (2, {"duplicate_container_id": 1})
    pods = read(pod(containers=[{"name": "app", **cpu("1")}, {"name": "app", **cpu("2")}]))
    assert container(pods).spec == ContainerSpec(1.0)
    assert dict(pods.problems) == {"duplicate_container_name": 1}


@pytest.mark.parametrize(
    ("text", "cores"),
    [
        *(("100m", 0.1), ("0.1", 0.1), (".5", 0.5), ("1.", 1.0), ("+2", 2.0), ("0", 0.0), ("250000u", 0.25)),
        *(("500000000n", 0.5), ("1e3", 1e3), ("2E-1", 0.2), ("1k", 1e3), ("1M", 1e6), ("1G", 1e9), ("1T", 1e12)),
        *(("1P", 1e15), ("1E", 1e18), ("1Ki", 2.0**10), ("1Mi", 2.0**20), ("1Gi", 2.0**30), ("1Ti", 2.0**40)),
        *(("1Pi", 2.0**50), ("1Ei", 2.0**60), ("141m", 0.141), ("1n", 1e-9)),
        *(("0.0000000001", 1e-9), ("1e-999", 1e-9)),  # finer than a billionth is rounded up
        *(("64Ei", 2.0**63), ("1e300", 2.0**63)),  # capped
    ],
)
def test_a_quantity_is_read_as_go_reads_it(text: str, cores: float) -> None:
    assert parse_cores(text) == cores


@pytest.mark.parametrize(
    "text",
    [
        *("", ".", "-", "m", "1 ", " 1", "1mi", "1ki", "1.1.M", "1+1.0M", "0.1am", "2e3m", "1e", "1e+", "-1", "1m\n"),
        *("nan", "inf", "1_000", "0x10", "\u0661", "1" * 65, "1e1000"),
    ],
)
def test_anything_else_is_no_quantity(text: str) -> None:
    with pytest.raises(ValueError, match=r"amount|quantity"):
        parse_cores(text)


@pytest.mark.parametrize("static_first", [True, False])
def test_a_static_pod_beside_its_mirror_is_one_pod_and_no_problem(static_first: bool) -> None:
    static = pod(HASH, "etcd-node-a", statuses=[running()], metadata={"annotations": STATIC})
    mirror = pod("7c9a5200-0000-4000-8000-000000000009", "etcd-node-a", metadata={"annotations": MIRROR})
    pods = read(static, mirror) if static_first else read(mirror, static)
    assert container(pods).running
    assert dict(pods.problems) == {}


@pytest.mark.parametrize(
    ("annotation", "problems"),
    [("kubernetes.io/config.mirror", {"duplicate_pod_uid": 1}), ("kubernetes.io/config.hash", {})],
)
@pytest.mark.parametrize("thief_first", [True, False])
def test_no_annotation_takes_the_identity_of_another_pod(
    annotation: str, problems: dict[str, int], thief_first: bool
) -> None:
    victim = pod("uid-1", "victim")
    annotations = {annotation: "uid-1", "kubernetes.io/config.source": "http"}
    thief = pod("uid-2", "thief", metadata={"annotations": annotations})
    pods = read(thief, victim) if thief_first else read(victim, thief)
    assert pods.pods["uid-1"].name == "victim"
    assert dict(pods.problems) == problems


@pytest.mark.parametrize(
    ("owners", "labels", "workload"),
    [
        (["ReplicaSet/web-7d9f8c6b5"], {"pod-template-hash": "7d9f8c6b5"}, "Deployment/web"),
        (["ReplicaSet/web-7d9f8c6b5"], {}, "ReplicaSet/web-7d9f8c6b5"),
        (["ReplicaSet/by-hand"], {"pod-template-hash": "7d9f8c6b5"}, "ReplicaSet/by-hand"),
        (["ReplicaSet/web-"], {"pod-template-hash": ""}, "ReplicaSet/web-"),
        (["StatefulSet/db"], {}, "StatefulSet/db"),
        (["DaemonSet/agent"], {}, "DaemonSet/agent"),
        (["Job/backup-29921584"], {}, "CronJob/backup"),
        (["Job/migrate-20261121"], {}, "Job/migrate-20261121"),  # a date
        (["Job/migrate-2026112112"], {}, "Job/migrate-2026112112"),
        (["Job/step-2"], {}, "Job/step-2"),
        (["TaskRun/build-29921584"], {}, "TaskRun/build-29921584"),
        ([], {"pod-template-hash": "7d9f8c6b5"}, "Pod/web-1"),
        (["ConfigMap/x/no controller", "StatefulSet/db"], {}, "StatefulSet/db"),
        (["ConfigMap/x/no controller"], {}, "ConfigMap/x"),
    ],
)
def test_the_workload_is_what_a_human_edits(owners: list[str], labels: dict[str, str], workload: str) -> None:
    parts = [owner.split("/") for owner in owners]
    references = [{"kind": part[0], "name": part[1], "controller": len(part) == 2} for part in parts]
    found = only(read(pod("uid-1", "web-1", metadata={"ownerReferences": references, "labels": labels})))
    assert f"{found.workload_kind}/{found.workload}" == workload


@pytest.mark.parametrize(
    ("annotations", "name", "node", "workload"),
    [
        (STATIC, "etcd-node-a", "node-a", "etcd"),
        (MIRROR, "etcd-node-a", "node-a", "etcd"),
        (STATIC, "etcd-node-a.example.com", "Node-A.example.com", "etcd"),  # the kubelet appends it in lower case
        (STATIC, "etcd-node-b", "node-a", "etcd-node-b"),
        (STATIC, "etcd", "", "etcd"),
    ],
)
def test_a_static_pod_goes_by_its_cgroup_s_hash_and_the_name_in_its_manifest(
    annotations: dict[str, str], name: str, node: str, workload: str
) -> None:
    owner = [{"kind": "Node", "name": "node-a", "controller": True}]
    uid = "7c9a5200-0000-4000-8000-000000000009" if annotations is MIRROR else HASH
    metadata = {"annotations": annotations, "ownerReferences": owner}
    found = only(read(pod(uid, name, metadata=metadata, spec={"nodeName": node})))
    assert (found.uid, found.workload_kind, found.workload) == (HASH, "StaticPod", workload)


def test_a_pod_without_status_is_kept_and_counted() -> None:
    bare = pod(containers=[{"name": "app", **cpu("1", "1")}])
    del bare["status"]
    pending = pod("uid-2", "other", status={"phase": "Pending", "containerStatuses": None})
    pods = read(bare, pending)
    assert pods.pods.keys() == {bare["metadata"]["uid"], "uid-2"}
    assert pods.pods[bare["metadata"]["uid"]].spec == PodSpec(None)
    assert dict(pods.problems) == {"pod_without_status": 1}


@pytest.mark.parametrize(
    ("annotations", "ratio", "problems"),
    [
        ({}, None, {}),
        ({THRESHOLD_ANNOTATION: "0.6"}, 0.6, {}),
        ({THRESHOLD_ANNOTATION: "1"}, 1.0, {}),
        ({THRESHOLD_ANNOTATION: ".05"}, 0.05, {}),
        ({ALERT_ANNOTATION: "off"}, math.inf, {}),
        ({ALERT_ANNOTATION: "on"}, None, {}),
        ({ALERT_ANNOTATION: "off", THRESHOLD_ANNOTATION: "0.6"}, math.inf, {}),
        ({ALERT_ANNOTATION: "false"}, None, {"bad_annotation": 1}),
        ({ALERT_ANNOTATION: "no", THRESHOLD_ANNOTATION: "0.6"}, 0.6, {"bad_annotation": 1}),
        *(
            ({THRESHOLD_ANNOTATION: bad}, None, {"bad_annotation": 1})
            for bad in ("0", "1.1", "-0.1", "60%", "", " 0.6", "nan", "inf", "0_1", "0,6", "1e-1", "\u0661")
        ),
    ],
)
def test_alert_annotations(annotations: dict[str, str], ratio: float | None, problems: dict[str, int]) -> None:
    pods = read(pod(metadata={"annotations": annotations}))
    assert only(pods).alert_threshold_ratio == ratio
    assert dict(pods.problems) == problems


@pytest.mark.parametrize(("told", "known"), [("Guaranteed", "Guaranteed"), ("Platinum", None), (None, None)])
def test_the_qos_class_is_the_status_s(told: str | None, known: str | None) -> None:
    assert only(read(pod(status={"qosClass": told}))).spec == PodSpec(known)  # type: ignore[arg-type] # a row of plain values


MALFORMED: list[Any] = [
    *(None, 7, [], {}, pod() | {"spec": "x"}, pod() | {"status": []}),
    *(pod(metadata={"name": None}), pod(metadata={"annotations": {"a": 1}})),
    pod(metadata={"name": "\ud800"}),  # half a surrogate pair: no UTF-8 for it
    *(pod(spec={"containers": "app"}), pod(spec={"resources": {"limits": "2"}}), pod(status={"containerStatuses": 3})),
    *(pod(spec={"resources": {"limits": ["2"]}}), pod(status={"qosClass": 3})),
]


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        *((item, "malformed_pod") for item in MALFORMED),
        (pod(metadata={"uid": None}), "pod_without_uid"),
        (pod(metadata={"uid": ""}), "pod_without_uid"),
        ({**pod(), "kind": "Service"}, "not_a_pod"),
    ],
)
def test_one_bad_pod_is_left_out_and_counted_and_the_rest_kept(item: Any, reason: str) -> None:
    pods = read(pod("uid-1", "before"), item, pod("uid-2", "after"))
    assert {p.name for p in pods.pods.values()} == {"before", "after"}
    assert dict(pods.problems) == {reason: 1}


def test_one_bad_container_does_not_cost_the_pod() -> None:
    containers: list[Any] = [{"name": "app"}, {"name": 3}, None, {"name": "x", "resources": {"limits": 2}}]
    pods = read(pod(containers=containers, statuses=[running(), {"name": "x", "restartCount": "?"}]))
    assert container(pods).container_id == "a" * 64
    assert dict(pods.problems) == {"malformed_container": 3, "malformed_status": 1}


@pytest.mark.parametrize(
    "spoiled",
    [
        *({"state": "running"}, {"lastState": []}, {"state": {"terminated": "Error"}}, {"restartCount": True}),
        *({"resources": {"requests": ["1"]}}, {"resources": {"limits": "1"}}, {"allocatedResources": "1"}),
    ],
)
def test_a_status_of_another_shape_is_counted_and_does_not_say_that_nothing_is_set(spoiled: dict[str, Any]) -> None:
    pods = read(pod(containers=[{"name": "app"}, {"name": "x"}], statuses=[running(), {"name": "x"} | spoiled]))
    assert [found.container_id for found in only(pods).containers] == ["a" * 64, ""]
    assert dict(pods.problems) == {"malformed_status": 1}


def test_a_key_of_a_later_api_costs_nothing() -> None:
    resources = {"requests": {"cpu": "1"}, "claims": [{"name": "gpu"}], "later": "x"}
    pods = read(pod(containers=[{"name": "app", "resources": resources}], spec={"resources": {"later": 3}}))
    assert container(pods).spec == ContainerSpec(1.0)
    assert not pods.problems


@pytest.mark.parametrize(
    "amount", ["", "1x", "-1", "1e999999999", "9" * 10_000, [], {}, True, math.nan, math.inf, 10**400]
)
def test_one_bad_quantity_does_not_cost_the_container(amount: Any) -> None:
    pods = read(pod(containers=[{"name": "app", "resources": {"requests": {"cpu": amount}, "limits": {"cpu": "2"}}}]))
    assert container(pods).spec == ContainerSpec(None, 2.0)
    assert dict(pods.problems) == {"bad_quantity": 1}


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here, *(path for key, child in children for path in paths(child, (*here, key)))]


FULL = pod(
    containers=[{"name": "app", **cpu("1", "2")}],
    statuses=[running(lastState={"terminated": {"containerID": "containerd://old"}}, **cpu("1", "2"))],
    metadata={"annotations": STATIC, "ownerReferences": [{"kind": "Job", "name": "x-29921584"}], "labels": {"a": "b"}},
    spec={"initContainers": [{"name": "init", "restartPolicy": "Always"}], **cpu("3")},
)


@given(data=st.data(), replacement=json_values)
def test_any_value_anywhere_costs_at_most_its_pod(data: st.DataObject, replacement: Any) -> None:
    spoiled = json.loads(json.dumps(FULL))
    path = data.draw(st.sampled_from([path for path in paths(FULL) if path]))
    parent = spoiled
    for key in path[:-1]:
        parent = parent[key]
    parent[path[-1]] = replacement
    pods = read(spoiled, pod("uid-2", "other"))
    assert any(found.name == "other" for found in pods.pods.values())
    assert set(pods.problems) <= POD_REASONS
    assert all(count > 0 for count in pods.problems.values())


# ---- lists and stores ----

# A list holds objects: the end of a bare number could not be told.
list_items = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
).filter(lambda value: isinstance(value, (dict, list, str)))
LIST = json.dumps({"kind": "PodList", "items": [{"name": "\u00e4\U0001f600", "n": [1, 2.5, None]}] * 3}).encode()
members = st.dictionaries(st.text(max_size=5).filter(lambda key: key != "items"), list_items, max_size=3)


@given(
    items=st.lists(list_items, max_size=6),
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
