"""The cgroup's limit against the spec's."""

from dataclasses import replace

import pytest

from exporter.analysis.drift import limit_drift
from exporter.identities import ContainerIdentity, ContainerSpec, KubeletConfig, PodIdentity, PodSpec
from exporter.model import CpuLimits, IsolationState

ENFORCES = KubeletConfig(cpu_cfs_quota=True)
NO_QUOTA = CpuLimits("none", period_seconds=0.1)
POD = PodIdentity("u", "default", "p", PodSpec("Burstable"), "Pod", "p")
GUARANTEED = replace(POD, spec=PodSpec("Guaranteed"))
WITH_POD_LIMIT = replace(POD, spec=PodSpec("Burstable", limit_cores=2.0))


def quota(cores: float, period: float = 0.1) -> CpuLimits:
    return CpuLimits("set", limit_cores=cores, period_seconds=period)


def asks(limit: float | None, allocated: float | None = None) -> ContainerIdentity:
    return ContainerIdentity("c", "app", "container", "", True, ContainerSpec(None, limit, None, allocated))


EPHEMERAL = replace(asks(None), container_type="ephemeral")


@pytest.mark.parametrize(
    ("limits", "container", "pod", "expected"),
    [
        pytest.param(quota(2), asks(2), POD, False, id="as the spec asks"),
        pytest.param(quota(1), asks(2), POD, True, id="half of it"),
        pytest.param(quota(4), asks(2), POD, True, id="twice of it"),
        pytest.param(quota(1.981), asks(2), POD, False, id="within one percent"),
        pytest.param(quota(1.97), asks(2), POD, True, id="beyond one percent"),
        pytest.param(quota(0.03), asks(0.025), POD, False, id="systemd rounds up to 10 ms"),
        pytest.param(quota(0.02), asks(0.025), POD, True, id="nobody rounds down to 10 ms"),
        pytest.param(quota(0.045), asks(0.03), POD, True, id="more than systemd rounds"),
        pytest.param(quota(0.01), asks(0.001), POD, False, id="the kernel's least quota"),
        pytest.param(quota(0.1, period=0.01), asks(0.05), POD, False, id="the least of a short period"),
        pytest.param(quota(0.33333), asks(0.333333), POD, False, id="whole microseconds"),
        pytest.param(NO_QUOTA, asks(2), POD, True, id="lost its quota"),
        pytest.param(NO_QUOTA, asks(None), POD, False, id="none asked for"),
        pytest.param(quota(2), asks(None), POD, True, id="a quota that nobody asked for"),
        pytest.param(NO_QUOTA, asks(0.0), POD, False, id="a limit of 0 is none"),
        pytest.param(quota(2), asks(None), WITH_POD_LIMIT, False, id="the pod's limit"),
        pytest.param(NO_QUOTA, asks(None), WITH_POD_LIMIT, False, id="left to the pod's cgroup"),
        pytest.param(quota(1), asks(None), WITH_POD_LIMIT, True, id="not the pod's limit"),
        pytest.param(quota(2), asks(1), WITH_POD_LIMIT, True, id="its own limit comes before the pod's"),
        pytest.param(NO_QUOTA, EPHEMERAL, POD, False, id="ephemeral"),
        pytest.param(quota(2), EPHEMERAL, WITH_POD_LIMIT, False, id="ephemeral under the pod's limit"),
        pytest.param(quota(1), asks(2, allocated=1), POD, False, id="a resize not applied yet"),
        pytest.param(quota(2), asks(2, allocated=1), POD, False, id="a resize applied, the status behind"),
        pytest.param(quota(3), asks(2, allocated=1), POD, True, id="neither old nor new"),
        pytest.param(None, asks(2), POD, None, id="no cpu controller"),
        pytest.param(CpuLimits("unsupported"), asks(2), POD, None, id="no quota files"),
        pytest.param(quota(2), None, None, None, id="not mapped"),
        pytest.param(quota(2), None, POD, None, id="a pod's own cgroup"),
    ],
)
def test_limit_drift(
    limits: CpuLimits | None, container: ContainerIdentity | None, pod: PodIdentity | None, expected: bool | None
) -> None:
    assert limit_drift(limits, container, pod, isolation="shared", kubelet=ENFORCES) is expected


@pytest.mark.parametrize(
    ("isolation", "kubelet", "expected"),
    [
        pytest.param("exclusive", ENFORCES, False, id="exclusive CPUs need no quota"),
        pytest.param("exclusive", None, False, id="whatever the kubelet says"),
        pytest.param("eligible", ENFORCES, True, id="not pinned"),
        pytest.param("shared", ENFORCES, True, id="in the pool"),
        pytest.param(None, ENFORCES, None, id="no cpuset to see"),
        pytest.param("eligible", KubeletConfig(cpu_cfs_quota=False), False, id="limits are not enforced"),
        pytest.param("eligible", KubeletConfig(), None, id="the kubelet does not say"),
        pytest.param("eligible", None, None, id="no kubelet to ask"),
    ],
)
def test_a_guaranteed_container_without_a_quota(
    isolation: IsolationState | None, kubelet: KubeletConfig | None, expected: bool | None
) -> None:
    assert limit_drift(NO_QUOTA, asks(2), GUARANTEED, isolation=isolation, kubelet=kubelet) is expected


@pytest.mark.parametrize(
    ("cores", "pod", "isolation", "expected"),
    [
        pytest.param(None, POD, None, True, id="cannot be pinned, so that no cpuset is needed"),
        pytest.param(1, GUARANTEED, "exclusive", True, id="pinned, another quota"),
        pytest.param(6, GUARANTEED, "exclusive", False, id="CRI-O: two shared CPUs added, and a quota for all six"),
        pytest.param(6, GUARANTEED, "shared", True, id="not pinned"),
        pytest.param(7, GUARANTEED, "exclusive", True, id="more than its CPUs"),
    ],
)
def test_a_container_of_four_cpus_and_its_cpuset_of_six(
    cores: float | None, pod: PodIdentity, isolation: IsolationState | None, expected: bool
) -> None:
    limits = quota(cores) if cores else NO_QUOTA
    assert limit_drift(limits, asks(4), pod, isolation=isolation, cpus=6.0, kubelet=ENFORCES) is expected
