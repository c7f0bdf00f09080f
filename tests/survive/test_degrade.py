"""What hangs, overflows or is misspelt costs its own values, not the page and not the process."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from exporter.errors import MappingError
from exporter.kube.logdir import LogDirSource, parse_log_names
from exporter.kube.source import FileSource
from tests.e2e.conftest import FAST
from tests.sampler.rig import Rig, running
from tests.support.pages import triples
from tests.support.process import started
from tests.support.treebuilder import Tree, container_id, pod_uid, write_v2
from tests.support.trees import containerd_systemd

USAGE = "cgroup_container_cpu_usage_seconds_total"


@contextmanager
def hung(file: Path) -> Iterator[None]:
    """Opening ``file`` blocks: it is a FIFO without a writer. Whoever waits is let go in the end."""
    kept = file.read_bytes() if file.exists() else None
    file.unlink(missing_ok=True)
    os.mkfifo(file)
    try:
        yield
    finally:
        aside = file.with_name(f".{file.name}.aside")
        file.rename(aside)
        if kept is not None:
            file.write_bytes(kept)
        with suppress(OSError):  # nobody waits
            os.close(os.open(aside, os.O_WRONLY | os.O_NONBLOCK))
        aside.unlink()


# ---- the machine's own files ----


def machine(folder: Path) -> tuple[Path, Path]:
    """``proc`` and ``sys`` of four CPUs."""
    proc, sys = folder / "proc", folder / "sys"
    (proc / "sys/kernel").mkdir(parents=True)
    (proc / "sys/kernel/osrelease").write_text("6.12.0\n")
    (proc / "stat").write_text("cpu 1 1 1 1\ncpu0 1 1 1 1\n")
    (sys / "devices/system/cpu").mkdir(parents=True)
    (sys / "devices/system/cpu/online").write_text("0-3\n")
    return proc, sys


@pytest.mark.parametrize("name", ["proc/stat", "proc/sys/kernel/osrelease", "sys/devices/system/cpu/online"])
def test_a_machine_file_that_hangs_costs_its_own_values(name: str, tmp_path: Path) -> None:
    containerd_systemd(tmp_path / "cgroup")
    proc, sys = machine(tmp_path)
    rig = Rig(tmp_path / "cgroup", proc=proc, sys=sys)
    with hung(tmp_path / name), running(rig):
        began = time.monotonic()
        for _ in range(10):
            rig.tick(10.0)
            rig.scan()
        assert time.monotonic() - began < 5.0, "waited for once, not at every scan"
        assert rig.snapshot().containers
        assert set(rig.failures()) == {("read", "timeout")}


async def test_a_pod_list_file_that_hangs_is_a_failed_source(tmp_path: Path) -> None:
    source = FileSource(str(tmp_path / "pods.json"), timeout_seconds=0.05)
    with hung(tmp_path / "pods.json"):
        for _ in range(3):
            with pytest.raises(MappingError) as caught:
                await source.pods()
            assert caught.value.reason == "timeout"


# ---- the log directory ----


def log_dir(folder: Path) -> str:
    """``/var/log`` with one pod."""
    for name in ("pods", "containers"):
        (folder / name).mkdir(parents=True)
    (folder / "pods" / f"shop_web_{pod_uid('web')}").mkdir()
    return str(folder)


async def test_a_log_directory_that_hangs_is_a_failed_source(tmp_path: Path) -> None:
    """A file server that is gone hangs whoever lists its directories; the next source must get its turn."""
    listings = 0
    go_on = threading.Event()

    def list_names(path: str) -> list[str]:
        nonlocal listings
        listings += 1
        go_on.wait()
        return os.listdir(path)

    source = LogDirSource(log_dir(tmp_path), timeout_seconds=0.05, list_names=list_names)
    try:
        for _ in range(5):
            with pytest.raises(MappingError, match="no answer") as caught:
                await source.pods()
            assert caught.value.reason == "timeout"
        assert listings == 1, "no second thread is given to it"
    finally:
        go_on.set()


async def test_a_log_directory_that_answers_again_is_read_again(tmp_path: Path) -> None:
    go_on = threading.Event()

    def list_names(path: str) -> list[str]:
        go_on.wait()
        return os.listdir(path)

    source = LogDirSource(log_dir(tmp_path), timeout_seconds=0.2, list_names=list_names)
    with pytest.raises(MappingError):
        await source.pods()
    go_on.set()
    found = None
    while found is None:  # until the late call has ended
        await asyncio.sleep(0.001)
        with suppress(MappingError):
            found = await source.pods()
    assert {pod.name for pod in found.pods.values()} == {"web"}


def test_log_names_that_are_no_text_are_counted_not_shown() -> None:
    """Replaced by question marks on the page they could make two pods one, and Prometheus refuses such a page."""
    folders = [os.fsdecode(b"shop_web" + bytes([byte]) + f"_{pod_uid(str(byte))}".encode()) for byte in (254, 255)]
    found = parse_log_names(folders, [])
    assert (dict(found.pods), found.problems) == ({}, {"malformed_name": 2})


# ---- a cgroup file ----


def a_new_container(tree: Tree) -> Path:
    """A container that appears beside the first, whole but for the file that is returned."""
    folder = tree.root / tree.pods[0].path / f"cri-containerd-{container_id('hangs')}.scope"
    write_v2(folder, 99, 50_000)
    return folder / "cpu.stat"


def test_a_read_that_never_returns_keeps_neither_page_nor_probe_nor_end(tmp_path: Path) -> None:
    """With the kernel stuck nothing true can be said of containers; of the exporter itself it can, and is."""
    tree = containerd_systemd(tmp_path / "cgroup")
    aside = tmp_path / "aside"
    stat = a_new_container(tree)
    stat.parent.rename(aside)
    flags = [f"--path.cgroup={tree.root}", f"--path.proc={tmp_path}", f"--path.sys={tmp_path}", *FAST]
    with started([*flags, "--pods.sources=none"]) as exporter:
        healthy = exporter.page_after_ticks(2)
        with hung(aside / "cpu.stat"):
            aside.rename(stat.parent)
            # From here on no sample ends.
            until(lambda: exporter.get("/healthz").status == 503)
            page = exporter.page()
            assert triples(page.rows(USAGE)) == set()
            assert page.get("throttle_exporter_errors_total", stage="read", reason="timeout")
            taken_at = page.get("throttle_exporter_snapshot_timestamp_seconds")
            assert taken_at is not None
            assert exporter.page().get("throttle_exporter_snapshot_timestamp_seconds") == taken_at
            began = time.monotonic()
            assert [exporter.get(path).status for path in ("/api/v1/containers", "/api/v1/node", "/")] == [503] * 3
            assert time.monotonic() - began < 2.0, "who asks later does not wait"
            assert exporter.get("/metrics").status == 200

            stat.parent.rename(aside)
        page = exporter.page_when(lambda page: triples(page.rows(USAGE)) >= triples(healthy.rows(USAGE)))
        assert exporter.get("/healthz").status == 200

        with hung(aside / "cpu.stat"):
            samples = "throttle_exporter_sample_duration_seconds_count"
            aside.rename(stat.parent)
            time.sleep(0.5)
            taken = exporter.page().total(samples)
            time.sleep(0.5)
            assert exporter.page().total(samples) == taken, "it hangs"
            assert exporter.stop() == 0, "within the time that stop allows"
            stat.parent.rename(aside)


def until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
