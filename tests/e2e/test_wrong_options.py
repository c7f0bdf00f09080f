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
    "option",
    [
        "--sample.intervall=1s",
        "--sample.window=1s",
        "--kubelet.ca-file=/nonexistent/ca.crt",
        "--path.cgroup=/nonexistent",
    ],
)
def test_a_wrong_value_is_named_in_one_line(option: str, tree: str) -> None:
    path = [] if option.startswith("--path.cgroup") else [f"--path.cgroup={tree}"]

    assert option.partition("=")[0] in told(*path, option)


def test_a_folder_that_is_no_cgroup_tree(tmp_path: Path) -> None:
    (tmp_path / "cpu").mkdir()

    line = told(f"--path.cgroup={tmp_path}")

    assert "--path.cgroup" in line
    assert str(tmp_path) in line


def test_a_port_that_is_taken(tree: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        line = told(f"--path.cgroup={tree}", "--pods.sources=none", f"--web.listen-address=127.0.0.1:{port}")

    assert "--web.listen-address" in line
    assert str(port) in line
