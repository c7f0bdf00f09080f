"""The ``explain`` command: whom it asks, how fast, its exit code, and what it does when nobody answers."""

from __future__ import annotations

import copy
import json
import os
import resource
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from exporter.cli import explain as explain_command
from exporter.cli import top as top_command
from exporter.cli.source import Client, NoAnswerError, containers_document
from exporter.errors import ConfigError
from exporter.report.schema import ContainersDocument
from exporter.settings_sources import Parser, load
from tests.cli.conftest import lab, moving, stranger
from tests.support import snapshots as make
from tests.support.process import ROOT, command, environment, run

THROTTLED = "shop/checkout-7d9f8b6c5d-x2k9p/app"
HEALTHY = "shop/frontend-66b6c48dd5-8mzsl/nginx"


def explain(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run("explain", "--exit-code", *arguments)


def here(command: ModuleType, *arguments: str) -> int:
    """In this process, where the errors that end a process are raised."""
    parser = Parser(prog="here")
    command.add_arguments(parser)
    code: int = command.run(load({}, {}), parser.parse_args(arguments))
    return code


def test_a_throttled_and_a_healthy_container(url: str) -> None:
    # As in the exporter's own pod, where both read the same options.
    result = explain(THROTTLED, f"--web.listen-address={url.removeprefix('http://')}")

    assert (result.returncode, result.stderr) == (1, "")
    assert "WARNING throttled" in result.stdout or "CRITICAL throttled" in result.stdout
    assert "docs/findings/" in result.stdout
    assert f"the exporter at {url}" in result.stdout
    result = explain(HEALTHY, f"--url={url}")
    assert (result.returncode, result.stderr) == (0, "")
    assert "No problems: it was idle" in result.stdout


def test_patches_are_what_kubectl_takes(url: str) -> None:
    result = run("explain", THROTTLED, f"--url={url}", "--output=patch")
    none = run("explain", HEALTHY, f"--url={url}", "--output=patch")

    patch = json.loads(result.stdout)
    assert (patch["kind"], patch["metadata"]) == ("Deployment", {"name": "checkout", "namespace": "shop"})
    assert (none.returncode, none.stdout) == (0, "")
    assert none.stderr == "throttle-exporter: no recommended limit of these containers can be set by a patch\n"


@pytest.mark.parametrize("columns", ["80", "200"])
def test_into_a_pipe_names_are_whole_and_columns_obeyed(url: str, columns: str) -> None:
    result = run("explain", f"--url={url}", COLUMNS=columns)
    assert THROTTLED in result.stdout
    assert ("ISOLATION" in result.stdout) is (columns == "200")


def test_asking_costs_no_more_than_it_must(url: str) -> None:
    script = f"import sys; from exporter.__main__ import main; main(['explain', '--url={url}']); print(*sys.modules)"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=environment(), capture_output=True, text=True, check=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)

    loaded = set(result.stdout.splitlines()[-1].split())
    assert loaded & {"aiohttp", "asyncio", "prometheus_client", "exporter.app", "pydantic"} == {"pydantic"}
    # Of CPU time: on a busy machine nothing else says how long a command needs.
    assert (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime) < 1.0


def test_a_hostile_name_is_not_obeyed(document: ContainersDocument, capsys: pytest.CaptureFixture[str]) -> None:
    hostile: Any = copy.deepcopy(document)
    one = hostile["containers"][0]
    one["pod"], one["workload"], evil = "a\x1b[31mb", "w\nx", "\x1b]0;owned\x07\r\n\x9b2J\u202e"
    one["findings"] = hostile["node_findings"] = [
        make.finding(evil, None, summary=evil, advice=evil)
        | {"reason": evil, "commands": [evil], "docs": evil, "evidence": {evil: evil}}
    ]
    hostile["exporter"]["node"] = evil
    with stranger(200, json.dumps(hostile).encode()) as other:
        here(explain_command, f"--url={other.url}", "shop/a\x1b[31mb")
        here(explain_command, f"--url={other.url}")
        here(top_command, f"--url={other.url}")
        here(top_command, f"--url={other.url}", "--output=tsv")
    text = capsys.readouterr().out

    assert {one for one in text if not one.isprintable()} == {"\n", "\t"}
    assert text.count(r"a\x1b[31mb") == 4


