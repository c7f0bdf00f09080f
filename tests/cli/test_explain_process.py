"""The ``explain`` command: whom it asks, how fast, its exit code, and what it does when nobody answers."""

from __future__ import annotations

import json
import resource
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from exporter.cli import explain as explain_command
from exporter.cli.source import NoAnswerError, containers_document, fetch_containers
from exporter.errors import ConfigError
from exporter.settings_sources import Parser, load
from tests.cli.conftest import Lab, Mover, Running, lab
from tests.support.process import ROOT, command, environment, run

THROTTLED = "shop/checkout-7d9f8b6c5d-x2k9p/app"
HEALTHY = "shop/frontend-66b6c48dd5-8mzsl/nginx"


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    """As people run it."""
    return run("explain", "--exit-code", *arguments)


def explain_here(*arguments: str) -> int:
    """In this process, where the errors that end a process are raised."""
    parser = Parser(prog="explain")
    explain_command.add_arguments(parser)
    return explain_command.run(load({}, {}), parser.parse_args(arguments))


@contextmanager
def answering(status: int, body: bytes, wait: threading.Event | None = None) -> Iterator[str]:
    """Something that speaks HTTP and is no exporter; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if wait is not None:
                wait.wait(20)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        if wait is not None:
            wait.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def test_a_throttled_container(running: Running, url: str) -> None:
    result = explain(THROTTLED, f"--url={url}")

    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    assert "throttled" in result.stdout
    assert "docs/findings/" in result.stdout
    assert f"the exporter at {url}" in result.stdout


def test_a_healthy_container(running: Running, url: str) -> None:
    result = explain(HEALTHY, f"--url={url}")

    assert result.returncode == 0, result.stdout
    assert "No problems: it was idle" in result.stdout


def test_the_node_by_the_listen_address(running: Running) -> None:
    # As in the exporter's own pod, where both read the same options.
    result = explain(f"--web.listen-address=127.0.0.1:{running.exporter.port}")

    assert result.returncode == 1, result.stderr
    [line] = [line for line in result.stdout.splitlines() if "checkout" in line and "app" in line]
    assert "100%" in line


@pytest.mark.parametrize("name", ["shop/deploy/checkout", "checkout", "deploy/checkout"])
def test_a_workload_and_a_sole_near_match(running: Running, url: str, name: str) -> None:
    result = run("explain", name, f"--url={url}")

    assert (result.returncode, result.stderr) == (0, "")
    assert THROTTLED in result.stdout
    assert "shop/checkout-7d9f8b6c5d-x2k9p/log-shipper" in result.stdout


def test_patches_are_what_kubectl_takes(url: str) -> None:
    result = run("explain", THROTTLED, f"--url={url}", "--output=patch")
    none = run("explain", HEALTHY, f"--url={url}", "--output=patch")

    patch = json.loads(result.stdout)
    assert (patch["kind"], patch["metadata"]) == ("Deployment", {"name": "checkout", "namespace": "shop"})
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "throttle-exporter: no limit is recommended for these containers\n"


@pytest.mark.parametrize("columns", ["80", "200"])
def test_into_a_pipe_names_are_whole_and_columns_obeyed(url: str, columns: str) -> None:
    result = subprocess.run(
        command("explain", f"--url={url}"), cwd=ROOT, env=environment() | {"COLUMNS": columns}, capture_output=True,
        text=True, check=True,
    )  # fmt: skip
    assert THROTTLED in result.stdout
    assert ("ISOLATION" in result.stdout) is (columns == "200")


def test_its_numbers_are_those_of_the_page(running: Running, url: str) -> None:
    with running.mover.rests():
        running.exporter.page_after_ticks(2)
        result = explain(THROTTLED, f"--url={url}", "--output=json")
        page = running.exporter.page()

    assert result.returncode == 1, result.stderr
    [container] = containers_document(json.loads(result.stdout))["containers"]
    labels = {name: container[name] for name in ("namespace", "pod", "container")}
    for metric, value in {
        "cpu_throttled_ratio": container["throttling"]["ratio"],
        "cpu_throttled_ratio_peak": container["throttling"]["peak"],
        "cpu_limit_cores": container["limit_cores"],
        "cpu_effective_limit_cores": container["effective_limit_cores"],
        "cpuset_cpus": container["cpuset"] and container["cpuset"]["count"],
        "spec_cpu_request_cores": container["request_cores"],
    }.items():
        assert page.get(f"cgroup_container_{metric}", **labels) == pytest.approx(value, abs=1e-6), metric
    window = container["throttling"]
    assert window["periods"] == window["throttled_periods"]
    assert container["series"]["ratio"]


def test_it_answers_within_a_second(url: str) -> None:
    # Of CPU time: on a busy machine nothing else says how long a command needs.
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    explain(HEALTHY, f"--url={url}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 1.0


def test_asking_costs_no_more_than_it_must(url: str) -> None:
    script = (
        "import sys; from exporter.__main__ import main; "
        f"code = main(['explain', '{HEALTHY}', '--url={url}']); print(*sys.modules); sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    loaded = set(result.stdout.splitlines()[-1].split())

    assert "exporter.cli.explain" in loaded
    assert loaded & {"aiohttp", "asyncio", "kubernetes", "prometheus_client", "exporter.app"} == set()


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("shop/chekcout", "no container of this node (node-1) is shop/chekcout"),
        ("a/b/c/d", "must be NAMESPACE/POD"),
        ("shop/x\x1b[2Jy", r"no container of this node (node-1) is shop/x\x1b[2Jy"),
    ],
)
def test_a_name_that_is_not_there(url: str, name: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        explain_here(name, f"--url={url}")

    assert said in str(raised.value)
    assert str(raised.value).isprintable()


def test_an_error_ends_with_one_line_and_exit_code_2(url: str) -> None:
    result = explain("nobody", f"--url={url}", "--output=json")

    assert (result.returncode, result.stdout) == (2, "")
    *hints, last = result.stderr.splitlines()
    assert last == "throttle-exporter: error: no container of this node (node-1) is nobody"
    assert [line.split()[0] for line in hints] == ["To", "kubectl", "kubectl"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"", "refuses to answer without a password (HTTP 401)"),
        (403, b"", "refuses to answer without a password (HTTP 403)"),
        (404, b"", "answers HTTP 404: not this exporter, or an older one"),
        (302, b"", "answers HTTP 302"),
        (200, b"<html>", "does not answer in JSON"),
        (200, b"[" * 100_000, "does not answer in JSON"),
        (200, b'{"schema": "v9"}', "its schema is 'v9', not v1"),
        (200, b'{"schema": "v1"}', "'taken_at': Field required"),
    ],
)
def test_who_is_no_exporter_is_told_so(status: int, body: bytes, said: str) -> None:
    with answering(status, body) as url, pytest.raises(NoAnswerError) as raised:
        explain_here(f"--url={url}")

    assert said in str(raised.value)
    assert url in str(raised.value)
    assert str(raised.value).isprintable()


def test_nobody_at_the_url_that_was_named() -> None:
    url = f"http://127.0.0.1:{free_port()}"

    with pytest.raises(NoAnswerError, match=f"^nothing answers at {url}$"):
        explain_here(f"--url={url}")


def test_an_https_url_without_https_behind_it(url: str) -> None:
    with pytest.raises(NoAnswerError, match="TLS"):
        explain_here(f"--url={url.replace('http', 'https')}")


@pytest.mark.parametrize(
    "arguments",
    [
        ["--url=ftp://x"],
        ["--url=http://user:secret@127.0.0.1"],
        ["--for=100ms"],
        ["--for=soon"],
        ["--local", "--url=http://127.0.0.1:1"],
        ["--output=xml"],
    ],
)
def test_wrong_options(arguments: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        explain_here(*arguments)

    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A node without an exporter."""
    with lab(tmp_path_factory.mktemp("alone")) as one:
        yield one


