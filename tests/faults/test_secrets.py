"""What must never come out: the token, wherever the exporter speaks; nor go in: a byte into any file."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.faults.node import Place
from tests.support.fake_kubelet import TOKEN, Reply, kubelet
from tests.support.process import Exporter, started
from tests.support.trees import containerd_systemd

EVERYWHERE = ("/metrics", "/", "/api/v1/node", "/api/v1/containers", "/readyz", "/healthz")
WITH_TOKEN = {
    "refuses": Reply(f"Forbidden (token={TOKEN})".encode(), status=403),
    "fails": Reply(f"panic: {TOKEN}".encode(), status=500),
    "redirects": Reply(status=302, headers={"Location": f"http://127.0.0.1:1/{TOKEN}"}),
    "talks nonsense": Reply(f"<html>{TOKEN}".encode()),
    "does not speak HTTP": Reply(raw=f"{TOKEN}\r\n\r\n".encode()),
    "sends an odd header": Reply(b"{}", headers={"Content-Encoding": TOKEN}),
}


def said(exporter: Exporter) -> str:
    """All that it says to anybody."""
    return "".join(exporter.get(path).text for path in EVERYWHERE) + exporter.log


@pytest.mark.parametrize("how", WITH_TOKEN)
def test_no_answer_of_the_kubelet_brings_the_token_to_light(how: str, tmp_path: Path) -> None:
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    with (
        kubelet(tmp_path, b"{}") as served,
        started([*place.options, *FAST, *served.options, "--log.level=debug"], ready=False) as exporter,
    ):
        for path in ("/pods", "/configz"):
            served.answer(path, WITH_TOKEN[how])
        before = served.asked
        deadline = time.monotonic() + 15.0
        while served.asked < before + 1 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert served.asked >= before + 1
        exporter.page_when(lambda page: page.total("throttle_exporter_errors_total", stage="pods") >= 2)
        assert "pod source kubelet" in exporter.log
        assert TOKEN not in said(exporter)


def open_for_writing(pid: int) -> list[str]:
    """Regular files that a process may write to."""
    found = []
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            target = os.readlink(f"/proc/{pid}/fd/{info.name}")
            flags = next(line for line in info.read_text().splitlines() if line.startswith("flags:"))
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("/") and not target.startswith("/dev/") and int(flags.split()[1], 8) & os.O_ACCMODE:
            found.append(target)
    return found


def test_it_lives_where_no_file_may_grow(tmp_path: Path) -> None:
    """The chart's own root file system is read-only (tests/chart); this holds on any, and for open files too."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with started([*place.options, *FAST, f"--pods.sources=file:{tmp_path}/pods.json"]) as exporter:
        pid = exporter.process.pid
        # The kernel refuses any write to a regular file from here on, and ends who does not handle it.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        for _ in range(3):
            exporter.page_after_ticks()
            assert {exporter.get(path, {"Accept-Encoding": "gzip"}).status for path in EVERYWHERE} == {200}
            assert open_for_writing(pid) == []
        assert exporter.stop() == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
