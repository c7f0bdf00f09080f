"""How the process speaks HTTP, starts, stops, and writes one page without serving."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import FAST
from tests.faults.node import Place
from tests.support.pages import Page, duplicates, triples
from tests.support.process import STOP_SECONDS, Exporter, run, started
from tests.support.trees import containerd_systemd

USAGE = "cgroup_container_cpu_usage_seconds_total"
PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.4,*/*;q=0.1"
)
"""What Prometheus 2 and 3 send."""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("serving")
    return Place(folder, containerd_systemd(folder / "cgroup"))


@pytest.fixture(scope="module")
def options(place: Place) -> list[str]:
    return place.options


@pytest.fixture(scope="module")
def exporter(options: list[str]) -> Iterator[Exporter]:
    with started([*options, *FAST]) as running:
        running.page_after_ticks(2)
        yield running


def test_the_page_tells_of_itself(exporter: Exporter) -> None:
    page = exporter.page()

    assert page.rows("process_resident_memory_bytes")
    assert page.get("throttle_exporter_sample_interval_seconds") == 0.1
    for kind in ("sample", "scan", "render"):
        assert page.total(f"throttle_exporter_{kind}_duration_seconds_count") > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(options: list[str], number: signal.Signals) -> None:
    options = [*options, *FAST, "--web.telemetry-path=/cpu/metrics"]
    with started(options) as exporter, socket.create_connection((exporter.host, exporter.port)) as idle:
        assert exporter.get("/metrics").status == 404
        assert exporter.get("/cpu/metrics").status == 200
        # A keep-alive connection, as Prometheus holds one.
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert idle.recv(65536).startswith(b"HTTP/1.1 200")
        exporter.process.send_signal(number)
        begun = time.monotonic()
        assert exporter.process.wait(STOP_SECONDS) == 0

    assert time.monotonic() - begun < STOP_SECONDS
    assert "Traceback" not in exporter.log


def test_a_signal_during_the_start_ends_it_too(options: list[str]) -> None:
    with started([*options, *FAST], ready=False) as exporter:
        exporter.process.send_signal(signal.SIGTERM)
        assert exporter.process.wait(STOP_SECONDS) == 0

    assert "Traceback" not in exporter.log


# ---- One page and no server ----


def test_once_prints_one_page(place: Place, options: list[str]) -> None:
    result = run("once", *options)

    assert result.returncode == 0, result.stderr
    page = Page(result.stdout, "text/plain")
    assert len(triples(page.rows(USAGE))) == len(place.tree.containers)
    assert all(namespace == "apps" for namespace, _, _ in triples(page.rows(USAGE)))
    # One sample makes no window.
    assert page.rows("cgroup_container_cpu_throttled_ratio") == {}
    assert duplicates(page.text) == {}


def test_once_writes_a_textfile_whole_and_over_a_while_it_has_windows(
    place: Place, options: list[str], tmp_path: Path
) -> None:
    target = tmp_path / "throttle.prom"
    target.write_text("old\n")
    kept = os.open(target, os.O_RDONLY)
    try:
        result = run("once", *options, *FAST, "--for=500ms", f"--output={target}")

        assert (result.returncode, result.stdout) == (0, ""), result.stderr
        # Renamed over, not written into: a reader of the old file still has the old file.
        assert os.pread(kept, 100, 0) == b"old\n"
    finally:
        os.close(kept)
    assert [path.name for path in tmp_path.iterdir()] == ["throttle.prom"]
    assert target.stat().st_mode & 0o777 == 0o644
    ratios = Page(target.read_text(), "text/plain").rows("cgroup_container_cpu_throttled_ratio")
    assert len(ratios) == len(place.tree.containers)


# ---- What ends a start: exit code 2 and one line that names the option ----


def told(*arguments: str) -> str:
    """The one line on standard error of a start that must fail."""
    result = run(*arguments)

    assert result.returncode == 2, result
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if "level=info" not in line]
    return line


def test_a_start_that_cannot_be(options: list[str], tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for command, option in (
            (["serve", "--web.listen-address=127.0.0.1:0"], f"--path.cgroup={tmp_path}"),
            (["serve", *options], f"--web.listen-address=127.0.0.1:{port}"),
            (["once", *options], f"--output={tmp_path}/missing/throttle.prom"),
        ):
            line = told(*command, option)
            name, _, value = option.partition("=")
            assert name in line
            assert value.rpartition(":")[2] in line
