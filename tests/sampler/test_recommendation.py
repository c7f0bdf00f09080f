"""What the sampler learns of bursts, from files that move as the kernel moves them."""

from __future__ import annotations

from pathlib import Path

import pytest

from exporter.model import Recommendation
from tests.sampler.rig import Rig, shown
from tests.support.recordings import overwrite
from tests.support.treebuilder import container_id, pod_uid, v2
from tests.support.trees import cgroupfs_pod

UID, CID = pod_uid("web"), container_id("app")
POD = cgroupfs_pod(UID, "Burstable")
APP = f"{POD}/{CID}"
BURST, LIMIT, PERIOD = 0.1, 0.4, 0.1
RECOMMENDED = "cgroup_container_cpu_recommended_limit_cores"


class Bursts:
    """A burst of 100 ms of CPU in each second: under 0.4 CPUs two throttled periods, one that ends it, an idle one."""

    def __init__(self, root: Path, *, throttles: dict[str, int], pod_limit: int) -> None:
        self.root, self.throttles, self.seconds = root, throttles, 0
        build = v2(root)
        path = build.pod(POD, UID, "Burstable")
        overwrite(root / path / "cpu.max", f"{pod_limit} 100000\n".encode())
        build.container(f"{path}/{CID}", CID, "", quota=40_000)
        self.second()

    def second(self) -> None:
        self.seconds += 1
        for path, throttled in self.throttles.items():
            fields = {
                "usage_usec": round(1e6 * BURST * self.seconds),
                "user_usec": 0,
                "system_usec": 0,
                "nr_periods": 4 * self.seconds,
                "nr_throttled": throttled * self.seconds,
                "throttled_usec": 60_000 * throttled * self.seconds,
            }
            overwrite(self.root / path / "cpu.stat", "".join(f"{k} {v}\n" for k, v in fields.items()).encode())


def watched(bursts: Bursts, seconds: int = 40) -> Rig:
    rig = Rig(bursts.root)
    for second in range(seconds):
        bursts.second()
        if second % 10 == 0:
            rig.scan()
        rig.tick()
        rig.page()
    return rig


def recommended(rig: Rig) -> Recommendation | None:
    found = shown(rig.snapshot(), CID)
    return found.recommendation


@pytest.mark.parametrize(
    ("throttles", "pod_limit"),
    [
        pytest.param({APP: 2, POD: 0}, 200_000, id="by its own quota"),
        # The kubelet gives a pod the sum of its limits: which of the two the kernel stops is chance.
        pytest.param({APP: 1, POD: 1}, 40_000, id="by its own and by its pod's, which is the same"),
    ],
)
def test_a_burst_s_limit_is_on_the_page(tmp_path: Path, throttles: dict[str, int], pod_limit: int) -> None:
    rig = watched(Bursts(tmp_path, throttles=throttles, pod_limit=pod_limit))
    found = recommended(rig)
    assert found is not None
    # One CPU at once: 100 ms and a slice of 5 ms, and never more than a whole CPU.
    assert found.limit_cores == 1.0
    assert rig.page().total(RECOMMENDED) == 1.0


def test_a_new_limit_is_judged_anew_and_the_bursts_are_remembered(tmp_path: Path) -> None:
    bursts = Bursts(tmp_path, throttles={APP: 2, POD: 0}, pod_limit=200_000)
    rig = watched(bursts)
    overwrite(tmp_path / APP / "cpu.max", b"60000 100000\n")
    rig.scan()
    rig.tick()
    found = recommended(rig)
    assert found is None or found.limit_cores == 1.0
    for _ in range(10):
        bursts.second()
        rig.tick()
    rig.scan()
    rig.tick()
    found = recommended(rig)
    assert found is not None
    # The files go on as under the old limit, so that it seems to run on two CPUs.
    assert found.limit_cores == 1.2
