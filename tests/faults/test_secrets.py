"""What must never come out: the token, wherever the exporter speaks; nor go in: a byte into any file."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from exporter.errors import MappingError
from exporter.kube.kubelet import KubeletSource
from tests.e2e.conftest import FAST
from tests.faults.node import Place
from tests.support.fake_kubelet import TOKEN, FakeKubelet, Reply, kubelet
from tests.support.process import started
from tests.support.trees import containerd_systemd

EVERYWHERE = ("/metrics", "/", "/api/v1/node", "/api/v1/containers", "/readyz", "/healthz")
WITH_TOKEN = (
    Reply(f"Forbidden (token={TOKEN})".encode(), status=403),
    Reply(f"panic: {TOKEN}".encode(), status=500),
    Reply(status=302, headers={"Location": f"http://127.0.0.1:1/{TOKEN}"}),
    Reply(f"<html>{TOKEN}".encode()),
    Reply(raw=f"{TOKEN}\r\n\r\n".encode()),
    Reply(b"{}", headers={"Content-Encoding": TOKEN}),
)


async def test_no_answer_of_the_kubelet_brings_the_token_to_light(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    async with FakeKubelet() as server:
        source = KubeletSource(server.url, token_file=str(tmp_path / "token"))
        for reply in WITH_TOKEN:
            for path, ask in (("/pods", source.pods), ("/configz", source.config)):
                server.answer(path, reply)
                with pytest.raises(MappingError) as caught:
                    await ask()
                assert TOKEN not in str(caught.value)


def test_nor_does_the_process_say_it_to_anybody(tmp_path: Path) -> None:
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    with kubelet(tmp_path, b"{}") as served:
        for path in ("/pods", "/configz"):
            served.answer(path, WITH_TOKEN[0])
        with started([*place.paths, *FAST, *served.options, "--log.level=debug"]) as exporter:
            exporter.page_when(lambda page: page.total("throttle_exporter_errors_total", stage="pods") >= 2)
            assert "pod source kubelet" in exporter.log
            assert TOKEN not in "".join(exporter.get(path).text for path in EVERYWHERE) + exporter.log


def test_it_lives_where_no_file_may_grow(tmp_path: Path) -> None:
    """The chart's own root file system is read-only (tests/chart); this holds on any."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    with started([*place.options, *FAST]) as exporter:
        pid = exporter.process.pid
        # The kernel refuses any write to a regular file from here on, and ends who does not handle it.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, 0))
        for _ in range(3):
            exporter.page_after_ticks()
            assert {exporter.get(path, {"Accept-Encoding": "gzip"}).status for path in EVERYWHERE} == {200}
        assert exporter.stop() == 0
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == files