def test_an_error_ends_with_one_line_and_exit_code_2(url: str) -> None:
    result = explain("shop/x\x1b[2Jy", f"--url={url}", "--output=json")

    assert (result.returncode, result.stdout) == (2, "")
    *hints, last = result.stderr.splitlines()
    assert last == r"throttle-exporter: error: no container of this node (node-1) is shop/x\x1b[2Jy"
    assert [line.split()[0] for line in hints] == ["To", "kubectl", "kubectl", "kubectl"]


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, b"", "refuses to answer without a password (HTTP 401)"),
        (404, b"", "answers HTTP 404: not this exporter, or an older one"),
        (200, b"<html>", "does not speak as this exporter does: Expecting value"),
        (200, b"[" * 100_000, "does not speak as this exporter does: "),
        (200, b'{"schema": "v9"}', "its schema is 'v9', not v1"),
        (200, b'{"schema": "v1"}', "'taken_at': Field required"),
    ],
)
def test_who_is_no_exporter_is_told_so(status: int, body: bytes, said: str) -> None:
    with stranger(status, body) as other, pytest.raises(NoAnswerError) as raised:
        here(explain_command, f"--url={other.url}")

    assert said in str(raised.value)
    assert other.url in str(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "arguments",
    [
        *(["--url=ftp://x"], ["--url=http://user:secret@127.0.0.1"], ["--for=100ms"], ["--output=xml"]),
        *(["--local", "--url=http://127.0.0.1:1"], ["--local", "--file=/dev/null"], ["--file=/dev/missing"]),
    ],
)
def test_wrong_options(arguments: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        here(explain_command, *arguments)

    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


def test_a_saved_answer_is_explained_like_a_fresh_one(tmp_path: Path, url: str) -> None:
    saved = tmp_path / "answer.json"
    saved.write_text(explain(THROTTLED, f"--url={url}", "--output=json").stdout)
    result = explain(THROTTLED, f"--file={saved}")

    assert (result.returncode, result.stderr) == (1, "")
    assert "a saved answer, version" in " ".join(result.stdout.split())


@pytest.mark.parametrize("content", [b"", b"[]", b'{"schema": "v2"}', b"[" * 100_000])
def test_a_file_that_holds_no_answer(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "answer").write_bytes(content)

    with pytest.raises(NoAnswerError, match=r"holds no answer of /api/v1/containers: ") as raised:
        here(explain_command, f"--file={tmp_path}/answer")
    assert str(raised.value).isprintable()


def test_without_an_exporter_it_samples_by_itself(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with lab(tmp_path) as alone, moving(alone.node):
        result = explain(THROTTLED, *alone.options, f"--web.listen-address=127.0.0.1:{port}", "--for=2s")
        other = explain(HEALTHY, *alone.options, "--local", "--for=1s", "--output=json")

    assert result.stderr == f"throttle-exporter: nothing answers at http://127.0.0.1:{port}: sampling here for 2s\n"
    assert result.returncode == 1
    assert "sampled here for 2s" in result.stdout
    assert "in 100 % of" in result.stdout
    [container] = containers_document(json.loads(other.stdout))["containers"]
    assert container["throttling"]["throttled_periods"] == 0
    assert container["findings"] == []


@pytest.mark.parametrize(("start", "drop"), [(b"", b""), (b"HTTP/1.1 200 OK\r\n\r\n", b" ")], ids=["hangs", "drips"])
def test_an_exporter_that_hangs_or_drips_is_not_waited_for_long(
    start: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drip() -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            connection.recv(4096)
            connection.sendall(start)
            while not done.wait(0.02):
                connection.sendall(drop)

    monkeypatch.setattr("exporter.cli.source.ANSWER_SECONDS", 0.2)
    done = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(NoAnswerError, match="did not answer in time"):
            Client(f"http://127.0.0.1:{listener.getsockname()[1]}").containers()
        done.set()
        thread.join()


def test_nobody_reads_it_to_the_end(url: str) -> None:
    pipe, end = os.pipe()
    os.close(pipe)
    words = command("explain", f"--url={url}")
    reader = subprocess.run(words, cwd=ROOT, env=environment(), stdout=end, stderr=subprocess.PIPE, check=False)
    os.close(end)
    assert (reader.returncode, reader.stderr) == (141, b"")
