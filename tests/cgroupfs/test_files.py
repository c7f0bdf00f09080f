"""One kernel file read again and again, and all that can become of it in between."""

import os
import resource
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from exporter.cgroupfs.files import MAX_BYTES, RESERVE, CachedFile, Descriptors, count_lines, read_once
from exporter.errors import ReadError, VanishedError
from exporter.web.server import Limits
from tests.cgroupfs.privileges import unprivileged

KEPT, NOT_KEPT = 8, 0
"""Descriptors that may be kept open."""


@pytest.fixture
def cgroup(tmp_path: Path) -> Path:
    folder = tmp_path / "cgroup"
    folder.mkdir()
    return folder


def cached(path: Path, budget: Descriptors) -> CachedFile[bytes]:
    return CachedFile(str(path.parent), path.name, lambda data, _: data, budget)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def reads(path: Path) -> list[Callable[[], bytes | None]]:
    """Every way to read ``path``; each must say the same."""
    files = [cached(path, Descriptors(limit)) for limit in (KEPT, NOT_KEPT)]
    return [*(file.value for file in files), partial(read_once, str(path))]


def reason_of(read: Callable[[], object], path: Path) -> str:
    with pytest.raises(ReadError) as caught:
        read()
    assert (caught.value.stage, caught.value.path) == ("read", str(path))
    return caught.value.reason


@pytest.mark.parametrize("limit", [KEPT, NOT_KEPT])
def test_each_read_shows_the_file_as_it_is_now(cgroup: Path, limit: int) -> None:
    path, file = cgroup / "cpu.stat", cached(cgroup / "cpu.stat", Descriptors(limit))
    assert file.value() is None
    for number in (1, 200, 30):
        path.write_bytes(b"nr_periods %d\n" % number)
        assert file.value() == b"nr_periods %d\n" % number
    file.close()


def test_beyond_the_limit_files_are_read_without_being_kept(cgroup: Path) -> None:
    budget, before = Descriptors(2), open_files()
    files = []
    for number in range(5):
        (cgroup / f"file{number}").write_bytes(b"%d\n" % number)
        files.append(cached(cgroup / f"file{number}", budget))
    assert (budget.kept, open_files() - before) == (0, 0)
    for _ in range(3):
        assert [file.value() for file in files] == [b"%d\n" % number for number in range(5)]
        assert (budget.kept, open_files() - before) == (2, 2)
    files[0].close()
    files[0].close()
    assert files[4].value() == b"4\n"
    assert budget.kept == 2, "a descriptor that was given back is used again"
    for file in files:
        file.close()
    assert (budget.kept, open_files() - before) == (0, 0)


def test_a_file_that_the_cgroup_does_not_have_is_absent(cgroup: Path) -> None:
    for read in reads(cgroup / "cpu.stat.local"):
        assert read() is None
        assert read() is None


@pytest.mark.parametrize("path", ["gone/cpu.stat", "gone/deeper/cpu.stat", "file/cpu.stat"])
def test_a_cgroup_that_is_gone_has_vanished(cgroup: Path, path: str) -> None:
    (cgroup / "file").write_bytes(b"")
    for read in reads(cgroup / path):
        with pytest.raises(VanishedError):
            read()
    with pytest.raises(VanishedError):
        count_lines(str(cgroup / path))


def test_a_file_longer_than_any_of_the_kernel_s_is_refused(cgroup: Path) -> None:
    path = cgroup / "cpu.stat"
    path.write_bytes(b"x" * MAX_BYTES)
    assert read_once(str(path)) == b"x" * MAX_BYTES
    path.write_bytes(b"x" * (10 << 20))
    assert [reason_of(read, path) for read in reads(path)] == ["too_large"] * 3


def test_what_cannot_be_read_is_an_error_with_its_errno(public_path: Path) -> None:
    (public_path / "directory").mkdir()
    (public_path / "loop").symlink_to("loop")
    (public_path / "secret").write_bytes(b"1\n")
    (public_path / "secret").chmod(0)
    (public_path / "pod").mkdir()
    (public_path / "pod" / "cpu.stat").write_bytes(b"1\n")
    (public_path / "pod").chmod(0)
    with unprivileged():
        for name, reason in (
            ("directory", "eisdir"),
            ("loop", "eloop"),
            ("secret", "eacces"),
            ("pod/cpu.stat", "eacces"),
        ):
            path = public_path / name
            assert [reason_of(read, path) for read in reads(path)] == [reason] * 3
            assert reason_of(partial(count_lines, str(path)), path) == reason
    (public_path / "pod").chmod(0o755)


@pytest.mark.parametrize("limit", [KEPT, NOT_KEPT])
def test_no_failure_leaves_a_descriptor_behind(cgroup: Path, limit: int) -> None:
    (cgroup / "directory").mkdir()
    budget, before = Descriptors(limit), open_files()
    for name in ("absent", "gone/cpu.stat", "directory"):
        path = str(cgroup / name)
        for read in (cached(Path(path), budget).value, partial(read_once, path), partial(count_lines, path)):
            with suppress(ReadError, VanishedError):
                assert read() is None
    assert (budget.kept, open_files() - before) == (0, 0)


def test_without_a_limit_given_descriptors_are_kept_up_to_the_process_s_own() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert 0 < Descriptors().limit < hard
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_enough_descriptors_are_left_to_all_the_clients_there_may_be() -> None:
    """As many as are served may be accepted and not closed yet; what else a process needs are some dozens."""
    assert 2 * Limits().connections + 64 <= RESERVE
