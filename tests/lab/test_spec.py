"""The lab writes what a real kubelet and runtime would write, under the names they would use."""

from __future__ import annotations

import json

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.cgroupfs.names import decode
from exporter.identities import ContainerSpec, QosClass
from exporter.kube.kubelet import parse_configz
from exporter.kube.podlist import parse_pod_list
from exporter.lab import kubelet_api, scenario
from exporter.lab.spec import Container, CpuSettings, Pod, shares, weight
from exporter.model import Driver

TWO_CPUS = frozenset({0, 1})


def pod(*containers: Container, limit_cores: float | None = None, static: bool = False) -> Pod:
    return Pod("shop", "web-0", "", "", containers, limit_cores, static=static).identified("a test")


LIMITED = Container("a", limit_cores=0.2)


@pytest.mark.parametrize(
    ("containers", "qos_class", "quota_cores"),
    [
        ([Container("a")], "BestEffort", None),
        ([Container("a", request_cores=0.1)], "Burstable", None),
        ([Container("a", request_cores=0.1, limit_cores=0.2)], "Burstable", 0.2),
        ([Container("a", request_cores=1, limit_cores=1)], "Guaranteed", 1),
        ([LIMITED, Container("b", limit_cores=0.1)], "Guaranteed", 0.3),
        ([LIMITED, Container("b")], "Burstable", None),
        ([LIMITED, Container("b", finished=True)], "Burstable", 0.2),
    ],
)
def test_qos_class_and_quota_follow_from_requests_and_limits(
    containers: list[Container], qos_class: QosClass, quota_cores: float | None
) -> None:
    made = pod(*containers)
    assert made.qos_class == qos_class
    assert made.settings().quota_cores == (None if quota_cores is None else pytest.approx(quota_cores))


def test_a_pod_level_limit_becomes_the_quota_of_containers_without_one() -> None:
    limited = pod(Container(name="a"), Container(name="b", limit_cores=0.1), limit_cores=0.5)
    unlimited, own = limited.containers

    assert limited.settings().quota_cores == 0.5
    assert limited.container_settings(unlimited, None).quota_cores == 0.5
    assert limited.container_settings(own, None).quota_cores == 0.1


def test_exclusive_cpus_come_without_a_quota_and_others_share_the_rest() -> None:
    exclusive = frozenset({1})
    pinned = pod(Container(name="a", limit_cores=1, exclusive_cpus=exclusive), Container(name="b", limit_cores=1))
    owner, other = pinned.containers

    assert pinned.settings().quota_cores is None
    assert pinned.container_settings(owner, frozenset({0})) == CpuSettings(shares=1024, cpus=exclusive)
    assert pinned.container_settings(other, frozenset({0})).cpus == frozenset({0})


def test_quotas_shares_and_weights_are_rounded_as_kubelet_and_runtime_do() -> None:
    quotas = {0.4: 40_000, 0.005: 1_000, 0.0333: 3_330, 2: 200_000}
    assert {cores: CpuSettings(quota_cores=cores).quota_us for cores in quotas} == quotas
    cores, asked = (0.01, 0.1, 0.5, 1, 4, 16, 0), [10, 102, 512, 1024, 4096, 16384, 2]
    assert [shares(one) for one in cores] == asked
    assert [weight(one) for one in asked] == [4, 17, 59, 100, 303, 942, 1]


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
@pytest.mark.parametrize("static", [False, True])
@given(request=st.sampled_from([None, 0.1, 1.0]), limit=st.sampled_from([None, 1.0]), name=st.text(max_size=20))
def test_the_exporter_reads_from_a_path_what_the_lab_put_into_it(
    driver: Driver, static: bool, request: float | None, limit: float | None, name: str
) -> None:
    container = Container(name="c", request_cores=request, limit_cores=limit)
    made = Pod("a", name, "", "", (container,), static=static).identified("x")
    container_id = made.containers[0].container_id

    ref = decode(f"kte-demo-1-2-3-4/{made.cgroup(driver, container_id)}")

    assert ref is not None
    found = (ref.pod_uid, ref.container_id, ref.qos_class, ref.driver)
    assert found == (made.uid, container_id, made.qos_class, driver)
    assert ref.pod_path == f"kte-demo-1-2-3-4/{made.cgroup(driver)}"


def test_two_nodes_with_the_same_pods_share_no_id_and_one_cpu_is_not_given_away() -> None:
    one, other = scenario.demo(frozenset({0}), "a"), scenario.demo(TWO_CPUS, "b")
    paths = [{path for pod in node.pods for path, *_ in pod.cgroups("cgroupfs")} for node in (one, other)]

    assert [len(found) for found in paths] == [27, 27]
    assert paths[0].isdisjoint(paths[1])
    assert one.shared_cpus is None
    assert not any(container.exclusive_cpus for pod in one.pods for container in pod.containers)


def test_the_exporter_understands_the_answers_of_the_demo() -> None:
    pods = scenario.demo(TWO_CPUS, "x").pods
    document = json.dumps(kubelet_api.pod_list(pods, node_name="n1")).encode()

    parsed = parse_pod_list(document, "the lab")

    assert not parsed.problems
    assert set(parsed.pods) == {one.uid for one in pods}
    for one in pods:
        identity = parsed.pods[one.uid]
        assert identity.spec is not None
        assert (identity.namespace, identity.spec.qos_class) == (one.namespace, one.qos_class)
        assert identity.spec.limit_cores == one.limit_cores
        assert {(c.container_id, c.name, c.container_type, c.running) for c in identity.containers} == {
            (c.container_id, c.name, c.container_type, not c.finished) for c in one.containers
        }
        assert {(c.name, c.spec) for c in identity.containers} == {
            (c.name, ContainerSpec(request, c.limit_cores, request, c.limit_cores))
            for c in one.containers
            for request in [c.limit_cores if c.request_cores is None else c.request_cores]
        }
    workloads = {identity.name: (identity.workload_kind, identity.workload) for identity in parsed.pods.values()}
    assert workloads["checkout-7d9f8b6c5d-x2k9p"] == ("Deployment", "checkout")
    assert workloads["trainer-0"] == ("StatefulSet", "trainer")
    assert workloads["node-agent-n1"][0] == "StaticPod"
    config = parse_configz(
        json.dumps(kubelet_api.configz(driver="systemd", static_cpus=True, reserved_cpus="0")).encode()
    )
    assert (config.cpu_manager_policy, config.reserved_system_cpus) == ("static", "0")
    assert config.cpu_cfs_quota
    assert config.cpu_cfs_quota_period_seconds == 0.1


async def test_each_answer_is_made_when_it_is_asked_for() -> None:
    items: list[str] = []
    async with (
        aiohttp.ClientSession(raise_for_status=True) as session,
        kubelet_api.serve(lambda: {"items": items}, lambda: {"kubeletconfig": {}}) as url,
    ):
        for path, expected in {"/pods": {"items": ["pod"]}, "/configz": {"kubeletconfig": {}}}.items():
            items[:] = ["pod"]
            async with session.get(url + path) as answer:
                assert await answer.json() == expected