def test_without_an_exporter_it_samples_by_itself(alone: Lab) -> None:
    port = free_port()
    with Mover(alone.node):
        result = explain(THROTTLED, *alone.options, f"--web.listen-address=127.0.0.1:{port}", "--for=2s")

    assert result.returncode == 1, result.stdout + result.stderr
    assert result.stderr == (f"throttle-exporter: nothing answers at http://127.0.0.1:{port}: sampling here for 2s\n")
    assert "sampled here for 2s" in result.stdout
    assert "in 100 % of" in result.stdout


def test_a_healthy_container_without_an_exporter(alone: Lab) -> None:
    with Mover(alone.node):
        result = explain(HEALTHY, *alone.options, "--local", "--for=1s", "--output=json")

    assert result.returncode == 0, result.stdout + result.stderr
    [container] = containers_document(json.loads(result.stdout))["containers"]
    assert container["throttling"]["throttled_periods"] == 0
    assert container["findings"] == []


def test_an_exporter_that_hangs_is_not_waited_for_long() -> None:
    with answering(200, b"", threading.Event()) as url, pytest.raises(NoAnswerError, match="did not answer in time"):
        fetch_containers(url, answer_seconds=0.2)


def test_an_exporter_that_drips_is_not_waited_for_either() -> None:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            with suppress(OSError):
                while not done.wait(0.02):
                    connection.sendall(b" ")

    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(NoAnswerError, match="did not answer in time"):
            fetch_containers(f"http://127.0.0.1:{listener.getsockname()[1]}", answer_seconds=0.2)
        done.set()
        thread.join()


def test_a_tree_that_is_not_there(tmp_path: Path) -> None:
    result = explain("--local", f"--path.cgroup={tmp_path}/none", "--pods.sources=none")

    assert result.returncode == 2
    assert "--path.cgroup" in result.stderr.splitlines()[-1]


def test_nobody_reads_it_to_the_end(url: str) -> None:
    reader = subprocess.Popen(
        command("explain", f"--url={url}"), cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert reader.stdout is not None
    reader.stdout.close()

    _, errors = reader.communicate(timeout=20)

    assert errors == b""
    assert reader.returncode == 141
