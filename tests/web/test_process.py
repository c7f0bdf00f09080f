"""The real process with ``--web.config.file``: its start, its refusals, its files that change."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.process import Exporter, run, started
from tests.support.trees import containerd_systemd
from tests.web.serving import HOST, Authority, write_config

TLS = "tls_server_config: {cert_file: server.crt, key_file: server.key}\n"
SECONDS = 10.0


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(containerd_systemd(tmp_path_factory.mktemp("web") / "cgroup").root)


@contextmanager
def exporter(tree: str, web_config: Path, *, ready: bool = True) -> Iterator[Exporter]:
    options = [f"--path.cgroup={tree}", "--pods.sources=none", f"--web.config.file={web_config}"]
    with started(options, ready=ready) as running:
        yield running


def test_a_wrong_file_ends_the_start(tree: str, tmp_path: Path) -> None:
    path = write_config(tmp_path, TLS)
    options = (f"--path.cgroup={tree}", "--pods.sources=none", f"--web.config.file={path}")
    result = run("serve", "--web.listen-address=127.0.0.1:0", *options)
    assert (result.returncode, result.stdout) == (2, "")
    [line] = result.stderr.splitlines()
    said = f"tls_server_config.cert_file '{tmp_path}/server.crt': No such file or directory"
    assert line == f"throttle-exporter: error: --web.config.file: {said}"


def test_a_certificate_that_is_rotated_as_the_kubelet_does_it(tree: str, tmp_path: Path) -> None:
    """A Secret's files lie behind a link, which the kubelet swaps."""
    authority, current = Authority(tmp_path), tmp_path / "current"
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        authority.issue(f"{version}/server")
    current.symlink_to("1")

    def certificate(port: int) -> str:
        return ssl.get_server_certificate((HOST, port))

    with exporter(tree, write_config(tmp_path, TLS.replace("server.", "current/server.")), ready=False) as running:
        assert "address=https://127.0.0.1:" in running.log
        first = certificate(running.port)
        (tmp_path / "new").symlink_to("2")
        os.replace(tmp_path / "new", current)
        deadline = time.monotonic() + SECONDS
        while certificate(running.port) == first:
            assert time.monotonic() < deadline
            time.sleep(0.05)
