import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.errors import MappingError
from exporter.identities import KubeletConfig
from exporter.kube.configz import parse_configz

TREES = Path(__file__).parent.parent / "fixtures" / "trees"


def configz(**settings: Any) -> KubeletConfig:
    return parse_configz(json.dumps({"kubeletconfig": settings}).encode())


@pytest.mark.parametrize("driver", ["cgroupfs", "systemd"])
def test_a_recorded_answer(driver: str) -> None:
    config = parse_configz((TREES / f"kubelet-1.36-cgroup-v1-{driver}" / "configz.json").read_bytes())
    assert config == KubeletConfig(
        cpu_manager_policy="static",
        cpu_manager_reconcile_seconds=5.0,
        topology_manager_policy="none",
        topology_manager_scope="container",
        cpu_cfs_quota=True,
        cpu_cfs_quota_period_seconds=0.1,
        cgroup_driver=driver,
    )


def test_what_the_kubelet_may_say_beyond_that() -> None:
    config = configz(
        cpuManagerPolicyOptions={"full-pcpus-only": "true", "odd": 1},
        reservedSystemCPUs="0-1",
        cgroupRoot="/kubelet",
        cpuCFSQuota=False,
        cpuCFSQuotaPeriod="1m30s",
    )
    assert config == KubeletConfig(
        cpu_manager_policy_options={"full-pcpus-only": "true"},
        reserved_system_cpus="0-1",
        cgroup_root="/kubelet",
        cpu_cfs_quota=False,
        cpu_cfs_quota_period_seconds=90.0,
    )


def test_what_is_not_said_or_not_understood_is_absent() -> None:
    assert configz() == KubeletConfig()
    assert (
        configz(
            cpuManagerPolicy=["static"],
            cpuManagerPolicyOptions=[],
            cpuCFSQuota="true",
            cpuCFSQuotaPeriod=100,
            cpuManagerReconcilePeriod="soon",
            reservedSystemCPUs="",
        )
        == KubeletConfig()
    )


@pytest.mark.parametrize(
    "body", [b"", b"404 page not found", b"[]", b"{}", b'{"kubeletconfig": null}', b"[" * 200_000, b"\xff"]
)
def test_anything_else_is_our_error(body: bytes) -> None:
    with pytest.raises(MappingError) as caught:
        parse_configz(body)
    assert caught.value.reason == "malformed"


values = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.lists(st.text(), max_size=2)
settings = st.dictionaries(
    st.sampled_from(["cpuManagerPolicy", "cpuManagerPolicyOptions", "cpuCFSQuota", "cpuCFSQuotaPeriod", "cgroupRoot"])
    | st.text(max_size=5),
    values | st.dictionaries(st.text(max_size=5), values, max_size=3),
)


@given(settings=settings)
def test_any_settings_are_read(settings: dict[str, Any]) -> None:
    assert isinstance(configz(**settings), KubeletConfig)


@given(body=st.binary(max_size=100))
def test_any_bytes_are_settings_or_our_error(body: bytes) -> None:
    try:
        config = parse_configz(body)
    except MappingError:
        return
    assert isinstance(config, KubeletConfig)
