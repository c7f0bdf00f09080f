"""What hangs beside the kernel and the network: the log's reader, the files of credentials, the process itself."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.errors import ConfigError, MappingError
from exporter.kube.source import TimedFile
from exporter.log import EventFormatter, LineQueue
from exporter.web.config import ReloadingConfig
from tests.e2e.conftest import FAST
from tests.faults.node import Place, hung
from tests.support.process import ROOT, STOP_SECONDS, command, environment, free_port, started
from tests.support.treebuilder import container_id, write_v2
from tests.support.trees import containerd_systemd

# A thread that is left behind opens its file in the end, and nobody is there to close it.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

SHORT = 0.1


# ---- files of credentials ----


async def test_a_file_that_cannot_be_read_in_time_is_a_failure_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "token"
    file = TimedFile(str(path), "token file", "no_token", seconds=SHORT)
    with hung(path):
        for _ in range(3):
            with pytest.raises(MappingError, match=r"^token file .*: not read within 0.1 s$") as caught:
                await file.read()
            assert caught.value.reason == "timeout"
        assert sum(task.get_name().startswith("reading ") for task in asyncio.all_tasks()) == 1, "one hangs, not three"
    path.write_text("abc")
    await asyncio.sleep(SHORT)  # until the thread that was let go is gone
    assert set(await asyncio.gather(file.read(), file.read())) == {b"abc"}


async def test_a_web_config_that_hangs_keeps_the_last_one_and_nobody(tmp_path: Path) -> None:
    file, told = tmp_path / "web.yml", list[str]()
    file.write_text("http_server_config: {headers: {X-Frame-Options: deny}}")
    config = ReloadingConfig(str(file), lambda error: told.append(error.reason), seconds=SHORT)
    await config.load()
    kept = config.current
    file.unlink()
    with hung(file):
        await config.check()
        await config.check()
    assert told == ["bad_config", "bad_config"]
    assert config.current is kept
    with hung(file), pytest.raises(ConfigError, match="not read within"):
        await ReloadingConfig(str(file), lambda _: None, seconds=SHORT).load()


# ---- the log's reader ----


@contextlib.contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """Nothing more goes in: its two ends."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, b"x" * 64)
    os.set_blocking(writer, True)
    try:
        yield reader, writer
    finally:
        for descriptor in (reader, writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


def line_queue(writer: int, max_lines: int = 512) -> LineQueue:
    lines = LineQueue(writer, max_lines)
    lines.setFormatter(EventFormatter(as_json=False))
    return lines


def log(lines: LineQueue, message: str) -> None:
    lines.handle(logging.LogRecord("exporter.test", logging.INFO, "", 0, message, (), None))


def read_lines(reader: int, number: int) -> list[bytes]:
    found = b""
    while found.count(b"\n") < number:
        found += os.read(reader, 1 << 16).lstrip(b"x")
    return found.splitlines()


def test_a_stalled_reader_blocks_nobody_gets_the_oldest_lines_in_order_and_how_many_are_lost() -> None:
    with full_pipe() as (reader, writer):
        lines = line_queue(writer, 10)
        for number in range(100):
            log(lines, f"{number}")
        lost = lines.lost
        assert 89 <= lost <= 90, "the thread may hold one"
        messages = [line.split(b" msg=")[1].split()[0] for line in read_lines(reader, 100 - lost)]
        assert messages == [str(number).encode() for number in range(100 - lost)]
        log(lines, "after")
        log(lines, "later")
        found = read_lines(reader, 2)
        assert [b" lost=" in line for line in found] == [True, False]
        assert found[0].endswith(b" lost=%d" % lost)
        lines.close()


def test_lines_for_a_reader_that_is_gone_stop_nobody() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    lines = line_queue(writer)
    log(lines, "a")
    log(lines, "b")
    lines.close()
    assert lines.lost == 0
    os.close(writer)


LOGS_WHILE_IT_LOGS = """
import itertools, logging, signal, sys, time
from exporter.log import configure

configure("info", "logfmt", sys.stderr)
log, numbers = logging.getLogger("exporter.test"), itertools.count()
signal.signal(signal.SIGALRM, lambda *_: log.warning(f"within {next(numbers)}"))
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
end = time.monotonic() + 1.0
while time.monotonic() < end:
    log.warning(f"line {next(numbers)}")
signal.setitimer(signal.ITIMER_REAL, 0.0)
"""
"""A signal stands in for garbage collection: both run other code between any two instructions, but this one soon."""


def test_a_finalizer_may_log_in_the_middle_of_a_line() -> None:
    """asyncio's do: a task that was destroyed, an exception that nobody took."""
    script = [sys.executable, "-c", LOGS_WHILE_IT_LOGS]
    ended = subprocess.run(script, cwd=ROOT, stderr=subprocess.PIPE, timeout=30.0, check=False)
    assert ended.returncode == 0
    assert b"within" in ended.stderr


def test_a_process_whose_log_nobody_reads_serves_and_ends(tmp_path: Path) -> None:
    port = free_port()
    options = Place(tmp_path, containerd_systemd(tmp_path / "cgroup")).paths
    options += [f"--web.listen-address=127.0.0.1:{port}", f"--pods.sources=file:{tmp_path}/nothing.json"]
    with full_pipe() as (_, writer):
        process = subprocess.Popen(command("serve", *options), cwd=ROOT, env=environment(), stderr=writer)
        try:
            deadline = time.monotonic() + 20.0
            page = b""
            while b"cgroup_container_" not in page and time.monotonic() < deadline:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0) as client:
                    client.sendall(b"nonsense\r\n\r\n")
                    assert client.recv(100)
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0) as client:
                    client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
                    page = b"".join(iter(lambda: client.recv(1 << 16), b""))
                time.sleep(SHORT)
            assert b"cgroup_container_" in page
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_SECONDS) == 0


# ---- the process itself ----


def test_a_read_that_never_returns_keeps_neither_page_nor_probe_nor_end(tmp_path: Path) -> None:
    """With the kernel stuck nothing true can be said of containers; of the exporter itself it can, and is."""
    place = Place(tmp_path, containerd_systemd(tmp_path / "cgroup"))
    tree = place.tree
    new = tree.root / tree.pods[0].path / f"cri-containerd-{container_id('hangs')}.scope"
    aside = tmp_path / "aside"
    write_v2(aside, 99, 50_000)
    (aside / "cpu.stat").unlink()
    with started([*place.paths, *FAST, "--pods.sources=none"]) as exporter, hung(aside / "cpu.stat"):
        exporter.page_after_ticks()
        aside.rename(new)
        # From here on no sample ends.
        page = exporter.page_when(lambda page: not page.rows("cgroup_container_cpu_usage_seconds_total"), timeout=30.0)
        assert page.get("throttle_exporter_errors_total", stage="read", reason="timeout")
        deadline = time.monotonic() + 20.0
        while exporter.get("/healthz").status != 503:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        began = time.monotonic()
        assert [exporter.get(path).status for path in ("/api/v1/containers", "/api/v1/node", "/")] == [503] * 3
        assert time.monotonic() - began < 2.0, "who asks later does not wait"
        assert exporter.stop() == 0, "within the time that stop allows"
        new.rename(aside)
