"""The real ``throttle-exporter`` process: started by flags alone, asked over HTTP, stopped by SIGTERM."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeVar

from tests.support.pages import Page
from tests.support.unit import GUARD

ROOT = Path(__file__).parent.parent.parent
OPENMETRICS = "application/openmetrics-text; version=1.0.0"

START_SECONDS = 20.0
"""A cold start beside a busy neighbour; an idle machine needs about one."""
STOP_SECONDS = 5.0
"""What the exporter promises for SIGTERM."""
_POLL_SECONDS = 0.02
_SHOWN = 3000
"""How much of a page a failure shows, in characters."""

_LISTENING = re.compile(
    r"(?:msg=\"?listening\"?\s.*?address=\"?|^demo: metrics at )(?:https?://)?\[?(?P<host>[^\s\"/\]]+)\]?:(?P<port>\d+)"
)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    """By lower-case name."""
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()


T = TypeVar("T", Answer, Page)


@dataclass
class Exporter:
    """A running process. Ask it through :meth:`get`, :meth:`page` and :meth:`page_when`."""

    process: subprocess.Popen[bytes]
    lines: list[str] = field(default_factory=list)
    """Its log so far."""
    host: str = ""
    port: int = 0
    _listening: threading.Event = field(default_factory=threading.Event)

    @property
    def log(self) -> str:
        return "".join(self.lines)

    def get(
        self, path: str, headers: dict[str, str] | None = None, method: str = "GET", timeout: float = 10.0
    ) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=timeout)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def page(self, accept: str = "text/plain") -> Page:
        """The metrics page; any other status than 200 is an error."""
        answer = self.get("/metrics", {"Accept": accept})
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"/metrics answered {answer.status}: {answer.text[:300]}\n{self.log}")
        return Page(answer.text, answer.headers["content-type"])

    def page_when(self, holds: Callable[[Page], object], timeout: float = 15.0) -> Page:
        return self._when(self.page, holds, timeout)

    def _when(self, ask: Callable[[], T], holds: Callable[[T], object], timeout: float) -> T:
        deadline = time.monotonic() + timeout
        while not holds(answer := ask()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout:g} s; the last:\n{answer.text[-_SHOWN:]}\n{self.log}")
            time.sleep(_POLL_SECONDS)
        return answer

    def page_after_ticks(self, ticks: int = 2) -> Page:
        """A page of samples that all began after this call, ``ticks`` of them."""
        name = "throttle_exporter_sample_duration_seconds_count"
        before = self.page().total(name)
        # The sample under way at the call does not count.
        return self.page_when(lambda page: page.total(name) >= before + ticks + 1)

    def wait_ready(self, timeout: float = START_SECONDS) -> None:
        self._when(lambda: self.get("/readyz"), lambda answer: answer.status == http.HTTPStatus.OK, timeout)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. Over :data:`STOP_SECONDS` is an error."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"still running {STOP_SECONDS:g} s after SIGTERM\n{self.log}") from None

    def read_log(self, stream: IO[bytes]) -> None:
        """Collect the log until its end."""
        for raw in stream:
            line = raw.decode("utf-8", "backslashreplace")
            self.lines.append(line)
            found = _LISTENING.search(line)
            if found and not self._listening.is_set():
                # A socket on every address is reached at the loopback one.
                self.host = "127.0.0.1" if found["host"] in {"[::]", "0.0.0.0"} else found["host"].strip("[]")
                self.port = int(found["port"])
                self._listening.set()
        self._listening.set()

    def wait_listening(self) -> None:
        if not self._listening.wait(START_SECONDS) or not self.port:
            raise AssertionError(f"no 'listening' line with an address; exit code {self.process.poll()}\n{self.log}")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "exporter", *arguments]


def bound_by_permissions(arguments: list[str]) -> list[str]:
    """The same command line, for a root whom file permissions bind as they bind any other user.

    Another uid would be simpler, but need not be able to reach the interpreter.
    """
    return arguments if os.geteuid() else ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *arguments]


def environment() -> dict[str, str]:
    """This process's environment without what would set options or forbid to keep compiled modules, and proxies."""
    dropped = re.compile(
        r"THROTTLE_EXPORTER_.*|.*_proxy|NODE_(IP|NAME)|KUBERNETES_.*|PYTHONDONTWRITEBYTECODE", re.IGNORECASE
    )
    return {name: value for name, value in os.environ.items() if not dropped.fullmatch(name)}


def tree_options(tree: Path) -> list[str]:
    """Return the options that put the exporter on a folder with ``sys/fs/cgroup``, ``proc`` and ``sys`` alone."""
    return [
        f"--path.cgroup={tree}/sys/fs/cgroup",
        f"--path.proc={tree}/proc",
        f"--path.sys={tree}/sys",
        # Else a kubelet on the machine that runs the tests would say how the recorded node is managed.
        f"--path.cpu-manager-state={tree}/var/lib/kubelet/cpu_manager_state",
    ]


@contextmanager
def reading(exporter: Exporter, stream: IO[bytes] | None) -> Iterator[None]:
    """Collects the log, to its end if the process is made to end inside."""
    reader = threading.Thread(target=exporter.read_log, args=(stream,), daemon=True)
    reader.start()
    try:
        yield
    finally:
        reader.join(STOP_SECONDS)


@contextmanager
def listening(arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> Iterator[Exporter]:
    """The exporter that this command line starts, once its log says where it listens; stopped at the end."""
    none, pipe = subprocess.DEVNULL, subprocess.PIPE
    with subprocess.Popen(arguments, cwd=ROOT, env=environ, stdin=none, stdout=none, stderr=pipe) as process:
        exporter = Exporter(process)
        with reading(exporter, process.stderr):
            try:
                exporter.wait_listening()
                yield exporter
            finally:
                exporter.stop()


@contextmanager
def started(
    options: Sequence[str], *, privileged: bool = True, ready: bool = True, environ: Mapping[str, str] | None = None
) -> Iterator[Exporter]:
    """``throttle-exporter serve`` on a free port of 127.0.0.1, stopped at the end; ``environ`` is added to ours."""
    GUARD.real_time("ran the exporter")
    arguments = command("serve", "--web.listen-address=127.0.0.1:0", *options)
    arguments = arguments if privileged else bound_by_permissions(arguments)
    with listening(arguments, environment() | dict(environ or {})) as exporter:
        if ready:
            exporter.wait_ready()
        yield exporter


def free_port() -> int:
    """A port on which nobody listens yet."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def end(process: subprocess.Popen[bytes]) -> None:
    """Of another program: asked to, and then made to."""
    process.terminate()
    try:
        process.wait(2 * STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def run(*arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=environment() | environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=30.0,
    )
