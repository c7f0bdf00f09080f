"""Nothing that was true once is shown as true now."""

from __future__ import annotations

from pathlib import Path

import pytest
from typing_extensions import override

from exporter.identities import KubeletConfig
from exporter.model import CpuStat
from tests.sampler.rig import LINGER, Rig, remove, running
from tests.sampler.test_core import UID, app_of, path_of, set_stat, small
from tests.support.recordings import overwrite
from tests.support.treebuilder import container_id


@pytest.mark.parametrize("limit", [b"max 100000\n", b"garbage\n"])
def test_a_window_ends_with_the_quota_however_old_the_container_is(tmp_path: Path, limit: bytes) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        for second in range(int(LINGER) + 5):
            set_stat(tree, "app", nr_periods=10 * second, nr_throttled=10 * second, throttled_usec=second, usage_usec=1)
            rig.tick()
        throttled = app_of(rig).window
        assert throttled is not None
        assert throttled.ratio == 1.0

        overwrite(tmp_path / path_of(tree, "app") / "cpu.max", limit)
        rig.scan()
        rig.tick()

        assert app_of(rig).window is None


@pytest.mark.parametrize("group", ["own", "pod"])
def test_an_unknown_limit_is_not_no_limit(tmp_path: Path, group: str) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        rig.tick()
        assert app_of(rig).effective_limit_cores is not None

        path = path_of(tree, "app")
        overwrite(tmp_path / (path if group == "own" else str(Path(path).parent)) / "cpu.max", b"garbage\n")
        rig.scan()
        rig.tick()

        assert app_of(rig).effective_limit_cores is None


def test_a_limit_that_could_not_be_read_is_tried_again_at_the_next_scan(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        file = tmp_path / path_of(tree, "app") / "cpu.weight"
        good = file.read_bytes()
        overwrite(file, b"garbage\n")
        rig.scan()
        rig.tick(LINGER + 1)
        assert app_of(rig).limits is None

        overwrite(file, good)
        rig.scan()
        rig.tick()

        assert app_of(rig).limits is not None


def test_what_lingers_goes_in_time_though_no_scan_comes(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path, linger=2.0)) as rig:
        rig.tick()
        remove(tmp_path / path_of(tree, "app"))
        rig.tick()
        gone = container_id("app")
        assert [one for one in rig.snapshot().containers if one.ref.container_id == gone]

        rig.tick(2.5)

        assert not [one for one in rig.snapshot().containers if one.ref.container_id == gone]
        assert [one for one in rig.snapshot().pods if one.ref.pod_uid == UID]


def test_modes_go_with_the_counters_they_are_shown_with(tmp_path: Path) -> None:
    tree = small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        assert app_of(rig).stat.user_seconds is not None
        overwrite(tmp_path / path_of(tree, "app") / "cpu.stat", b"garbage\n")
        rig.tick()
        assert app_of(rig).stat == CpuStat()


class BrokenOnce(KubeletConfig):
    """A kubelet's configuration of which no verdict can be made at first."""

    asked = 0

    @override
    def __getattribute__(self, name: str) -> object:
        if name == "cpu_manager_policy":
            BrokenOnce.asked += 1
            if BrokenOnce.asked == 1:
                raise LookupError
        return super().__getattribute__(name)


def test_a_verdict_that_failed_is_tried_again(tmp_path: Path) -> None:
    small(tmp_path)
    with running(Rig(tmp_path)) as rig:
        rig.sampler.set_kubelet(BrokenOnce())
        with pytest.raises(LookupError):
            rig.tick()
        rig.tick()
        assert BrokenOnce.asked > 1


def test_a_clock_that_goes_back_costs_no_container(tmp_path: Path) -> None:
    small(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text("cpu  1 0 0 1 0 0 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\n")
    with running(Rig(tmp_path, proc=tmp_path / "proc")) as rig:
        for seconds in (70, 70, -500, 1, -1, 0, 70, 70):
            rig.now += seconds
            rig.scan()
            rig.tick(0)
            assert len(rig.snapshot(detailed=True).containers) == 2
