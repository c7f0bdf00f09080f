import os
from pathlib import Path

from exporter.identities import PodList
from exporter.kube.source import FileSource, NoneSource
from tests.kube.conftest import failure
from tests.support.pods import pod, pod_list


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    source = FileSource(str(path))
    await failure(source, "not_found")
    for name in ("one", "two"):
        path.write_bytes(pod_list(pod("uid", name)))
        assert (await source.pods()).pods["uid"].name == name
    path.write_text("kind: PodList\nitems: []\n")
    await failure(source, "malformed")
    await failure(FileSource(str(tmp_path)), "unreadable")


async def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    path.write_bytes(pod_list())
    size = path.stat().st_size
    assert (await FileSource(str(path), max_bytes=size).pods()) == PodList(pods={})
    await failure(FileSource(str(path), max_bytes=size - 1), "too_large")


async def test_a_file_that_hangs(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    os.mkfifo(path)
    source = FileSource(str(path), timeout_seconds=0.02)
    try:
        for _ in range(3):
            await failure(source, "timeout")
    finally:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))  # lets go who waits


async def test_none_knows_nothing_and_never_fails() -> None:
    assert await NoneSource().pods() == PodList(pods={})
