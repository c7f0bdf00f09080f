"""inotify that overflows or is refused: walks find everything too, and the kernel is asked to tell again."""

from __future__ import annotations

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import unavailable
from tests.sampler.rig import Rig, running
from tests.support.lab import watches
from tests.support.pages import triples
from tests.support.treebuilder import Builder, container_id, pod_uid, v2
from tests.support.trees import cgroupfs_pod

PERIODS = "cgroup_container_cpu_periods_total"


def one_pod(root: Path) -> tuple[Builder, str]:
    build = v2(root)
    pod = build.pod(cgroupfs_pod(pod_uid("one"), "Burstable"), pod_uid("one"), "Burstable")
    build.container(f"{pod}/{container_id('app')}", container_id("app"), "")
    return build, pod


def queue_length() -> int:
    return int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())


def overflow(folder: Path) -> None:
    """More happens in ``folder`` than the kernel keeps."""
    if queue_length() > 1 << 17:
        unavailable("max_queued_events is too large to fill")
    for number in range(queue_length() // 2 + 10):
        (folder / str(number)).mkdir()
        (folder / str(number)).rmdir()


def test_after_an_overflow_everything_is_told_again_and_nothing_is_left(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    build, _ = one_pod(root)
    outside = watches(os.getpid())
    with running(Rig(root, linger=0.0)) as rig:
        steady = watches(os.getpid())
        uids = [pod_uid(str(number)) for number in range(20)]
        for number, uid in enumerate(uids):
            (root / f"nested{number}.slice").mkdir()
            build.pod(cgroupfs_pod(uid, "Burstable"), uid, "Burstable")
        rig.tick()
        assert len(rig.snapshot().pods) == 21
        assert watches(os.getpid()) >= steady + 40
        # They go while the queue is full: nobody tells of it, nor that the watches on them are gone.
        overflow(root)
        for number, uid in enumerate(uids):
            (root / f"nested{number}.slice").rmdir()
            shutil.rmtree(root / cgroupfs_pod(uid, "Burstable"))
        rig.tick()
        assert rig.failures() == {("read", "overflow"): 1}
        rig.scan()
        assert len(rig.snapshot().pods) == 1
        assert watches(os.getpid()) == steady

        # The same paths again, and a pod in one of them.
        (root / "nested3.slice").mkdir()
        rig.tick()
        pod = build.pod(cgroupfs_pod(pod_uid("back"), "Burstable", "nested3.slice/"), pod_uid("back"), "Burstable")
        rig.tick()
        build.container(f"{pod}/{container_id('back')}", container_id("back"), "")
        rig.tick()
        assert len(triples(rig.page().rows(PERIODS))) == 2
    assert watches(os.getpid()) == outside


_libc = ctypes.CDLL(None, use_errno=True)


@contextmanager
def exhausted() -> Iterator[Callable[[], None]]:
    """With all the inotify instances that the kernel gives this user taken; call it to take what others gave back."""
    most = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    if most > 1024:
        unavailable("max_user_instances is too large to use up")
    taken = []

    def take() -> None:
        while (fd := _libc.inotify_init1(os.O_CLOEXEC)) >= 0:
            taken.append(fd)

    try:
        take()
        yield take
    finally:
        for fd in taken:
            os.close(fd)


def test_a_kernel_that_refuses_is_asked_again(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    build, pod = one_pod(root)
    with exhausted():
        rig = Rig(root)
    assert rig.failures() == {("read", "emfile"): 1}
    with running(rig):
        for _ in range(40):
            for _ in range(10):
                rig.tick()
            rig.scan()
        build.container(f"{pod}/{container_id('new')}", container_id("new"), "")
        rig.tick()
        assert len(triples(rig.page().rows(PERIODS))) == 2, "told of, not walked to"
        assert rig.failures() == {}


def test_without_it_a_walk_finds_what_came(tmp_path: Path) -> None:
    root = tmp_path / "cgroup"
    build, pod = one_pod(root)
    with exhausted() as exhaust, running(Rig(root)) as rig:
        build.container(f"{pod}/{container_id('new')}", container_id("new"), "")
        rig.tick()
        assert len(triples(rig.page().rows(PERIODS))) == 1
        rig.scan()
        rig.tick()
        assert len(triples(rig.page().rows(PERIODS))) == 2
        for _ in range(100):
            rig.tick(10.0)
            exhaust()
            rig.scan()
        assert 2 <= rig.failures()["read", "emfile"] <= 5, "asked again now and then, not at every walk"
