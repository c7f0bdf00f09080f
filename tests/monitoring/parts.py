"""Prometheus and Alertmanager as Debian ships them, and somebody who is notified."""

import http.client
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

from typing_extensions import override

from tests.conftest import needs, unavailable
from tests.support.process import end

Json = Any
Found = TypeVar("Found")
START_SECONDS = 30.0
_POLL_SECONDS = 0.1


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(
    find: Callable[[], Found | None], what: str, timeout: float, instead: Callable[[], object] = lambda: ""
) -> Found:
    """The first result that is not empty; where there is none, the error shows what there was ``instead``."""
    deadline = time.monotonic() + timeout
    while True:
        if found := find():
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what}\n{instead()}")
        time.sleep(_POLL_SECONDS)


@dataclass
class Server:
    """A process with an HTTP API on loopback."""

    address: str
    log: Path

    def get(self, path: str, **parameters: object) -> Json:
        """The JSON answer; any other status than 200 is an error that shows it."""
        host, port = self.address.split(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        try:
            query = urlencode(parameters, doseq=True)
            connection.request("GET", f"{path}?{query}" if query else path)
            answer = connection.getresponse()
            body = answer.read().decode()
        finally:
            connection.close()
        if answer.status != http.HTTPStatus.OK:
            raise AssertionError(f"{path} {parameters}: {answer.status} {body[:500]}")
        return json.loads(body) if body.startswith(("{", "[")) else body

    def query(self, expression: str) -> list[Json]:
        """Samples of an instant query, now."""
        found: list[Json] = self.get("/api/v1/query", query=expression)["data"]["result"]
        return found


@contextmanager
def running(command: Sequence[str], address: str, log: Path, ready: str) -> Iterator[Server]:
    """The process, from the moment it is ready until it is told to go."""
    server = Server(address, log)
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        try:
            eventually(lambda: _answers(server, process, ready), f"{command[0]} is ready", START_SECONDS)
            yield server
        finally:
            end(process)


def _answers(server: Server, process: subprocess.Popen[bytes], ready: str) -> bool:
    if process.poll() is not None:
        raise AssertionError(f"ended with {process.returncode}:\n{server.log.read_text()[-3000:]}")
    try:
        server.get(ready)
    except (OSError, AssertionError):
        return False
    return True


@contextmanager
def prometheus(config: str, folder: Path, *options: str) -> Iterator[Server]:
    """Debian's, on loopback, its data in ``folder``."""
    program, address = needs("prometheus"), f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(config, encoding="utf-8")
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}",
        *options,
    ]
    with running(command, address, folder / "prometheus.log", "/-/ready") as server:
        yield server


@contextmanager
def alertmanager(config: str, folder: Path) -> Iterator[Server]:
    """Debian's, on loopback, without a cluster."""
    program = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
    if program is None:
        unavailable("needs prometheus-alertmanager, see .ci/packages")
    address = f"127.0.0.1:{free_port()}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "alertmanager.yml").write_text(config, encoding="utf-8")
    command = [
        program,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address={address}",
        "--cluster.listen-address=",
    ]
    with running(command, address, folder / "alertmanager.log", "/-/ready") as server:
        yield server


@dataclass
class Notified:
    """One notification: to whom, by which way, and what."""

    receiver: str
    way: str
    body: dict[str, Any]

    @property
    def status(self) -> str:
        return str(self.body["status"])

    @property
    def alerts(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body["alerts"]
        return found

    def names(self) -> set[str]:
        return {alert["labels"]["alertname"] for alert in self.alerts}


@dataclass
class Receiver:
    """Somebody with a webhook."""

    address: str = ""
    received: list[Notified] = field(default_factory=list)

    @property
    def notified(self) -> list[Notified]:
        """By webhook, which carries all labels; every receiver has one."""
        return [one for one in list(self.received) if one.way == "webhook"]

    def texts(self, way: str) -> list[dict[str, Any]]:
        """What was sent for people to read."""
        return [one.body for one in list(self.received) if one.way == way]

    def pages(self, alertname: str, status: str, **labels: str) -> list[Notified]:
        """Notifications of that status in which an alert of that name has these labels."""
        return [
            one
            for one in self.notified
            if one.status == status
            and any({"alertname": alertname, **labels}.items() <= alert["labels"].items() for alert in one.alerts)
        ]


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Keeps every notification it gets."""
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            name, _, way = self.path.lstrip("/").partition("/")
            made.received.append(Notified(name, way, json.loads(body)))
            self.send_response(http.HTTPStatus.OK)
            self.end_headers()

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Silence: the test shows what it got."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, name="receiver")
    thread.start()
    try:
        yield made
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
