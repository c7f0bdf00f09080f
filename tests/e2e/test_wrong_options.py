"""Wrong options end the start with exit code 2 and one line that names the option."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from tests.support.process import run
from tests.support.trees import containerd_systemd


def told(*arguments: str) -> str:
    """The one line on standard error of a start that must fail."""
    result = run("serve", "--web.listen-address=127.0.0.1:0", *arguments)

    assert result.returncode == 2, result
    assert result.stdout == ""
    [line] = [line for line in result.stderr.splitlines() if "level=info" not in line]
    return line


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(containerd_systemd(tmp_path_factory.mktemp("options") / "cgroup").root)


@pytest.mark.parametrize(
    ("option", "named", "said"),
    [
        ("--sample.intervall=1s", "--sample.intervall", ""),
        ("--sample.interval=0s", "--sample.interval", "between"),
        ("--sample.interval=soon", "--sample.interval", "soon"),
        ("--sample.interval=-1s", "--sample.interval", ""),
        ("--sample.window=1s", "--sample.window", "between"),
        ("--scan.interval=2d", "--scan.interval", "between"),
        ("--web.listen-address=nowhere", "--web.listen-address", "nowhere"),
        ("--web.listen-address=127.0.0.1:99999", "--web.listen-address", "99999"),
        ("--web.telemetry-path=metrics", "--web.telemetry-path", "metrics"),
        ("--pods.sources=kubelets", "--pods.sources", "kubelets"),
        ("--kubelet.url=ftp://127.0.0.1", "--kubelet.url", ""),
        ("--log.level=loud", "--log.level", "loud"),
        ("--path.cgroup=/nonexistent/cgroup", "--path.cgroup", "/nonexistent/cgroup"),
        ("--config.file=/nonexistent/config.yaml", "--config.file", "/nonexistent/config.yaml"),
        ("--kubelet.ca-file=/nonexistent/ca.crt", "--kubelet.ca-file", "/nonexistent/ca.crt"),
    ],
)
def test_a_wrong_value_is_named_in_one_line(option: str, named: str, said: str, tree: str) -> None:
    path = [] if option.startswith("--path.cgroup") else [f"--path.cgroup={tree}"]

    line = told(*path, option)

    assert named in line
    assert said in line


def test_a_word_that_is_no_command() -> None:
    result = run("srve")

    assert result.returncode == 2
    assert result.stdout == ""
    [line] = result.stderr.splitlines()
    assert "srve" in line


def test_a_folder_that_is_no_cgroup_tree(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()

    line = told(f"--path.cgroup={tmp_path}")

    assert "--path.cgroup" in line
    assert str(tmp_path) in line


def test_a_ca_that_is_none(tmp_path: Path, tree: str) -> None:
    ca = tmp_path / "ca.crt"
    ca.write_text("-----BEGIN CERTIFICATE-----\nnot base64 at all\n-----END CERTIFICATE-----\n")

    line = told(f"--path.cgroup={tree}", "--pods.sources=kubelet", f"--kubelet.ca-file={ca}")

    assert "--kubelet.ca-file" in line


def test_a_port_that_is_taken(tree: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = told(f"--path.cgroup={tree}", "--pods.sources=none", f"--web.listen-address=127.0.0.1:{port}")

    assert "--web.listen-address" in line
    assert str(port) in line


def test_help_is_no_error() -> None:
    result = run("--help")

    assert (result.returncode, result.stderr) == (0, "")
    for option in ("--path.cgroup", "--sample.interval", "--pods.sources", "--kubelet.ca-file"):
        assert option in result.stdout
