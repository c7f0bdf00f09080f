from pathlib import Path

import pytest

from exporter.errors import MappingError
from exporter.identities import PodList
from exporter.kube.source import FileSource, NoneSource
from tests.support.pods import pod, pod_list


async def test_the_file_is_read_anew_each_time(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    source = FileSource(str(path))
    for name in ("one", "two"):
        path.write_bytes(pod_list(pod("uid", name)))
        assert (await source.pods()).pods["uid"].name == name
    await source.aclose()


async def fails(source: FileSource, reason: str) -> None:
    with pytest.raises(MappingError) as caught:
        await source.pods()
    assert caught.value.reason == reason
    assert "\n" not in str(caught.value)


async def test_a_missing_file(tmp_path: Path) -> None:
    await fails(FileSource(str(tmp_path / "none.json")), "not_found")


async def test_a_folder(tmp_path: Path) -> None:
    await fails(FileSource(str(tmp_path)), "unreadable")


async def test_a_file_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    path.write_bytes(pod_list())
    size = path.stat().st_size
    assert (await FileSource(str(path), max_bytes=size).pods()) == PodList(pods={})
    await fails(FileSource(str(path), max_bytes=size - 1), "too_large")


async def test_a_file_of_something_else(tmp_path: Path) -> None:
    path = tmp_path / "pods.json"
    path.write_text("kind: PodList\nitems: []\n")
    await fails(FileSource(str(path)), "malformed")


async def test_none_knows_nothing_and_never_fails() -> None:
    source = NoneSource()
    assert await source.pods() == PodList(pods={})
    await source.aclose()
