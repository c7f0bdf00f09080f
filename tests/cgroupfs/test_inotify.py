"""What the kernel tells of watched directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from exporter.cgroupfs.inotify import Event, Inotify
from exporter.errors import ReadError
from tests.cgroupfs.privileges import unprivileged


@pytest.fixture
def inotify() -> Iterator[Inotify]:
    queue = Inotify()
    yield queue
    queue.close()


def test_directories_that_come_and_go_and_files_that_are_written(inotify: Inotify, tmp_path: Path) -> None:
    assert inotify.watch(str(tmp_path)) is True
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "deeper").mkdir()
    (tmp_path / "pod" / "deeper").rmdir()
    (tmp_path / "pod").rmdir()
    (tmp_path / "cpu.max").write_text("max 100000\n")
    (tmp_path / "cpu.max").unlink()
    assert list(inotify.drain()) == [
        Event("created", str(tmp_path), "pod"),
        Event("deleted", str(tmp_path), "pod"),
        Event("modified", str(tmp_path), "cpu.max"),
    ]
    assert list(inotify.drain()) == []


def test_each_watched_directory_is_told_by_its_name_once(inotify: Inotify, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        assert [inotify.watch(str(tmp_path / name)) for _ in range(3)] == [True] * 3
        (tmp_path / name / "new").mkdir()
    assert list(inotify.drain()) == [Event("created", str(tmp_path / name), "new") for name in ("a", "b")]
    assert len(inotify) == 2


def test_one_directory_by_two_paths_is_told_by_the_newer(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    inotify.watch(str(tmp_path / "pod"))
    (tmp_path / "pod").rename(tmp_path / "moved")
    inotify.watch(str(tmp_path / "moved"))
    (tmp_path / "moved" / "container").mkdir()
    assert list(inotify.drain()) == [Event("created", str(tmp_path / "moved"), "container")]
    assert len(inotify) == 1


@pytest.mark.parametrize("path", ["absent", "file", "file/deeper"])
def test_a_directory_that_is_gone_is_not_watched_and_no_failure(inotify: Inotify, tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert inotify.watch(str(tmp_path / path)) is False
    assert len(inotify) == 0


def test_a_directory_that_may_not_be_read_is_a_failure(inotify: Inotify, public_path: Path) -> None:
    (public_path / "secret").mkdir()
    (public_path / "secret").chmod(0)
    with unprivileged(), pytest.raises(ReadError) as caught:
        inotify.watch(str(public_path / "secret"))
    (public_path / "secret").chmod(0o755)
    assert (caught.value.reason, caught.value.path) == ("eacces", str(public_path / "secret"))
    assert len(inotify) == 0


def test_a_watched_directory_that_goes_is_forgotten(inotify: Inotify, tmp_path: Path) -> None:
    (tmp_path / "pod").mkdir()
    inotify.watch(str(tmp_path))
    inotify.watch(str(tmp_path / "pod"))
    (tmp_path / "pod").rmdir()
    assert list(inotify.drain()) == [Event("deleted", str(tmp_path), "pod")]
    assert len(inotify) == 1
    inotify.unwatch(str(tmp_path))
    (tmp_path / "pod").mkdir()
    inotify.watch(str(tmp_path / "pod"))
    (tmp_path / "pod" / "container").mkdir()
    assert list(inotify.drain()) == [Event("created", str(tmp_path / "pod"), "container")]


def test_unwatched_is_unwatched_with_all_that_was_not_read_yet(inotify: Inotify, tmp_path: Path) -> None:
    inotify.watch(str(tmp_path))
    (tmp_path / "pod").mkdir()
    for directory in (str(tmp_path), str(tmp_path), "never watched"):
        inotify.unwatch(directory)
    (tmp_path / "other").mkdir()
    assert list(inotify.drain()) == []
    assert len(inotify) == 0


def test_names_of_any_bytes_and_more_than_one_buffer_of_them(inotify: Inotify, tmp_path: Path) -> None:
    inotify.watch(str(tmp_path))
    names = [os.fsdecode(b"\xff\xfe"), "é", "x" * 255, "a b", "line\nbreak", "x" * 15, "x" * 16]
    names += [f"{'x' * 200}{number}" for number in range(400)]
    for name in names:
        (tmp_path / name).mkdir()
    assert [event.name for event in inotify.drain()] == names


def test_more_than_the_kernel_keeps_is_told_as_such(inotify: Inotify, tmp_path: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if most > 100_000:
        pytest.skip("this kernel keeps too many for a test")
    inotify.watch(str(tmp_path))
    # Two files by turns: the same event twice in a row would be told once.
    with (tmp_path / "a").open("wb", buffering=0) as a, (tmp_path / "b").open("wb", buffering=0) as b:
        for _ in range(most // 2 + 1):
            a.write(b"x")
            b.write(b"x")
    *events, last = inotify.drain()
    assert len(events) <= most
    assert last == Event("overflow", "", "")


def test_closed_in_the_middle_of_the_events_it_tells_no_more(inotify: Inotify, tmp_path: Path) -> None:
    """As the inventory does when the limit of watches is reached while it follows an event."""
    before = len(os.listdir("/proc/self/fd"))
    inotify.watch(str(tmp_path))
    for number in range(3):
        (tmp_path / f"pod{number}").mkdir()
    for count, _ in enumerate(inotify.drain()):
        inotify.close()
        assert count == 0
    assert list(inotify.drain()) == []
    inotify.close()
    assert (len(os.listdir("/proc/self/fd")), len(inotify)) == (before - 1, 0)
